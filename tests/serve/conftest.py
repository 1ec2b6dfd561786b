"""A gallery of sixty colored pictures, a model that looks at colors, and clients of a server of both."""

import io

import numpy as np
import pytest
from PIL import Image
from serving import DIM, ColorModel, picture_bytes

from mmreid_uda.clustering import ConstrainedLinkage, EvidenceClustering
from mmreid_uda.gallery import GallerySettings, Items, content_id, open_gallery
from mmreid_uda.review import Reclustering, Review
from mmreid_uda.structures import Evidence

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from mmreid_uda.serve import Limits, ServerSettings, create_app


@pytest.fixture(scope="session")
def contents():
    """Sixty files: twelve subjects, five pictures each; and their features."""
    files = [picture_bytes(number, number // 5) for number in range(60)]
    images = [np.asarray(Image.open(io.BytesIO(one)))[:, :, ::-1] for one in files]
    return files, ColorModel().extract(images)


@pytest.fixture
def pictures(tmp_path, contents):
    """The files."""
    files = [tmp_path / f"{number:03}.jpg" for number in range(60)]
    for path, content in zip(files, contents[0]):
        path.write_bytes(content)
    return files


@pytest.fixture
def gallery(request, tmp_path, pictures, contents):
    """A gallery of them, of three cameras; in a file, or by its parameter in a folder, which takes longer."""
    files, features = contents
    name = getattr(request, "param", "gallery.npz")
    if name == "gallery":
        pytest.importorskip("qdrant_edge")
    settings = GallerySettings(fingerprint=ColorModel.fingerprint)
    gallery = open_gallery(tmp_path / name, create=settings, dim=DIM)
    numbers = np.arange(len(pictures))
    gallery.add(
        Items.of(
            features,
            [str(path) for path in pictures],
            ids=[content_id(one) for one in files],
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

    def start(review=None, inferencer="color", run=None, **settings):
        model = ColorModel() if inferencer == "color" else inferencer
        settings.setdefault("limits", Limits(rate=0))
        app = create_app(gallery, review, model, ServerSettings(**settings), run=run)
        client = TestClient(app, base_url="http://127.0.0.1:8000")
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


@pytest.fixture
def review(tmp_path, pictures, contents):
    """The sixty pictures in clusters by similarity: some subjects are together, some apart."""
    times = np.arange(60.0)
    times[3] = np.nan
    tracklets = np.arange(60) // 2
    tracklets[:2] = -1
    names = ["north", "south", "yard"]
    found = Review(
        contents[1],
        [str(path) for path in pictures],
        np.full(60, -1),
        Evidence(np.arange(60) % 3, times, tracklets, camera_names=names),
        tmp_path / "links.csv",
        tmp_path,
        Reclustering(EvidenceClustering(ConstrainedLinkage(0.05), tracklets=False)),
        np.arange(60) // 5,
        "colors",
    )
    found.recluster()
    return found


@pytest.fixture
def clusters(serve, review):
    return serve(review=review)
