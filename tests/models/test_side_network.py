"""Ladders beside any trunk, and MGN with and without cells: sizes, shapes, slow recomputations."""

import pytest
import torch
from torch import nn

from mmreid_uda.config import load_config
from mmreid_uda.models.backbones import (
    MobileNetV2,
    ResNet,
    SideNetworkBackbone,
    record_outputs,
)
from mmreid_uda.models.encoders import MGNEncoder
from mmreid_uda.models.layers import latent_cells
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

SMALL = dict(type="MobileNetV2", width_mult=0.25)
BLOCKS = [
    dict(out_layer="features.3", cells=[(4, 2), (8, 2)], fuse=8),
    dict(out_layer="features.18", cells=[(8, 2), (8, 2)], fuse=16),
]
# Of the released network: the copy of the backbone's later blocks and its classifier, never used.
UNUSED = 22_599_656


def image(height=64, width=32, count=2, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


# ---- ladders


def test_the_trunk_sees_nothing_of_the_ladder():
    backbone = SideNetworkBackbone(SMALL, BLOCKS)
    trunk = MobileNetV2(width_mult=0.25)
    trunk.load_state_dict(backbone.trunk.state_dict())
    with record_outputs(backbone, ["trunk"]) as maps:
        backbone(image())
    torch.testing.assert_close(maps["trunk"], trunk(image()))


def test_a_ladder_equals_its_steps_one_by_one():
    torch.manual_seed(0)
    backbone = SideNetworkBackbone(SMALL, BLOCKS, cell=dict(init_std=0.0)).eval()
    x, features = image(), backbone.trunk.features
    third = features[:4](x)
    low, high = backbone.ladder.rungs
    side = low.cells[1](low.cells[0](x))
    side = low.fuse[1](low.fuse[0](torch.cat([third, side], 1))).relu()
    side = high.cells[1](high.cells[0](side))
    expected = high.fuse[1](high.fuse[0](torch.cat([features(x), side], 1))).relu()
    torch.testing.assert_close(backbone(x), expected)
    assert backbone.feat_dim == expected.shape[1] == 16


def test_a_block_without_cells_takes_the_trunk_alone():
    backbone = SideNetworkBackbone(SMALL, [dict(out_layer="features.18", fuse=16)])
    assert not list(latent_cells(backbone))
    last = backbone.ladder.rungs[0].fuse.eval()
    torch.testing.assert_close(backbone.eval()(image()), last(backbone.trunk(image())))


def test_a_ladder_stands_beside_any_network():
    class Foreign(nn.Sequential):
        pass

    MODELS.register_module(module=Foreign, name="ForeignNetworkOfATest", force=True)
    MODELS.module_dict["ForeignNetworkOfATest"] = lambda: Foreign(
        nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), nn.Conv2d(5, 7, 3, 2, 1)
    )
    blocks = [
        dict(out_layer="1", cells=[(4, 2)], fuse=6),
        dict(out_layer="2", cells=[(4, 2)], fuse=9),
    ]
    assert SideNetworkBackbone(dict(type="ForeignNetworkOfATest"), blocks)(image()).shape == (
        2,
        9,
        16,
        8,
    )


@pytest.mark.parametrize(
    "blocks, message",
    [
        ([], r"blocks=\[\]"),
        ([*BLOCKS, dict(out_layer="features.18", fuse=8)], "a block without cells above another"),
        (
            [dict(out_layer="layer9", cells=[(4, 2)], fuse=8)],
            "no part 'layer9', expected one such as features",
        ),
        (
            [dict(out_layer="features.18", cells=[(4, 2)], fuse=8)],
            r"a map of \(32, 16\), the trunk's is \(4, 2\)",
        ),
    ],
)
def test_a_ladder_that_does_not_fit_is_one_sentence(blocks, message):
    with pytest.raises(InputError, match=message):
        SideNetworkBackbone(SMALL, blocks)(image())


@pytest.mark.parametrize(
    "name, cells", [("ptl_r50_market", 6), ("ptl_d161_market", 5), ("ptl-late_r50_market", 2)]
)
def test_the_ladders_of_the_configs_have_their_cells(name, cells):
    encoder = load_config(name).encoder
    assert sum(len(block.get("cells", ())) for block in encoder.backbone.blocks) == cells


# ---- MGN


@pytest.fixture(scope="module")
def mgn_ptl():
    encoder = load_config("configs/ptl/mgn-ptl_r50_market.py").encoder
    encoder.backbone.pop("init_cfg")  # no ImageNet weights
    model = MODELS.build(encoder)
    model.init_weights()
    return model


def test_mgn_with_cells_has_the_released_number_of_parameters(mgn_ptl):
    assert parameters(mgn_ptl.ladder, mgn_ptl.cells) == 14_176_768
    classifiers = 8 * (256 * 751 + 751)
    assert parameters(mgn_ptl) + classifiers + UNUSED == 103_487_648


