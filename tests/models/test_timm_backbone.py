"""Models of timm as backbones: what they give is timm's, for images of any shape, and misfits are said in sentences."""

import copy

import pytest
import torch
from torch import nn

from mmreid_uda.models.backbones import TimmBackbone, record_outputs
from mmreid_uda.models.encoders import AsymmetricBranchEncoder, MGNEncoder, ReIDEncoder
from mmreid_uda.models.layers import convert_norm
from mmreid_uda.models.weights import load_pretrained
from mmreid_uda.utils import InputError

TINY = dict(name="vit_tiny_patch16_224", depth=2, embed_dim=48, num_heads=3)


@pytest.fixture(scope="module")
def timm():
    from mmreid_uda.compat import install

    install()
    return pytest.importorskip("timm")


def images(count=2, height=64, width=32, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def draw(backbone, seed=1):
    """Random weights of small size, as trained ones have."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in backbone.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    return backbone.eval()


# --------------------------------------------------------------------------------------------------- convolutional nets


@pytest.mark.parametrize(
    ("name", "width"), [("resnet18", 512), ("convnext_atto", 320), ("mobilenetv3_small_050", 1024)]
)
@torch.no_grad()
def test_maps_are_what_timm_gives_without_pooling(timm, name, width):
    backbone = draw(TimmBackbone(name))
    theirs = timm.create_model(name, num_classes=0, global_pool="").eval()
    theirs.load_state_dict(backbone.net.state_dict())
    out = backbone(images())
    assert out.shape == (2, width, 2, 1) and backbone.feat_dim == width
    torch.testing.assert_close(out, theirs(images()), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_swin_gives_its_map_with_channels_first(timm):
    options = dict(embed_dim=12, depths=(1, 1), num_heads=(1, 2))
    backbone = draw(TimmBackbone("swin_tiny_patch4_window7_224", (64, 32), **options))
    theirs = timm.create_model(
        "swin_tiny_patch4_window7_224",
        num_classes=0,
        img_size=(64, 32),
        always_partition=True,
        **options,
    ).eval()
    theirs.load_state_dict(backbone.net.state_dict())
    out = backbone(images())
    assert out.shape == (2, backbone.feat_dim, 8, 4)
    torch.testing.assert_close(out.mean((2, 3)), theirs(images()), atol=1e-5, rtol=1e-5)


def test_a_swin_keeps_the_tables_of_its_windows(timm):
    options = dict(embed_dim=12, depths=(1, 1), num_heads=(1, 2))
    net = TimmBackbone("swin_tiny_patch4_window7_224", (64, 32), **options).net
    for layer in net.layers:
        assert layer.blocks[0].attn.relative_position_bias_table.shape[0] == 13 * 13


@torch.no_grad()
def test_a_densenet_is_torchvisions(timm):
    zoo = pytest.importorskip("torchvision.models")
    backbone = draw(TimmBackbone("densenet121"))
    theirs = zoo.densenet121().features.eval()
    theirs.load_state_dict(backbone.net.features.state_dict())
    torch.testing.assert_close(backbone(images()), theirs(images()).relu(), atol=0, rtol=0)


@pytest.mark.slow
@torch.no_grad()
def test_the_stages_of_densenet_161_are_those_of_ptl(timm):
    shapes = {
        "pool0": (96, 64, 32),
        "denseblock1": (384, 64, 32),
        "transition1": (192, 32, 16),
        "denseblock2": (768, 32, 16),
        "transition2": (384, 16, 8),
        "denseblock3": (2112, 16, 8),
        "transition3": (1056, 8, 4),
        "denseblock4": (2208, 8, 4),
        "norm5": (2208, 8, 4),
    }
    backbone = TimmBackbone("densenet161").eval()
    assert sum(p.numel() for p in backbone.parameters()) == 28_681_000 - (2208 * 1000 + 1000)
    with record_outputs(backbone.net.features, shapes) as maps:
        out = backbone(images(1, 256, 128))
    assert {name: tuple(found.shape[1:]) for name, found in maps.items()} == shapes
    assert torch.equal(out, maps["norm5"]) and out.min() >= 0


def test_a_densenet_loads_torchvisions_old_and_new_names(timm, tmp_path):
    source = TimmBackbone("densenet121").net
    for name, old in (("new", False), ("old", True)):
        tensors = dict(source.state_dict())
        if old:
            for part in ("norm", "conv"):
                tensors = {
                    key.replace(f".{part}1.", f".{part}.1.").replace(f".{part}2.", f".{part}.2.")
                    if "denselayer" in key
                    else key: value
                    for key, value in tensors.items()
                }
        torch.save({**tensors, "classifier.weight": torch.zeros(1000, 1024)}, tmp_path / name)
        report = load_pretrained(TimmBackbone("densenet121"), str(tmp_path / name))
        assert report.loaded == len(source.state_dict()) and not report.missing + report.unexpected


@pytest.mark.parametrize("norm", ["GhostBN", "DomainBN"])
def test_converted_norms_keep_the_activation_that_timm_puts_into_them(timm, norm):
    backbone = draw(TimmBackbone("densenet121")).train()
    converted = convert_norm(copy.deepcopy(backbone), dict(type=norm))
    last = converted.net.features.norm5
    assert type(last).__name__ == norm and len(list(last.parameters())) in (2, 4)
    out = converted.eval()(images())
    torch.testing.assert_close(out, backbone.eval()(images()))
    assert (out == 0).any() and out.min() == 0
    torch.testing.assert_close(copy.deepcopy(converted)(images()), out)


# --------------------------------------------------------------------------------------------------------- transformers


@pytest.mark.parametrize("img_size", [(64, 32), (32, 64)])
@torch.no_grad()
def test_tokens_are_those_of_timm(timm, img_size):
    token = draw(TimmBackbone(img_size=img_size, **TINY))
    options = {key: value for key, value in TINY.items() if key != "name"}
    theirs = timm.create_model(TINY["name"], num_classes=0, img_size=img_size, **options).eval()
    theirs.load_state_dict(token.net.state_dict())
    x = images(2, *img_size)
    tokens = theirs.forward_features(x)
    assert token.output == "token" and token.feat_dim == 48
    torch.testing.assert_close(token(x), theirs(x), atol=1e-5, rtol=1e-5)
    expected = {
        "mean": tokens[:, 1:].mean(1),
        "token+mean": torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1),
        "map": tokens[:, 1:]
        .reshape(2, img_size[0] // 16, img_size[1] // 16, 48)
        .permute(0, 3, 1, 2),
    }
    for output, value in expected.items():
        other = TimmBackbone(img_size=img_size, output=output, **TINY).eval()
        other.net.load_state_dict(token.net.state_dict())
        assert other.feat_dim == value.shape[1]
        torch.testing.assert_close(other(x), value, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_the_norm_that_follows_the_mean_follows_it_here_too(timm):
    options = dict(img_size=(64, 32), depth=1, embed_dim=48, num_heads=3)
    backbone = draw(
        TimmBackbone("vit_base_patch16_224_miil", output="mean", global_pool="avg", **options)
    )
    theirs = timm.create_model(
        "vit_base_patch16_224_miil", num_classes=0, global_pool="avg", **options
    ).eval()
    theirs.load_state_dict(backbone.net.state_dict())
    assert isinstance(theirs.fc_norm, nn.LayerNorm)
    torch.testing.assert_close(backbone(images()), theirs(images()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "img_size", "prefix"),
    [
        ("vit_small_patch14_reg4_dinov2", (56, 28), 5),
        ("vit_small_patch16_dinov3", (64, 32), 5),
        ("deit_tiny_distilled_patch16_224", (64, 32), 2),
        ("vit_base_patch16_clip_quickgelu_224", (64, 32), 1),
    ],
)
@torch.no_grad()
def test_other_transformers_give_class_token_and_patches(timm, name, img_size, prefix):
    options = dict(depth=1, embed_dim=48, num_heads=3)
    backbone = draw(TimmBackbone(name, img_size, output="token+mean", **options))
    assert backbone.num_prefix == prefix and backbone.feat_dim == 96
    tokens = backbone.net.forward_features(images(2, *img_size))
    expected = torch.cat([tokens[:, 0], tokens[:, prefix:].mean(1)], 1)
    torch.testing.assert_close(backbone(images(2, *img_size)), expected, atol=1e-5, rtol=1e-5)


def test_clip_has_the_activation_of_its_weights(timm):
    name, options = "vit_base_patch16_clip_quickgelu_224", dict(depth=1, embed_dim=48, num_heads=3)
    act = TimmBackbone(name, (64, 32), **options).net.blocks[0].mlp.act
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(act(x), x * torch.sigmoid(1.702 * x))


@torch.no_grad()
def test_overlapping_patches_are_cut_at_every_stride(timm):
    backbone = draw(TimmBackbone(img_size=(64, 32), stride=12, output="map", **TINY))
    assert backbone.grid == (5, 2) and backbone.net.pos_embed.shape == (1, 11, 48)
    x = images(1)
    tokens = backbone.net.patch_embed(x)
    conv = backbone.net.patch_embed.proj
    for row in range(5):
        for column in range(2):
            patch = x[0, :, 12 * row : 12 * row + 16, 12 * column : 12 * column + 16]
            slow = (conv.weight * patch).sum((1, 2, 3)) + conv.bias
            torch.testing.assert_close(tokens[0, 2 * row + column], slow, atol=1e-5, rtol=1e-4)
    assert backbone(x).shape == (1, 48, 5, 2)


def test_the_grid_of_256_by_128_with_stride_12_is_that_of_the_papers(timm):
    assert TimmBackbone(img_size=(256, 128), stride=12, **TINY).grid == (21, 10)


def test_drop_path_grows_with_the_depth(timm):
    blocks = TimmBackbone(img_size=(64, 32), drop_path=0.3, **{**TINY, "depth": 4}).net.blocks
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])


# --------------------------------------------------------------------------------------------------------------- frozen


def test_frozen_blocks_keep_eval_mode_and_have_no_gradient(timm):
    backbone = TimmBackbone(img_size=(64, 32), frozen_stages=1, drop_path=0.2, **TINY).train()
    learning = {name for name, one in backbone.net.named_parameters() if one.requires_grad}
    assert {name.split(".")[0] for name in learning} == {"blocks", "norm"}
    assert {name.split(".")[1] for name in learning if name.startswith("blocks")} == {"1"}
    assert not backbone.net.blocks[0].training and backbone.net.blocks[1].training
    assert not backbone.net.patch_embed.training
    backbone(images()).sum().backward()
    assert backbone.net.pos_embed.grad is None and backbone.net.norm.weight.grad is not None


def test_frozen_stages_of_a_convolutional_network(timm):
    backbone = TimmBackbone("resnet18", frozen_stages=1).train()
    frozen = {
        name.split(".")[0] for name, p in backbone.net.named_parameters() if not p.requires_grad
    }
    assert frozen == {"conv1", "bn1", "layer1"}
    assert not backbone.net.layer1[0].bn1.training and backbone.net.layer2[0].bn1.training


def test_frozen_stages_of_a_densenet_are_its_blocks_with_their_transitions(timm):
    net = TimmBackbone("densenet121", frozen_stages=2).net
    frozen = {name.split(".")[1] for name, p in net.named_parameters() if not p.requires_grad}
    blocks = {f"{part}{n}" for part in ("denseblock", "transition") for n in (1, 2)}
    assert frozen == {"conv0", "norm0"} | blocks


def test_the_patch_embedding_alone_can_be_frozen(timm):
    net = TimmBackbone(img_size=(64, 32), freeze_patch_embed=True, **TINY).net
    frozen = {name for name, one in net.named_parameters() if not one.requires_grad}
    assert frozen == {"patch_embed.proj.weight", "patch_embed.proj.bias"}


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(name="vit_tinny_patch16_224"),
            r"found the backbone name 'vit_tinny_patch16_224'.*vit_",
        ),
        (dict(name="vit_small_patch14_dinov2", img_size=(256, 128)), r"252, 126.*266, 140"),
        (dict(TINY, img_size=(250, 128)), r"240, 128.*256, 128"),
        (dict(name="resnet18", output="token"), "gives a feature map.*encoder.pool"),
        (dict(name="resnet18", stride=12), "leave backbone.stride out"),
        (dict(name="resnet18", freeze_patch_embed=True), "has no patch embedding"),
        (dict(name="resnet18", depht=3), "refuses .*depht"),
        (dict(TINY, class_token=False, global_pool="avg", output="token"), "has no class token"),
    ],
)
def test_what_does_not_fit_is_said(timm, options, message):
    with pytest.raises(InputError, match=message):
        TimmBackbone(**options)


def test_images_of_another_size_are_refused_with_the_key(timm):
    backbone = TimmBackbone(img_size=(64, 32), **TINY)
    with pytest.raises(
        InputError, match=r"found images of 128×64, .* is built for 64×32: set input_size"
    ):
        backbone(images(1, 128, 64))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda backbone: AsymmetricBranchEncoder(backbone), "found the backbone TimmBackbone"),
        (lambda backbone: MGNEncoder(backbone), "found the backbone TimmBackbone"),
        (
            lambda backbone: ReIDEncoder(
                dict(
                    type="SideNetworkBackbone",
                    trunk=backbone,
                    blocks=[dict(out_layer="net.blocks.1", cells=[(8, 2)], fuse=24)],
                )
            ),
            "gives no map",
        ),
    ],
)
def test_parts_that_need_maps_say_so_of_tokens(timm, encoder, message):
    with pytest.raises(InputError, match=message):
        encoder(dict(type="TimmBackbone", img_size=(64, 32), **TINY))


def test_an_encoder_takes_tokens_and_maps(timm):
    for output, width in (("token", 48), ("map", 48), ("token+mean", 96)):
        backbone = dict(type="TimmBackbone", img_size=(64, 32), output=output, **TINY)
        encoder = ReIDEncoder(backbone).eval()
        assert encoder(images()).embedding.shape == (2, width)
