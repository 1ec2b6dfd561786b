"""Weights that come with the package: their addresses, their file's hash, and all that takes them by name."""

import numpy as np
import pytest
import torch
from deployment import SMALL, SMALL_ARGUMENTS, call_tool
from weight_files import load

from mmreid_uda.apis import ReIDInferencer, init_model
from mmreid_uda.checkpoint import RENDERED, halved, rendered, start_card
from mmreid_uda.cli import ToolParser
from mmreid_uda.config import load_config
from mmreid_uda.config.index import named_model
from mmreid_uda.models.backbones import MobileNetV2
from mmreid_uda.models.weights import load_pretrained
from mmreid_uda.utils import InputError

SHIPPED = sorted(path.stem for path in rendered._STARTS.glob("*.json"))


def test_kernels_are_rounded_and_vectors_are_not():
    state = dict(kernel=torch.randn(2, 3), scale=torch.randn(3), count=torch.tensor(4))
    shipped = halved(state)
    assert shipped["kernel"].dtype == torch.float16
    assert torch.equal(shipped["kernel"], state["kernel"].half())
    assert shipped["scale"] is state["scale"] and shipped["count"] is state["count"]


def test_an_address_gives_the_encoder_in_single_precision(starts, checkpoint):
    on_disk = torch.load(starts / "tiny.pth", weights_only=True)["state_dict"]
    state = load("rendered://tiny")["state_dict"]
    trained = load(checkpoint)["state_dict"]
    assert state.keys() == on_disk.keys() == {k for k in trained if k.startswith("encoder.")}
    assert {one.dtype for one in on_disk.values()} == {torch.float16, torch.float32, torch.int64}
    assert {one.dtype for one in state.values()} == {torch.float32, torch.int64}
    for name, tensor in state.items():
        exact = trained[name]
        assert torch.equal(tensor, exact.half().float() if exact.dim() > 1 else exact)


def test_a_backbone_takes_its_part(starts):
    report = load_pretrained(MobileNetV2(), "rendered://tiny")
    assert report.loaded == 312 and not report.missing and not report.unexpected
    assert report.prefix == "encoder.backbone."


def test_an_address_stands_for_config_and_checkpoint(starts, crops):
    card = start_card("rendered://tiny")
    cfg = load_config("rendered://tiny", SMALL)
    assert cfg.stage1 == "rendered://tiny" and cfg.filename.endswith("ise_mbv2_synthb.py")
    by_name = ReIDInferencer("rendered://tiny", device="cpu", options=SMALL)
    by_file = ReIDInferencer("ise_mbv2_synthb", starts / "tiny.pth", "cpu", options=SMALL)
    by_both = init_model("ise_mbv2_synthb", "rendered://tiny", "cpu", SMALL)
    assert by_name.fingerprint == by_file.fingerprint == card["fingerprint"]
    np.testing.assert_array_equal(by_name(crops[:3]), by_file(crops[:3]))
    for name, tensor in by_name.model.encoder.state_dict().items():
        assert torch.equal(tensor, by_both.encoder.state_dict()[name])


def test_tools_take_an_address_in_the_place_of_two_words(starts, crops, tmp_path):
    out = tmp_path / "features.npz"
    call_tool(
        "tools/extract_features.py", "rendered://tiny", *crops[:1], "--out", out, *SMALL_ARGUMENTS
    )
    with np.load(out) as written:
        assert str(written["fingerprint"]) == start_card("rendered://tiny")["fingerprint"]


def test_a_checkpoint_that_may_be_left_out_is_not_given_twice():
    parser = ToolParser()
    parser.add_config()
    parser.add_argument("checkpoint", nargs="?")
    words = parser.parse_intermixed_args(["rendered://tiny"])
    assert (words.config, words.checkpoint) == ("rendered://tiny", None)


def test_training_takes_a_config_not_what_comes_of_one(starts, capsys):
    with pytest.raises(SystemExit):
        call_tool("tools/train.py", "rendered://tiny")
    config, said = start_card("rendered://tiny")["config"], capsys.readouterr().err
    assert f"`mmreid train {config}`" in said and "stage1=rendered://tiny starts" in said


@pytest.mark.parametrize("content", ["", "{}", "[1"])
def test_a_damaged_card_is_a_sentence(starts, content):
    (starts / "tiny.json").write_text(content)
    with pytest.raises(InputError, match=r"tiny.json is damaged.*install mmreid_uda again"):
        load("rendered://tiny")


def test_what_is_no_start_is_a_sentence(starts):
    with pytest.raises(InputError, match=r"unknown, expected one .*\(rendered://tiny\).*stage1"):
        load("rendered://nobody")
    with pytest.raises(
        InputError, match=r"`mmreid train start_r50_synthworld`.*work_dirs/start_r50_synthworld"
    ):
        load("rendered://resnet50")
    with pytest.raises(InputError, match=r"rendered://nobody is unknown"):
        load_config("rendered://nobody")
    (starts / "tiny.json").unlink()
    with pytest.raises(InputError, match=r"\(none\).*install mmreid_uda again"):
        load("rendered://tiny")


def test_a_file_of_another_hash_is_not_loaded(starts):
    path = starts / "tiny.pth"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"tiny.pth has SHA-256 .*expected .*install mmreid_uda"):
        load("rendered://tiny")
    path.unlink()
    with pytest.raises(InputError, match=r"SHA-256 none.*restore the file"):
        load("rendered://tiny")


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_small_and_known(name):
    card = start_card(f"{RENDERED}{name}")
    path = rendered._STARTS / f"{name}.pth"
    assert path.stat().st_size == card["bytes"] <= 8 * 2**20
    assert card["seed"] is not None and not card["commit"].endswith("-dirty")
    inferencer = ReIDInferencer(f"{RENDERED}{name}", device="cpu")
    assert inferencer.fingerprint == card["fingerprint"]


def test_the_small_one_is_shipped_and_the_commands_of_larger_ones_exist():
    assert SHIPPED == ["mobilenet_v2"]
    for config in rendered._COMMANDS.values():
        assert named_model(config) is not None
