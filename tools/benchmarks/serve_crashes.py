"""Part of ``benchmark_serve.py``: the server that is measured, its clients, and kills at random moments."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from mmreid_uda.utils import InputError, make_rng

__all__ = ["Client", "Grid", "ask", "kill_while_adding", "running", "serve"]

_FORM = "multipart/form-data; boundary=part"


class Grid:
    """A stand-in for a network, whose cost is none of the server's: gray values of a grid of fields.

    Args:
        dim: Fields, D.
    """

    fingerprint = "grid"
    cfg = SimpleNamespace(test_pipeline=[{"type": "LoadReIDImage"}])

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def extract(self, images: list[np.ndarray]) -> np.ndarray:
        """Features of images.

        Args:
            images: uint8 (H, W, 3).

        Returns:
            float32 (N, D), unit rows.
        """
        gray = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images]
        fields = [cv2.resize(one, (self.dim, 1), interpolation=cv2.INTER_AREA) for one in gray]
        rows = np.array(fields, np.float32).reshape(len(images), self.dim) - 127.3
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def serve(folder: str) -> None:
    """Serve the gallery of a folder with :class:`Grid` as its model, at a free port that is printed, until killed.

    Args:
        folder: The gallery.
    """
    from mmreid_uda.gallery import open_gallery
    from mmreid_uda.serve import Limits, ServerSettings, create_app
    from mmreid_uda.serve.running import listen, run

    gallery = open_gallery(folder)
    settings = ServerSettings(limits=Limits(rate=0))
    app = create_app(gallery, None, Grid(gallery.dim), settings)
    with listen("127.0.0.1", 0) as door:
        print(f"port {door.getsockname()[1]}", flush=True)
        run(app, door)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server in a process of its own; killed at the end if it still runs.

    Args:
        folder: The gallery, closed in this process.

    Yields:
        The process and its port.

    Raises:
        InputError: It did not start.
    """
    code = f"from serve_crashes import serve; serve({str(folder)!r})"
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            if (port := re.match(r"port (\d+)", process.stdout.readline())) is None:
                log.seek(0)
                said = (log.read().decode(errors="replace").splitlines() or ["nothing"])[-1]
                raise InputError(
                    f"found a server that did not start, expected its port; it said: {said}"
                )
            yield process, int(port[1])
        finally:
            process.kill()


class Client:
    """One connection that stays open.

    Args:
        port: Of the server.
    """

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: bytes, kind: str = "application/json") -> dict[str, Any]:
        """Send something.

        Args:
            path: Behind ``/v1/``.
            body: What is sent.
            kind: Of the body.

        Returns:
            The answer.

        Raises:
            InputError: It is an error.
        """
        self.connection.request("POST", f"/v1/{path}", body, {"Content-Type": kind})
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        if response.status >= 400:
            raise InputError(answer["error"])
        return answer

    def add(self, image: bytes) -> list[str]:
        """Add an image.

        Args:
            image: A PNG file.

        Returns:
            The ids that the server acknowledges.
        """
        head = b'--part\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        return self.post("items", head + image + b"\r\n--part--\r\n", _FORM)["ids"]


def ask(port: int, bodies: list[bytes], seconds: float, times: list[float]) -> None:
    """Search one after the other for some time.

    Args:
        port: Of the server.
        bodies: Of the searches, taken in turn.
        seconds: How long.
        times: Takes the seconds of each search.
    """
    client, end, turn = Client(port), time.perf_counter() + seconds, 0
    while (started := time.perf_counter()) < end:
        client.post("search/vector", bodies[turn % len(bodies)])
        times.append(time.perf_counter() - started)
        turn += 1


def kill_while_adding(
    folder: Path, kills: int, clients: int = 4, seed: int = 0, longest: float = 1.5
) -> dict[str, Any]:
    """Kill a server again and again while clients add images, and look afterwards for what it has acknowledged.

    Args:
        folder: The gallery, closed.
        kills: SIGKILLs.
        clients: That add at the same time.
        seed: Of the moments.
        longest: Seconds from the first acknowledged image to the latest moment of a kill.

    Returns:
        ``kills``, ``acknowledged`` images, those ``lost`` (their items, features or files are missing or wrong), and
        ``extra``: items that were not acknowledged before a kill but are there, whole.
    """
    from mmreid_uda.gallery import content_id, open_gallery

    rng = make_rng(seed, "kills")
    acknowledged: dict[str, bytes] = {}
    sent: dict[str, bytes] = {}
    for _ in range(kills):
        with running(folder) as (process, port):
            first = threading.Event()

            def add(port: int = port, first: threading.Event = first) -> None:
                client = Client(port)
                with contextlib.suppress(OSError, http.client.HTTPException):
                    while True:
                        image = _image()
                        sent[content_id(image)] = image
                        for id_ in client.add(image):
                            acknowledged[id_] = image
                        first.set()

            threads = [threading.Thread(target=add, daemon=True) for _ in range(clients)]
            for thread in threads:
                thread.start()
            if not first.wait(60):
                raise InputError("found no image acknowledged in a minute, expected some.")
            time.sleep(float(rng.uniform(0, longest)))
            process.send_signal(signal.SIGKILL)
            process.wait()
            for thread in threads:
                thread.join(60)
    # The next start gives images that arrived their places.
    with running(folder) as (process, port):
        Client(port).post("search/vector", _vector(folder))
        process.terminate()
        process.wait(60)
    lost = []
    with open_gallery(folder) as gallery:
        ids = {id_ for items in gallery.scan(features=False) for id_ in items.ids}
        for id_, image in acknowledged.items():
            if id_ not in ids or not _whole(gallery, id_, image):
                lost.append(id_)
        extra = [id_ for id_ in sent if id_ in ids and id_ not in acknowledged]
        broken = [id_ for id_ in extra if not _whole(gallery, id_, sent[id_])]
    return {
        "kills": kills,
        "clients": clients,
        "acknowledged": len(acknowledged),
        "lost": len(lost),
        "extra": len(extra),
        "broken_extra": len(broken),
    }


def _image() -> bytes:
    """A PNG file that nobody has sent."""
    noise = np.frombuffer(uuid.uuid4().bytes * 96, np.uint8).reshape(32, 16, 3)
    return cv2.imencode(".png", noise)[1].tobytes()


def _vector(folder: Path) -> bytes:
    settings = json.loads((folder / "gallery.json").read_text())
    return json.dumps({"features": [[1.0] * settings["dim"]], "topk": 1}).encode()


def _whole(gallery: Any, id_: str, image: bytes) -> bool:
    """Whether an item has its features, and the picture that belongs to it."""
    found = gallery.get([id_], features=True)
    pixels: Any = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    expected = Grid(gallery.dim).extract([pixels])[0]
    stored = gallery.folder / "images" / f"{id_}.jpg"
    if not stored.exists() or not np.allclose(found.features[0], expected, atol=1e-4):
        return False
    kept = cv2.imdecode(np.fromfile(stored, np.uint8), cv2.IMREAD_COLOR)
    return kept is not None and kept.shape == pixels.shape
