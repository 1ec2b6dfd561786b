"""A folder of weights gives the very features of its model, runs nothing that it names, and tells of changes."""

import json
import os
import sys

import numpy as np
import pytest
import torch
from deployment import make_model, no_room_beyond

from mmreid_uda.apis import ReIDInferencer, init_model
from mmreid_uda.apis.export_pretrained import export_pretrained
from mmreid_uda.checkpoint import find_checkpoint
from mmreid_uda.gallery import open_gallery
from mmreid_uda.utils import InputError

safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture(scope="module")
def folder(inferencer, tmp_path_factory):
    """The folder of the session's small model."""
    path = tmp_path_factory.mktemp("hub") / "small"
    export_pretrained(inferencer.model, path)
    return path


@pytest.fixture
def copied(folder, tmp_path):
    """A copy to change: takes what changes the content of ``config.json``."""

    def change(edit):
        for one in folder.iterdir():
            (tmp_path / one.name).write_bytes(one.read_bytes())
        content = json.loads((tmp_path / "config.json").read_text())
        edit(content)
        (tmp_path / "config.json").write_text(json.dumps(content))
        return tmp_path

    return change


def test_the_features_are_the_very_same(folder, inferencer, crops, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("a pickle"))
    again = ReIDInferencer.from_pretrained(folder, "cpu", batch_size=3)
    assert again.fingerprint == inferencer.fingerprint and again.batch_size == 3
    inferencer.batch_size, before = 3, inferencer.batch_size
    try:
        np.testing.assert_array_equal(again(crops[:5]), inferencer(crops[:5]))
    finally:
        inferencer.batch_size = before
    assert sorted(one.name for one in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    "config, options",
    [
        ("mmt-k150_mbv2_syntha2synthb", {"model.test_cfg": dict(flip=True, feature="pooled")}),
        pytest.param("abmt_mbv2_syntha2synthb", {}, marks=pytest.mark.slow),
        pytest.param("strong-baseline_mbv2_syntha2synthb", {}, marks=pytest.mark.slow),
        (
            "ise_vit-t_synthb",
            {"encoder.backbone.stem": "ics", "encoder.backbone.depth": 2},
        ),
    ],
)
def test_every_family_of_methods_comes_back(config, options, tmp_path):
    model = make_model(config, options)
    export_pretrained(model, tmp_path)
    again = ReIDInferencer.from_pretrained(tmp_path, "cpu")
    noise = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(again.model(noise), model(noise), rtol=0, atol=0)
    content = json.loads((tmp_path / "config.json").read_text())
    assert content["architectures"] == [type(model).__name__]
    assert content["fingerprint"] == again.fingerprint
    assert "init_cfg" not in json.dumps(content)


def test_it_is_a_checkpoint_and_a_model_wherever_one_is_asked_for(folder, inferencer):
    assert find_checkpoint(folder) == folder / "model.safetensors"
    options = {"input_size": (64, 32)}
    by_config = ReIDInferencer("ise_mbv2_synthb", folder, "cpu", options=options)
    assert by_config.fingerprint == inferencer.fingerprint
    assert init_model(str(folder), folder, "cpu").cfg.filename == "ise_mbv2_synthb.py"
    with pytest.raises(InputError, match=r"found the options input_size beside .*as they are"):
        init_model(folder, options=options)
    with pytest.raises(InputError, match=r"found the checkpoint 'other.pth' beside"):
        init_model(folder, "other.pth")


def test_a_gallery_opens_with_the_folder_that_made_it(folder, crops, tmp_path, monkeypatch):
    pytest.importorskip("qdrant_edge")
    monkeypatch.chdir(folder.parent)
    made = ReIDInferencer(folder.name, folder.name, "cpu")
    with made.open_gallery(tmp_path / "gallery"):
        pass
    monkeypatch.chdir(tmp_path)
    with open_gallery(tmp_path / "gallery") as gallery:
        again = ReIDInferencer.of_gallery(gallery, "cpu")
    np.testing.assert_array_equal(again(crops[:2]), made(crops[:2]))


