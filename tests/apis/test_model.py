"""Models by name: the right config, the tested weights, and a sentence where a checkpoint does not fit."""

import numpy as np
import pytest
import torch
from deployment import SMALL, make_model, write_checkpoint

from mmreid_uda.apis import init_model, model_fingerprint
from mmreid_uda.config import load_config
from mmreid_uda.models import weights
from mmreid_uda.utils import InputError

ABMT = "abmt_mbv2_syntha2synthb"
MMT = "mmt-k150_mbv2_syntha2synthb"


def prefixes_of(model):
    return {name.partition("encoder.")[0] + "encoder" for name in weights.tested_state(model)}


@pytest.mark.parametrize(
    "config, prefixes",
    [
        ("ise_mbv2_synthb", {"encoder"}),
        (ABMT, {"teachers.0.module.encoder"}),
        (MMT, {"teachers.0.module.encoder", "teachers.1.module.encoder"}),
    ],
)
def test_the_tested_weights_are_all_that_features_depend_on(config, prefixes, tmp_path):
    model = make_model(config)
    assert prefixes_of(model) == prefixes
    torch.save({"state_dict": weights.tested_state(model)}, tmp_path / "slim.pth")
    loaded = init_model(config, tmp_path / "slim.pth", "cpu", {**SMALL, "stage1": None})
    x = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
    if config == MMT:
        model.network = 2
        assert prefixes_of(model) == {"teachers.1.module.encoder"}
        model.network = "student"
        assert prefixes_of(model) == {"students.0.encoder", "students.1.encoder"}


def test_a_source_model_loads_into_every_teacher(tmp_path):
    source = make_model("source_mbv2_syntha2synthb")
    path = write_checkpoint(tmp_path / "source.pth", source)
    mmt = init_model(MMT, path, "cpu", {**SMALL, "stage1": None})
    x = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        np.testing.assert_allclose(
            torch.nn.functional.normalize(mmt(x), dim=1), source(x), atol=1e-6
        )


def test_a_memory_of_another_size_does_not_matter(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=False)
    head = {name: value for name, value in content["state_dict"].items() if "head" in name}
    assert head
    content["state_dict"].update({name: torch.zeros(3, 5) for name in head})
    torch.save(content, tmp_path / "other.pth")
    model, expected = (
        init_model("ise_mbv2_synthb", path, "cpu", SMALL)
        for path in (tmp_path / "other.pth", checkpoint)
    )
    for name, value in weights.tested_state(model).items():
        assert torch.equal(value, weights.tested_state(expected)[name])


def test_a_checkpoint_of_another_model_is_one_sentence(checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"holds 0 of the .* tensors of MMT with ReIDEncoder"):
        torch.save({"state_dict": {"fc.weight": torch.zeros(2)}}, tmp_path / "fc.pth")
        init_model(MMT, tmp_path / "fc.pth", "cpu", {"stage1": None})
    with pytest.raises(InputError, match=r"of the .* tensors of ABMT with AsymmetricBranchEncoder"):
        init_model(ABMT, checkpoint, "cpu", {"stage1": None})
    content = torch.load(checkpoint, weights_only=False)
    content["state_dict"]["encoder.neck.bn.weight"] = torch.zeros(7)
    torch.save(content, tmp_path / "narrow.pth")
    with pytest.raises(InputError, match=r"1 tensors of other shapes than ISE .*neck\.bn\.weight"):
        init_model("ise_mbv2_synthb", tmp_path / "narrow.pth", "cpu", SMALL)


def test_a_fingerprint_sees_the_structure_that_no_weight_shows():
    model = make_model("ise_mbv2_synthb")
    known = model_fingerprint(model, model.cfg)
    other = make_model("ise_mbv2_synthb", {"encoder.pool.type": "GlobalMaxPool"})
    other.load_state_dict(model.state_dict())
    assert model_fingerprint(other, other.cfg) != known
    other = make_model("ise_mbv2_synthb", {"encoder.backbone.init_cfg": None})
    other.load_state_dict(model.state_dict())
    assert model_fingerprint(other, other.cfg) == known  # where training started from


def test_a_fingerprint_does_not_depend_on_the_runs_that_teachers_started_from():
    model = make_model(MMT)
    known = model_fingerprint(model, model.cfg)
    started = load_config(MMT, SMALL)
    assert isinstance(started.model.encoder, list)
    assert model_fingerprint(model, started) == known
    started.model.encoder[1].pool.type = "GlobalMaxPool"
    assert model_fingerprint(model, started) != known


def test_a_config_of_other_images_says_that_it_has_no_inference():
    with pytest.raises(
        InputError, match=r"'ptl_mbv2_digits' .* no test_pipeline; use tools/test\.py"
    ):
        init_model("ptl_mbv2_digits")


def test_a_missing_checkpoint_and_a_missing_device_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        init_model("ise_mbv2_synthb", tmp_path / "none.pth", "cpu")
    with pytest.raises(InputError, match="device 'nonsense' cannot be used"):
        init_model("ise_mbv2_synthb", device="nonsense")