def test_the_shared_convolution_starts_as_released(mgn_ptl):
    convolution, norm, _ = mgn_ptl.reduce
    assert convolution.weight.std().item() == pytest.approx((2 / 2176) ** 0.5, rel=0.01)
    # 256 draws of N(1, 0.02²): five standard errors of their mean and of their standard deviation.
    assert norm.weight.mean().item() == pytest.approx(1, abs=5 * 0.02 / 256**0.5)
    assert norm.weight.std().item() == pytest.approx(0.02, abs=5 * 0.02 / 512**0.5)
    assert not norm.bias.any()
    blocks = [block.fuse[1].weight for block in mgn_ptl.ladder.rungs]
    assert all((weight == 1).all() for weight in blocks), "those of the ladder start plainly"


def test_the_shared_convolution_of_plain_mgn_has_no_bias(mgn_ptl):
    backbone = dict(type="ResNet", depth=50, last_stride=2)
    with torch.device("meta"):
        plain, biased = (MGNEncoder(backbone, reduce_bias=bias) for bias in (None, True))
    assert plain.reduce[0].bias is None
    assert biased.reduce[0].bias is not None and mgn_ptl.reduce[0].bias is not None


def test_the_maps_of_mgn_with_cells_are_the_released_ones(mgn_ptl):
    with torch.no_grad():
        out = mgn_ptl(image(384, 128, count=2))
    assert out.pooled.shape == (2, 768) and out.embedding.shape == (2, 2048)
    states = [tuple(cell.state.shape[1:]) for cell in latent_cells(mgn_ptl)]
    assert states[:5] == [(16, 192, 64), (32, 96, 32), (64, 96, 32), (256, 48, 16), (512, 24, 8)]
    assert states[5:] == [(128, 12, 4), (128, 24, 8), (128, 24, 8)]


def test_mgn_pools_stripes_and_shares_one_convolution(mgn_ptl):
    mgn_ptl.eval()
    x, net = image(384, 128, count=1), mgn_ptl.backbone
    with torch.no_grad():
        found = mgn_ptl(x)
        with record_outputs(net, mgn_ptl.ladder.out_layers) as maps:
            net(x)
        side = mgn_ptl.ladder(x, maps)
        shared, vectors = maps["layer3.0"], []
        # Branches start as copies: the first one's blocks serve the others, with the stride taken out.
        maps = [net.layer4(net.layer3[1:](shared)), *(b(shared) for b in mgn_ptl.branches)]
        sides = [cell(side) for cell in mgn_ptl.cells]
        whole, halves = slice(None), [slice(12), slice(12, 24)]
        thirds = [slice(8), slice(8, 16), slice(16, 24)]
        regions = [*((branch, whole) for branch in range(3)), *((1, half) for half in halves)]
        for branch, rows in [*regions, *((2, third) for third in thirds)]:
            pooled = [one[branch][:, :, rows].amax((2, 3)) for one in (maps, sides)]
            vectors.append(mgn_ptl.reduce(torch.cat(pooled, 1)[:, :, None, None]).flatten(1))
    torch.testing.assert_close(found.embedding, torch.cat(vectors, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.pooled, found.embedding[:, :768])
    torch.testing.assert_close(maps[1], maps[2])
    assert maps[0].shape[2:] == (12, 4) and maps[1].shape[2:] == (24, 8)


def test_a_backbone_that_mgn_cannot_take_is_named():
    with pytest.raises(InputError, match="found the backbone MobileNetV2"):
        MGNEncoder(SMALL)
    with pytest.raises(InputError, match="last stride of 1"):
        MGNEncoder(dict(type="ResNet", depth=50, last_stride=1))
    with pytest.raises(InputError, match="found the backbone ResNet"):
        MGNEncoder(dict(type="ResNet", depth=18, last_stride=2))
    assert isinstance(MODELS.build(dict(type="ResNet", depth=18)), ResNet)
    # Its layers 3 and 4 are those of the first branch alone.
    with pytest.raises(InputError, match=r"frozen_stages=4.*at most 2"):
        MGNEncoder(dict(type="ResNet", depth=50, last_stride=2, frozen_stages=4))


def test_all_branches_of_mgn_learn_behind_a_frozen_trunk():
    encoder = MGNEncoder(dict(type="ResNet", depth=50, last_stride=2, frozen_stages=2))
    fixed = {name for name, p in encoder.named_parameters() if not p.requires_grad}
    assert {name.split(".")[1] for name in fixed} == {"conv1", "bn1", "layer1", "layer2"}
    assert not encoder.train().backbone.layer2[0].bn1.training
    assert all(m.training for m in encoder.branches.modules())
