"""A gallery on a server: what cannot be opened is one sentence, and the address and the key reach the server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from gallery_items import made

from mmreid_uda.gallery import GallerySettings, open_gallery
from mmreid_uda.utils import InputError

client = pytest.importorskip("qdrant_client")


@pytest.mark.parametrize(
    "url", ["qdrant+http://", "qdrant+ftp://h/c", "qdrant+https://h/", "qdrant+local:"]
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InputError, match="expected qdrant\\+http://HOST:PORT/COLLECTION"):
        open_gallery(url)


def test_a_server_that_is_away_is_one_sentence():
    with pytest.raises(InputError, match=r"expected a Qdrant server that is up"):
        open_gallery("qdrant+http://127.0.0.1:1/faces")


class Answers(BaseHTTPRequestHandler):
    """A server that knows no collection, and what it was asked."""

    asked: list = []

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("api-key")))
        body = json.dumps({"result": {"exists": False}, "status": "ok", "time": 0}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_the_address_and_the_key_reach_the_server(monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(InputError, match="found no collection 'faces'") as caught:
            open_gallery(f"qdrant+http://127.0.0.1:{server.server_port}/faces")
    finally:
        server.shutdown()
        server.server_close()
    assert Answers.asked == [("/collections/faces/exists", "secret")]
    assert "secret" not in str(caught.value)


def test_a_collection_of_somebody_else_is_refused(tmp_path):
    local = client.QdrantClient(path=str(tmp_path))
    vectors = client.models.VectorParams(size=8, distance=client.models.Distance.DOT)
    local.create_collection("other", vectors_config=vectors)
    local.close()
    with pytest.raises(InputError, match="found no settings with the collection 'other'"):
        open_gallery(f"qdrant+local:{tmp_path}/other", create=GallerySettings())
    with open_gallery(f"qdrant+local:{tmp_path}/mine", create=GallerySettings()) as gallery:
        gallery.add(made(2))
        with pytest.raises(InputError, match="open already"):
            open_gallery(f"qdrant+local:{tmp_path}/mine")
    with open_gallery(f"qdrant+local:{tmp_path}/mine") as gallery:
        assert len(gallery) == 2