def test_what_was_changed_is_told(copied, folder):
    flip = copied(lambda content: content["mmreid_uda"]["model"].update(test_cfg={"flip": True}))
    with pytest.raises(InputError, match=r"have not the fingerprint that its config.json says"):
        ReIDInferencer.from_pretrained(flip)
    path = copied(lambda content: None) / "model.safetensors"
    state = safetensors.load_file(path)
    name = next(name for name in state if state[name].dim() == 4)
    state[name][0] += 1e-3
    safetensors.save_file(state, path)
    with pytest.raises(InputError, match="fingerprint"):
        ReIDInferencer.from_pretrained(path.parent)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"safetensors"):
        ReIDInferencer.from_pretrained(path.parent)


@pytest.mark.parametrize("kind", ["os.system", "subprocess.Popen", "mmpretrain.ResNet", "system"])
def test_nothing_is_run_that_is_not_registered(copied, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("ran"))
    made = tmp_path / "made"
    evil = dict(type=kind, command=f"touch {made}", args=["touch", str(made)])
    for place in ("backbone", "neck"):

        def put(content, place=place):
            content["mmreid_uda"]["model"]["encoder"][place] = dict(evil)
            content["mmreid_uda"]["imports"] = ["antigravity"]

        with pytest.raises(InputError, match=f"found type='{kind}' in model.encoder.{place} of"):
            ReIDInferencer.from_pretrained(copied(put))
    assert not made.exists() and "antigravity" not in sys.modules


def test_a_checkpoint_that_a_stranger_names_is_not_read(copied):
    def put(content):
        origin = dict(type="Pretrained", checkpoint="http://127.0.0.1:9/evil.pth")
        content["mmreid_uda"]["model"]["encoder"]["init_cfg"] = origin

    ReIDInferencer.from_pretrained(copied(put), "cpu")  # as without


@pytest.mark.parametrize(
    "edit, words",
    [
        (lambda content: content.pop("mmreid_uda"), r"describes no model of this package"),
        (lambda content: content.update(mmreid_uda=[1]), r"\(model_type 'mmreid_uda'\)"),
        (lambda content: content.pop("fingerprint"), "expected what `mmreid export"),
        (lambda content: content["mmreid_uda"].update(test_pipeline={}), "describes no model"),
        (
            lambda content: content["mmreid_uda"]["model"]["encoder"].update(pool=dict(type="Gem")),
            "found type='Gem' in model.encoder.pool",
        ),
        (
            lambda content: content["mmreid_uda"]["model"].update(temperature=-1),
            "temperature",
        ),
    ],
)
def test_a_config_of_something_else_is_a_sentence(copied, edit, words):
    with pytest.raises(InputError, match=words):
        ReIDInferencer.from_pretrained(copied(edit))


def test_a_folder_that_is_none_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, words in (
        (
            "org/person-reid",
            "nothing is downloaded here: fetch it before, .*hf download org/person",
        ),
        (tmp_path, "lacks config.json and model.safetensors"),
        (tmp_path / "none", "found no folder .*expected one with config.json"),
        ("none", "found no folder 'none'"),
    ):
        with pytest.raises(InputError, match=words):
            ReIDInferencer.from_pretrained(name)
    with pytest.raises(InputError, match=r"last_checkpoint|does not exist"):
        find_checkpoint(tmp_path)


def test_the_missing_package_is_a_sentence(inferencer, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(InputError, match=r"no package `safetensors`.*the export needs"):
        export_pretrained(inferencer.model, tmp_path / "m")
    with pytest.raises(InputError, match=r"no package `safetensors`"):
        ReIDInferencer.from_pretrained(folder)
    with pytest.raises(InputError, match="found path=5 for load_config"):
        init_model(5)
    assert not (tmp_path / "m").exists()


def test_a_disk_that_fills_leaves_no_folder(inferencer, tmp_path):
    with no_room_beyond(100_000), pytest.raises(InputError, match="cannot be written"):
        export_pretrained(inferencer.model, tmp_path / "m")
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]


def test_a_training_starts_from_the_tensors(folder):
    from mmreid_uda.models.weights import load_pretrained

    model = make_model("ise_mbv2_synthb")
    report = load_pretrained(model.encoder, folder)
    assert not report.missing and not report.unexpected
    state = safetensors.load_file(folder / "model.safetensors")
    for name, tensor in model.encoder.state_dict().items():
        torch.testing.assert_close(tensor, state[f"encoder.{name}"], rtol=0, atol=0)
