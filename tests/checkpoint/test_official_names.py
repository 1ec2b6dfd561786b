"""Checkpoints of the official repositories load into this package's encoders, tensor for tensor."""

import pytest
import torch

from mmreid_uda.checkpoint import convert_official
from mmreid_uda.models.encoders import AsymmetricBranchEncoder, ReIDEncoder
from mmreid_uda.models.weights import load_pretrained

# Where the parts of a released network stand: MMT has no ReLU in the stem; IBN, SpCL, Cluster-Contrast and ISE do.
WITHOUT_RELU = ["conv1", "bn1", None, "layer1", "layer2", "layer3", "layer4"]
WITH_RELU = ["conv1", "bn1", None, None, "layer1", "layer2", "layer3", "layer4"]


def released(encoder, order):
    """The state dict as the official code would have written it."""
    names = {f"backbone.{part}.": f"base.{i}." for i, part in enumerate(order) if part}
    names["neck.bn."] = "feat_bn."
    if encoder.num_branches == 2:
        names |= {
            "backbone.layer4.": "global_branch.",
            "second_stage.": "max_branch.0.",
            "extra.0.": "max_branch.1.",
            "second_neck.bn.": "feat_bn_max.",
        }
    state = {}
    for name, tensor in encoder.state_dict().items():
        [own] = [own for own in names if name.startswith(own)]
        state["module." + name.replace(own, names[own], 1)] = tensor
    state["module.classifier.weight"] = torch.randn(7, 2048)
    state["module.classifier_max.weight"] = torch.randn(7, 2048)
    return dict(state_dict=state, epoch=40, best_mAP=0.5)


@pytest.mark.parametrize(
    "kind, order, options",
    [
        (ReIDEncoder, WITHOUT_RELU, dict(stem_relu=False)),
        (ReIDEncoder, WITH_RELU, dict(ibn="a")),
        (AsymmetricBranchEncoder, WITHOUT_RELU[:-1], dict(stem_relu=False)),
    ],
)
def test_a_released_checkpoint_fills_every_tensor(kind, order, options, tmp_path):
    backbone = dict(type="ResNet", depth=50, **options)
    torch.manual_seed(0)
    trained, fresh = kind(backbone), kind(backbone)
    for tensor in trained.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand_like(tensor))
    torch.save(released(trained, order), tmp_path / "model_best.pth.tar")
    report = load_pretrained(fresh, str(tmp_path / "model_best.pth.tar"))
    assert report.loaded == len(fresh.state_dict())
    assert report.missing == [] and report.unexpected == []
    for name, tensor in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name


def test_other_names_stay_as_they_are():
    tensors = {"encoder.backbone.conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)}
    assert convert_official(tensors) == tensors
