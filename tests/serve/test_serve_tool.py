"""``mmreid serve`` as a process of its own: start, stop, and what a killed one has kept."""

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest
from deployment import SMALL_ARGUMENTS, call_tool
from processes import REPOSITORY

from mmreid_uda.serve import running


@pytest.fixture
def start(tmp_path):
    """Start a server with some words; gives the process and a client."""
    running = []

    def run(*words, **headers):
        log = (tmp_path / f"log{len(running)}.txt").open(
            "a+"
        )  # a read does not move where the server writes
        process = subprocess.Popen(
            [sys.executable, "-m", "mmreid_uda.cli.main", "serve", "--port", "0", *map(str, words)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        running.append(process)
        # A log may stand before it.
        # What the clustering logs stands before it.
        said = next((line for line in process.stdout if line.startswith("serving")), "")
        log.seek(0)
        found = re.match(r"serving at (http://\S+:\d+/); stop with Ctrl\+C", said)
        assert found, log.read()
        process.log = log.name
        return process, httpx.Client(base_url=found[1], headers=headers, timeout=30)

    yield run
    for process in running:
        process.kill()
        process.wait()


def test_the_model_is_the_one_of_the_gallery_with_its_options(
    checkpoint, pictures, tmp_path, monkeypatch
):
    model = ("--config", "configs/ise/ise_mbv2_synthb.py", "--checkpoint", checkpoint)
    quiet = ("--device", "cpu", "--num-workers", "0")
    gallery = tmp_path / "g"
    call_tool("tools/gallery.py", "add", gallery, pictures[0], *quiet, *model, *SMALL_ARGUMENTS)
    served = []
    monkeypatch.setattr(running, "run", lambda app, *_: served.append(app.state.service))
    call_tool("tools/serve.py", "--gallery", gallery, "--port", 0, "--device", "cpu")
    assert served[0].has_model and served[0].embedder.fingerprint == served[0].gallery.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_in_good_order(start, gallery, tmp_path, signum):
    url = gallery.url
    gallery.close()
    words = ("--gallery", url, "--clusters") if signum == signal.SIGINT else ("--gallery", url)
    process, client = start(*words)
    info = client.get("/v1/info?x=secret").json()
    assert info["gallery"]["count"] == 60
    assert info["run"] is None if len(words) == 2 else info["run"]["images"] == 60
    process.send_signal(signum)
    assert process.wait(30) == 128 + signum
    with open(process.log) as log:
        text = log.read()
    assert f"interrupted by {signum.name}" in text and "Traceback" not in text
    assert ("clustering 60 images" in text) == (len(words) == 3)
    assert "GET /v1/info 200" in text and "secret" not in text


@pytest.mark.slow
def test_a_token_is_made_for_other_machines_and_shown_once(start, gallery):
    url = gallery.url
    gallery.close()
    process, client = start("--gallery", url, "--host", "0.0.0.0")
    with open(process.log) as log:
        text = log.read()
    token = re.search(r"token, shown this once: (\S+)", text)[1]
    assert "warning: other machines can reach 0.0.0.0" in text and len(token) > 40
    local = f"http://127.0.0.1:{client.base_url.port}"
    assert httpx.get(f"{local}/v1/info").status_code == 401
    answer = httpx.get(f"{local}/v1/info", headers={"authorization": f"Bearer {token}"})
    assert answer.json()["who"] == "token"
    process.terminate()
    process.wait(30)
    with open(process.log) as log:
        assert log.read().count(token) == 1


@pytest.mark.parametrize(
    "words, said",
    [
        ((), "found neither --gallery nor --run"),
        (("--run", "x", "--clusters"), "expected it with --gallery and without --run"),
        (("--gallery", "nowhere.npz"), "nowhere.npz"),
        (("--run", "nowhere"), "nowhere"),
        (("--gallery", "{gallery}", "--token-file", "none.txt"), "found no file 'none.txt'"),
        (("--gallery", "{gallery}", "--host", "192.0.2.1"), "not free to listen at"),
        (("--gallery", "{gallery}", "--port", "70000"), "at most 65535"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(gallery, capsys, monkeypatch, words, said):
    from deployment import call_tool

    words = [one.format(gallery=gallery.url) for one in words]
    with pytest.raises(SystemExit) as stopped:
        call_tool("tools/serve.py", *words)
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and lines[-1].startswith("error: ") and said in lines[-1]


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("# of the lab\nsixteen-letters-and-more\n", {"token": "sixteen-letters-and-more"}),
        ("ann aaaaaaaaaaaaaaaa\n\nbob bbbbbbbbbbbbbbbb", {"ann": "a" * 16, "bob": "b" * 16}),
        ("", "found no token"),
        ("short", "5 letters"),
        ("ann aaaaaaaaaaaaaaaa\nann bbbbbbbbbbbbbbbb", "line 2"),
        ("ann aaaaaaaaaaaaaaaa x", "3 words"),
        ("ann ääääääääääääääää", "ASCII"),
    ],
)
def test_token_files_are_read_and_no_sentence_cites_a_token(tmp_path, text, tokens):
    from mmreid_uda.serve.settings import read_tokens
    from mmreid_uda.utils import InputError

    path = tmp_path / "tokens.txt"
    path.write_text(text, encoding="utf-8")
    if isinstance(tokens, dict):
        assert read_tokens(path) == tokens
        return
    with pytest.raises(InputError, match=tokens) as caught:
        read_tokens(path)
    assert not any(word in str(caught.value) for word in text.split() if len(word) > 10)
