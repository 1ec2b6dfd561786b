"""Files of safetensors and TorchScript archives: tensors are read, nothing is run."""

import importlib
import pickle
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from transformer_files import batch_norm, clip_shapes, filled, prefixed, save, vit_shapes
from weight_files import Evil, load

from mmreid_uda.apis import init_model
from mmreid_uda.models.backbones import TimmBackbone
from mmreid_uda.models.weights import load_pretrained
from mmreid_uda.utils import InputError

ROOT = Path(__file__).parents[2]


class Holder(nn.Module):
    """Any tensors under any names."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            *path, last = name.split(".")
            place = self
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, Holder({}))
                place = getattr(place, part)
            place.register_buffer(last, tensor)

    def forward(self, x):
        return x


def script(path, tensors):
    """Write a TorchScript archive, as OpenAI's files are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has stopped to extend TorchScript
        torch.jit.save(torch.jit.script(Holder(tensors)), path)
    return str(path)


def test_an_archive_has_the_tensors_of_its_state_dict(tmp_path):
    whole = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    tensors = {
        "visual.proj": whole.half(),
        "visual.blocks.0.weight": whole.T,  # not contiguous
        "visual.blocks.1.weight": whole[2:, 1:],  # a part of a storage
        "counter": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    path = script(tmp_path / "archive.pt", tensors)
    loaded = load(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype and torch.equal(loaded[name], tensor), name


def test_openais_archive_fills_timms_clip(tmp_path):
    tensors = filled(clip_shapes(32, 2, patches=8, out=16), 3)
    path = script(tmp_path / "ViT-B-16.pt", prefixed("visual.", tensors))
    backbone = TimmBackbone(
        "vit_base_patch16_clip_quickgelu_224", img_size=(64, 32), embed_dim=32, num_heads=2, depth=2
    )
    report = load_pretrained(backbone, path)
    assert report.layout == "clip" and report.loaded == 31 and report.unexpected == []
    assert torch.equal(backbone.net.norm.weight, tensors["ln_post.weight"])


def rewritten(path, pickled):
    """The archive with another pickle in it."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    [name] = [name for name in content if name.endswith("/data.pkl")]
    content[name] = pickled
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_an_archive_cannot_run_code_or_read_beyond_its_storages(tmp_path):
    path, trap = script(tmp_path / "archive.pt", {"w": torch.ones(3)}), tmp_path / "trap"
    rewritten(path, pickle.dumps(Evil(trap), protocol=2))
    with pytest.raises(InputError, match=r"holds posix\.system, which is not plain data"):
        load(path)
    assert not trap.exists()
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03tQ"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K\x00(J\xff\xff\xff\x00t(K\x01tI00\nNtR"
    )
    rewritten(path, b"\x80\x02c__torch__\nM\n)\x81}(X\x01\x00\x00\x00w" + tensor + b"ub.")
    with pytest.raises(InputError, match="out of bounds"):
        load(path)


def test_a_safetensors_file_loads_by_its_content(tmp_path, monkeypatch):
    safetensors = importlib.import_module("safetensors.torch")
    tensors = filled(vit_shapes(32, 2), 0)
    path = str(tmp_path / "model.safetensors")
    safetensors.save_file(tensors, path)
    backbone = TimmBackbone(
        "vit_small_patch16_224", img_size=(256, 128), embed_dim=32, num_heads=2, depth=2
    )
    report = load_pretrained(backbone, path)
    assert report.loaded == 30 and torch.equal(backbone.net.norm.bias, tensors["norm.bias"])
    tensors["norm.bias"][3] = torch.nan
    safetensors.save_file(tensors, path)
    with pytest.raises(InputError, match=r"NaN or infinite values in 1 tensors, norm\.bias"):
        load(path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:99])
    with pytest.raises(InputError, match="a damaged safetensors file"):
        load(path)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(
        InputError, match=r"found no package `safetensors`.*pip install safetensors"
    ):
        load(path)


def test_timms_bin_is_a_file_of_torch(tmp_path):
    path = save(tmp_path / "pytorch_model.bin", filled(vit_shapes(32, 2), 0))
    assert len(load(path)) == 30


def test_a_config_starts_from_a_safetensors_file_and_features_are_its_networks(tmp_path):
    """``stage1=x.safetensors`` of a whole encoder, without a checkpoint, as for ``ReIDInferencer``."""
    file = str(tmp_path / "transformer_120.safetensors")
    tensors = prefixed("base.", filled(vit_shapes(192), 0))
    tensors |= filled(batch_norm("bottleneck", 192), 1)
    importlib.import_module("safetensors.torch").save_file(tensors, file)
    config = tmp_path / "tiny.py"
    config.write_text(
        f"""
_base_ = "{ROOT}/configs/cluster_contrast/cluster-contrast_r50_market.py"
encoder = dict(
    _delete_=True,
    type="ReIDEncoder",
    backbone=dict(type="ReIDViT", name="vit_tiny_patch16_224"),
)
"""
    )
    model = init_model(config, None, "cpu", {"stage1": file})
    [encoder] = model.tested_encoders()
    assert torch.equal(encoder.neck.bn.running_var, tensors["bottleneck.running_var"])
    assert torch.equal(encoder.backbone.net.norm.weight, tensors["base.norm.weight"])
