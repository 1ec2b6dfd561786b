"""A gallery of sixty colored pictures, a model that looks at colors, and clients of a server of both."""

import numpy as np
import pytest
from PIL import Image
from serving import DIM, ColorModel, picture_bytes

from mmreid_uda.gallery import GallerySettings, Items, content_id, open_gallery

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from mmreid_uda.serve import Limits, ServerSettings, create_app


@pytest.fixture
def pictures(tmp_path):
    """Sixty files: twelve subjects, five pictures each, three cameras."""
    folder = tmp_path / "crops"
    folder.mkdir()
    files = []
    for number in range(60):
        path = folder / f"{number:03}.jpg"
        path.write_bytes(picture_bytes(number, number // 5))
        files.append(path)
    return files


@pytest.fixture
def gallery(tmp_path, pictures):
    model = ColorModel()
    settings = GallerySettings(fingerprint=model.fingerprint)
    gallery = open_gallery(tmp_path / "gallery.npz", create=settings, dim=DIM)
    numbers = np.arange(len(pictures))
    images = [np.asarray(Image.open(path))[:, :, ::-1] for path in pictures]
    gallery.add(
        Items.of(
            model.extract(images),
            [str(path) for path in pictures],
            ids=[content_id(path) for path in pictures],
            cameras=[f"cam{number % 3}" for number in numbers],
            times=[float("nan") if number == 0 else 10.0 * number for number in numbers],
            tracklets=[f"t{number // 2}" for number in numbers],
            identities=[f"p{number // 5}" for number in numbers],
        )
    )
    yield gallery
    gallery.close()


@pytest.fixture
def serve(gallery):
    """Start an application of the gallery; further words are settings."""
    clients = []

    def start(review=None, inferencer="color", base_url="http://127.0.0.1:8000", **settings):
        model = ColorModel() if inferencer == "color" else inferencer
        settings.setdefault("limits", Limits(rate=0))
        app = create_app(gallery, review, model, ServerSettings(**settings))
        client = TestClient(app, base_url=base_url, raise_server_exceptions=True)
        client.model = model
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.app.state.service.thumbnails.close()
        client.app.state.service.jobs.close()


@pytest.fixture
def client(serve):
    return serve()
