"""Local checkpoints: what is read, and what is refused without running its code."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from weight_files import Evil, load

from mmreid_uda.checkpoint import TRUST_VARIABLE
from mmreid_uda.utils import InputError


@pytest.mark.parametrize("writer", ["torch", "legacy torch", "pickle"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, writer, monkeypatch):
    trap, path = tmp_path / "trap", tmp_path / "evil.pth"
    payload = {"state_dict": {"weight": torch.zeros(2)}, "meta": Evil(trap)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(payload["meta"], protocol=2))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=writer == "torch")
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
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
    monkeypatch.setenv(TRUST_VARIABLE, "0")
    with pytest.raises(InputError):
        load(path)
    monkeypatch.setenv(TRUST_VARIABLE, "1")
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


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.pth", "not written by torch.save"), ("a.safetensors", "a damaged safetensors file")],
)
def test_a_text_is_named_for_what_it_is_not(tmp_path, name, reason):
    (tmp_path / name).write_text("hello world, here is a text\n" * 20)
    with pytest.raises(InputError, match=rf"\({reason}\): give a file written by torch\.save or"):
        load(tmp_path / name)


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
        experiment_name=f"tiny{len(os.listdir(work_dir))}",
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
