"""Backbones: sizes, names, switches, and loading of pre-trained weights."""

import copy

import pytest
import torch
from mmcv.cnn import ResNet as MMCVResNet

from mmreid_uda.models.backbones import MobileNetV2, ResNet
from mmreid_uda.models.layers import IBN, convert_norm
from mmreid_uda.utils import InputError

BUNDLED = "bundled://mobilenet_v2"


def image(height=64, width=32, count=1):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


# ----------------------------------------------------------------------------------------------------------- ResNet


@pytest.mark.parametrize(
    ("depth", "count", "tensors", "channels"),
    [
        (18, 11_176_512, 120, 512),
        (34, 21_284_672, 216, 512),
        (50, 23_508_032, 318, 2048),
        (101, 42_500_160, 624, 2048),
    ],
)
def test_resnets_have_the_published_sizes(depth, count, tensors, channels):
    model = ResNet(depth)
    assert parameters(model) == count
    assert len(model.state_dict()) == tensors
    assert model.feat_dim == channels


def test_resnet_uses_torchvision_names():
    names = list(ResNet(50).state_dict())
    assert names[:7] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.num_batches_tracked",
        "layer1.0.conv1.weight",
    ]
    assert {
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.running_var",
        "layer2.3.bn3.bias",
        "layer3.5.conv2.weight",
        "layer4.0.downsample.0.weight",
        "layer4.2.bn3.num_batches_tracked",
    } <= set(names)


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_with_stride_2_equals_mmcv_resnet(depth):
    reference = MMCVResNet(depth, out_indices=(3,))
    reference.train(False)  # its train() gives None, so that .eval() does too
    model = ResNet(depth, last_stride=2).eval()
    model.load_state_dict(reference.state_dict())
    with torch.no_grad():
        assert torch.equal(model(image()), reference(image()))


def test_last_stride_1_doubles_the_map():
    x = image(256, 128)
    with torch.no_grad():
        assert ResNet(50).eval()(x).shape == (1, 2048, 16, 8)
        assert ResNet(18, last_stride=2).eval()(x).shape == (1, 512, 8, 4)
    model = ResNet(50)
    assert model.layer4[0].conv2.stride == model.layer4[0].downsample[0].stride == (1, 1)


def test_the_trunk_is_the_input_of_layer4():
    model = ResNet(50).eval()
    with torch.no_grad():
        trunk = model.trunk(image(256, 128))
        assert trunk.shape == (1, 1024, 16, 8)
        assert torch.equal(model.layer4(trunk), model(image(256, 128)))


def test_without_stem_relu_negative_values_reach_the_maxpool():
    seen = {}
    for stem_relu in (True, False):
        model = ResNet(18, stem_relu=stem_relu).eval()
        model.maxpool.register_forward_pre_hook(
            lambda _, x, key=stem_relu: seen.update({key: x[0]})
        )
        with torch.no_grad():
            model(image())
        assert len(model.state_dict()) == 120
    assert seen[True].min() == 0
    assert seen[False].min() < 0


def test_ibn_stands_first_in_the_blocks_of_layers_1_to_3_only():
    model = ResNet(50, ibn="a")
    places = [name for name, module in model.named_modules() if isinstance(module, IBN)]
    assert places == [
        f"layer{stage}.{block}.bn1" for stage, n in ((1, 3), (2, 4), (3, 6)) for block in range(n)
    ]
    assert model.layer1[0].bn1.IN.num_features == 32
    assert model.layer3[0].bn1.BN.num_features == 128
    names = set(model.state_dict())
    assert {
        "layer1.0.bn1.IN.weight",
        "layer1.0.bn1.IN.bias",
        "layer1.0.bn1.BN.running_mean",
    } <= names
    assert "layer4.0.bn1.running_mean" in names and "bn1.running_mean" in names
    # IN takes over weights and biases of half the channels: the number of parameters stays
    assert parameters(model) == 23_508_032
    assert len(names) == 318 + 13 * 2
    assert model(image(count=2)).shape == (2, 2048, 4, 2)


def test_frozen_stages_have_no_gradient_and_stay_in_eval_mode():
    model = ResNet(18, frozen_stages=2).train()
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    assert not model.bn1.training and not model.layer2[0].bn1.training
    assert model.layer3.training and model.layer3[0].bn1.training
    assert all(p.requires_grad for p in ResNet(18).parameters())


@pytest.mark.parametrize("cfg", [None, {"type": "GhostBN", "samples_per_group": 2}])
def test_norm_eval_keeps_the_running_statistics(cfg):
    model = ResNet(18, norm_eval=True)
    if cfg:
        model = convert_norm(model, cfg)
    before = copy.deepcopy(model.state_dict())
    model.train()(image(count=4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_unknown_settings_are_named():
    for kwargs in ({"depth": 51}, {"last_stride": 3}, {"ibn": "b"}):
        key, value = next(iter(kwargs.items()))
        with pytest.raises(InputError, match=f"{key}={value!r}"):
            ResNet(**kwargs)
    with pytest.raises(InputError, match="last_stride=4"):
        MobileNetV2(last_stride=4)


# ------------------------------------------------------------------------------------------------------ MobileNetV2


def test_mobilenet_has_the_published_size_and_torchvision_names():
    model = MobileNetV2()
    names = list(model.state_dict())
    assert parameters(model) == 2_223_872  # 3,504,872 with the classifier of 1000 classes
    assert len(names) == 312
    assert names[0] == "features.0.0.weight" and names[6] == "features.1.conv.0.0.weight"
    assert {
        "features.1.conv.1.weight",
        "features.2.conv.0.0.weight",
        "features.2.conv.1.1.running_mean",
        "features.17.conv.3.bias",
        "features.18.0.weight",
        "features.18.1.num_batches_tracked",
    } <= set(names)


@pytest.mark.parametrize(("last_stride", "size"), [(1, (16, 8)), (2, (8, 4))])
def test_mobilenet_strides(last_stride, size):
    model = MobileNetV2(last_stride=last_stride).eval()
    with torch.no_grad():
        assert model(image(256, 128)).shape == (1, 1280, *size)


def test_narrow_mobilenet_rounds_to_multiples_of_8():
    model = MobileNetV2(width_mult=0.35)
    widths = [layer.conv[-1].num_features for layer in model.features[1:-1]]
    assert sorted(set(widths)) == [8, 16, 24, 32, 56, 112]
    assert model.feat_dim == 1280


def test_frozen_stages_of_mobilenet():
    model = MobileNetV2(frozen_stages=3).train()
    frozen = {name.split(".")[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"0", "1", "2", "3"}


def test_our_resnet_and_mobilenet_equal_torchvisions():
    zoo = pytest.importorskip("torchvision.models")
    for ours, name in (
        (ResNet(50, last_stride=2), "resnet50"),
        (MobileNetV2(last_stride=2), "mobilenet_v2"),
    ):
        model = zoo.get_model(name).eval()
        parts = [
            part
            for part, _ in model.named_children()
            if part not in ("avgpool", "fc", "classifier")
        ]
        state = {
            key: tensor
            for key, tensor in model.state_dict().items()
            if key.partition(".")[0] in parts
        }
        ours.load_state_dict(state)
        with torch.no_grad():
            theirs = image()
            for part in parts:
                theirs = getattr(model, part)(theirs)
            torch.testing.assert_close(ours.eval()(image()), theirs)
