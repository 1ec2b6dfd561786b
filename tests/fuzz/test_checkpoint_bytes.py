"""Checkpoints with any byte changed: a sentence or the content, never another error."""

import io
import pickle
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mmreid_uda.checkpoint import load_from_local
from mmreid_uda.engine import read_resumable
from mmreid_uda.models.weights import load_complete, load_pretrained
from mmreid_uda.utils import InputError


def content():
    """What a training writes, in small."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "meta": {"epoch": 2, "iter": 8, "seed": 1, "cfg": "text"},
        "state_dict": model.state_dict(),
        "message_hub": {"log_scalars": {}, "runtime_info": {"epoch": 1}},
        "optimizer": optimizer.state_dict(),
        "param_schedulers": [{"last_step": 8}],
        "pseudo_labels": {"labels": torch.arange(5), "fingerprint": "abc"},
    }


def written(**options):
    buffer = io.BytesIO()
    torch.save(content(), buffer, **options)
    return buffer.getvalue()


def plain(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Weight(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.w


def torchscript():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Weight()), buffer)
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/version", "3")
    return buffer.getvalue()


FILES = {
    "zip": written(),
    "legacy": written(_use_new_zipfile_serialization=False),
    "TorchScript": torchscript(),
    "archive without data": archive(),
    "list": plain([1, 2, 3]),
    "pickle": pickle.dumps({"w": [1, 2, 3]}),
    "safetensors": (74).to_bytes(8, "little")
    + b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(74)
    + bytes(8),
}


@st.composite
def damaged(draw):
    """One of the files with a few bytes changed, cut out, put in, or cut off at the end; or any bytes."""
    raw = bytearray(FILES[draw(st.sampled_from([*FILES, "zip", "legacy", "TorchScript"]))])
    kinds = (*["change"] * 8, "cut out", "put in", "cut off", "replace")
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2)):
        place = draw(st.integers(0, max(len(raw) - 1, 0)))
        some = draw(st.binary(min_size=1, max_size=8))
        if kind == "change":
            raw[place : place + len(some)] = some
        elif kind == "cut out":
            del raw[place : place + 64]
        elif kind == "put in":
            raw[place:place] = some
        elif kind == "cut off":
            del raw[place:]
        else:
            raw = bytearray(draw(st.binary(max_size=64)))
    return bytes(raw)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "epoch_2.pth"


@pytest.mark.slow
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(raw=damaged())
def test_any_bytes_are_a_checkpoint_or_a_sentence(path, raw):
    path.write_bytes(raw)
    for use in (
        read_resumable,
        lambda one: load_complete(nn.Linear(3, 2), str(one), "take another."),
        lambda one: load_pretrained(nn.Linear(3, 2), str(one)),
    ):
        try:
            use(path)
        except InputError as error:
            said = str(error)
            assert str(path) in said and len(said) < 700 and "\n" not in said


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_told_apart(path, name):
    path.write_bytes(FILES[name])
    if name in ("zip", "legacy"):
        assert read_resumable(path)["meta"]["epoch"] == 2
        return
    if name in ("safetensors", "TorchScript"):
        assert load_from_local(str(path))["w"].tolist() == [0, 0]
        return
    said = {"list": "holds a list"}.get(name, "is not a PyTorch")
    with pytest.raises(InputError, match=said):
        load_from_local(str(path))


def test_a_folder_is_none_either(path):
    with pytest.raises(
        InputError, match=r"does not exist, expected a file of weights or the folder"
    ):
        load_from_local(str(path.parent / ".."))
