"""Stem, part tokens and camera embedding of the re-ID transformer: sizes of the released files, slow recomputations."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.models.backbones import ReIDViT, TimmBackbone
from mmreid_uda.models.encoders import ReIDEncoder
from mmreid_uda.models.layers import CameraEmbedding, cameras_of
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError

SMALL = dict(img_size=(64, 32), depth=2, embed_dim=48, num_heads=3)


@pytest.fixture(autouse=True)
def timm():
    from mmreid_uda.compat import install

    install()
    return pytest.importorskip("timm")


def images(count=2, height=64, width=32, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def drawn(module, seed=1):
    """Every tensor away from its start, statistics too."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return module.eval()


# ---------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "entries", "parameters"),
    [
        (dict(), 155, 21_640_320),
        (dict(stem="ics"), 177, 23_001_792),
        (dict(name="vit_base_patch16_224"), 155, 85_747_968),
        (dict(part_tokens=3, output="parts-cat"), 162, 21_643_392),
        (dict(part_tokens=3, output="parts-mean"), 162, 21_642_624),
    ],
)
def test_networks_have_the_published_sizes(options, entries, parameters):
    encoder = ReIDEncoder(dict(type="ReIDViT", img_size=(256, 128), **options))
    assert len(encoder.state_dict()) == entries
    assert sum(one.numel() for one in encoder.parameters()) == parameters


def test_tensors_have_the_names_and_shapes_of_the_released_files():
    net = ReIDViT(img_size=(256, 128), depth=1, stem="ics", part_tokens=3).net
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    expected = {
        "cls_token": (1, 1, 384),
        "pos_embed": (1, 128, 384),
        "patch_embed.proj.weight": (384, 64, 8, 8),
        "patch_embed.proj.bias": (384,),
        "patch_embed.conv.0.weight": (64, 3, 7, 7),
        "patch_embed.conv.3.weight": (64, 64, 3, 3),
        "patch_embed.conv.6.weight": (64, 64, 3, 3),
        "norm.weight": (384,),
        "norm.bias": (384,),
    }
    for layer in (1, 4):
        expected |= {f"patch_embed.conv.{layer}.IN.{one}": (32,) for one in ("weight", "bias")}
    for layer, width in (("1.BN", 32), ("4.BN", 32), ("7", 64)):
        for one in ("weight", "bias", "running_mean", "running_var"):
            expected[f"patch_embed.conv.{layer}.{one}"] = (width,)
        expected[f"patch_embed.conv.{layer}.num_batches_tracked"] = ()
    for token in ("part_token1", "part_token2", "part_token3"):
        expected[token] = (1, 1, 384)
    for token in ("cls_pos", "part1_pos", "part2_pos", "part3_pos"):
        expected[token] = (1, 1, 384)
    for name, shape in {
        "norm1.weight": (384,),
        "norm1.bias": (384,),
        "norm2.weight": (384,),
        "norm2.bias": (384,),
        "attn.qkv.weight": (1152, 384),
        "attn.qkv.bias": (1152,),
        "attn.proj.weight": (384, 384),
        "attn.proj.bias": (384,),
        "mlp.fc1.weight": (1536, 384),
        "mlp.fc1.bias": (1536,),
        "mlp.fc2.weight": (384, 1536),
        "mlp.fc2.bias": (384,),
    }.items():
        expected[f"blocks.0.{name}"] = shape
    assert shapes == expected


# ------------------------------------------------------------------------------------------------- slow recomputations


def slow_norm(x, state, name):
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).square().mean(-1, keepdim=True)
    return (x - mean) / (variance + 1e-6).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def slow_linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def slow_blocks(tokens, state, heads, depth):
    """Pre-norm attention and MLP, one head after the other, then the last norm; tokens (N, D) of one image."""
    width = tokens.shape[1] // heads
    for block in range(depth):
        name = f"blocks.{block}"
        qkv = slow_linear(slow_norm(tokens, state, f"{name}.norm1"), state, f"{name}.attn.qkv")
        q, k, v = qkv.split(tokens.shape[1], dim=1)
        attended = []
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            scores = q[:, own] @ k[:, own].T / math.sqrt(width)
            weights = scores.exp() / scores.exp().sum(1, keepdim=True)
            attended.append(weights @ v[:, own])
        tokens = tokens + slow_linear(torch.cat(attended, 1), state, f"{name}.attn.proj")
        hidden = slow_linear(slow_norm(tokens, state, f"{name}.norm2"), state, f"{name}.mlp.fc1")
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        tokens = tokens + slow_linear(hidden, state, f"{name}.mlp.fc2")
    return slow_norm(tokens, state, "norm")


def slow_stem(image, state):
    """Convolutions of the ICS stem by unfolded products; (3, H, W) to tokens (N, D)."""

    def conv(x, name, stride, padding, bias=None):
        weight = state[f"patch_embed.{name}.weight"]
        size = weight.shape[-1]
        rows = (x.shape[1] + 2 * padding - size) // stride + 1
        columns = (x.shape[2] + 2 * padding - size) // stride + 1
        patches = F.unfold(x[None], size, padding=padding, stride=stride)[0]
        out = weight.flatten(1) @ patches
        return (out if bias is None else out + bias[:, None]).view(-1, rows, columns)

    def batch_norm(x, name):
        of = {
            key: state[f"patch_embed.{name}.{key}"][:, None, None]
            for key in ("weight", "bias", "running_mean", "running_var")
        }
        return (x - of["running_mean"]) / (of["running_var"] + 1e-5).sqrt() * of["weight"] + of[
            "bias"
        ]

    def instance_norm(x, name):
        mean = x.mean((1, 2), keepdim=True)
        variance = (x - mean).square().mean((1, 2), keepdim=True)
        weight, bias = (
            state[f"patch_embed.{name}.{key}"][:, None, None] for key in ("weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = conv(image, "conv.0", 2, 3)
    x = torch.cat([instance_norm(x[:32], "conv.1.IN"), batch_norm(x[32:], "conv.1.BN")]).clamp(
        min=0
    )
    x = conv(x, "conv.3", 1, 1)
    x = torch.cat([instance_norm(x[:32], "conv.4.IN"), batch_norm(x[32:], "conv.4.BN")]).clamp(
        min=0
    )
    x = batch_norm(conv(x, "conv.6", 1, 1), "conv.7").clamp(min=0)
    return conv(x, "proj", 8, 0, state["patch_embed.proj.bias"]).flatten(1).T


def slow_patches(image, state):
    weight, tokens = state["patch_embed.proj.weight"], []
    for row in range(0, image.shape[1], 16):
        for column in range(0, image.shape[2], 16):
            patch = image[:, row : row + 16, column : column + 16]
            tokens.append((weight * patch).sum((1, 2, 3)) + state["patch_embed.proj.bias"])
    return torch.stack(tokens)


@pytest.mark.parametrize("stem", ["patch", "ics"])
@torch.no_grad()
def test_a_transformer_is_its_slow_recomputation(stem):
    model = drawn(ReIDViT(stem=stem, **SMALL))
    state = model.net.state_dict()
    for image, out in zip(images(), model(images())):
        patches = slow_stem(image, state) if stem == "ics" else slow_patches(image, state)
        tokens = torch.cat([state["cls_token"][0], patches]) + state["pos_embed"][0]
        expected = slow_blocks(tokens, state, 3, 2)[0]
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stem", ["patch", "ics"])
@torch.no_grad()
def test_part_tokens_are_their_slow_recomputation(stem):
    model = drawn(ReIDViT(stem=stem, part_tokens=3, output="parts", **SMALL))
    state, x = model.net.state_dict(), images()
    outputs = {"parts": model(x)}
    for output in ("parts-cat", "parts-mean", "token", "mean", "map"):
        other = ReIDViT(stem=stem, part_tokens=3, output=output, **SMALL).eval()
        other.load_state_dict(model.state_dict())
        outputs[output] = other(x)
        assert outputs[output].shape[1] == other.feat_dim
    for number, image in enumerate(x):
        patches = slow_stem(image, state) if stem == "ics" else slow_patches(image, state)
        rows = [state["cls_token"][0] + state["cls_pos"][0]]
        rows += [state[f"part_token{p}"][0] + state[f"part{p}_pos"][0] for p in (1, 2, 3)]
        rows.append(patches + state["pos_embed"][0])
        tokens = slow_blocks(torch.cat(rows), state, 3, 2)
        c, q = tokens[0], (tokens[1] + tokens[2] + tokens[3]) / 3
        expected = {
            "parts": tokens[:4].flatten(),
            "parts-cat": torch.cat([c, q]),
            "parts-mean": (c + q) / 2,
            "token": c,
            "mean": tokens[4:].mean(0),
            "map": tokens[4:].T.view(48, 4, 2),
        }
        for output, value in expected.items():
            torch.testing.assert_close(outputs[output][number], value, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_without_additions_it_is_timms():
    plain = drawn(TimmBackbone("vit_small_patch16_224", **SMALL))
    model = ReIDViT(**SMALL).eval()
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model(images()), plain(images()), atol=0, rtol=0)
    assert model.num_prefix == 1 and model.feat_dim == 48


# -------------------------------------------------------------------------------------------------------------- cameras


def test_an_embedding_starts_as_a_truncated_normal():
    torch.manual_seed(0)
    weight = CameraEmbedding(500, 384).weight
    assert weight.shape == (500, 384)
    assert weight.std().item() == pytest.approx(0.02, rel=0.01) and weight.abs().max() < 2


@pytest.mark.parametrize(("tokens", "coefficient"), [("all", 3.0), ("class", 1.0)])
@torch.no_grad()
def test_each_camera_adds_its_vector(tokens, coefficient):
    model = drawn(ReIDViT(cameras=3, camera_coefficient=coefficient, camera_tokens=tokens, **SMALL))
    state, x = model.net.state_dict(), images(4)
    samples = ReIDDataSample(camid=torch.tensor([2, 0, 1, 1]), camera=torch.tensor([2, 0, 7, -1]))
    with cameras_of(model, samples):
        told = model(x)
    untold = model(x)
    # The third camera is beyond the three, the fourth unknown.
    assert torch.equal(told[2:], untold[2:])
    for number, camera in enumerate((2, 0)):
        start = torch.cat([state["cls_token"][0], slow_patches(x[number], state)])
        start = start + state["pos_embed"][0]
        added = coefficient * model.camera_embedding.weight[camera]
        start[slice(None) if tokens == "all" else slice(1)] += added
        expected = slow_blocks(start, state, 3, 2)[0]
        torch.testing.assert_close(told[number], expected, atol=1e-5, rtol=1e-5)


def test_cameras_of_another_number_of_images_are_refused():
    model = ReIDViT(cameras=3, **SMALL)
    samples = ReIDDataSample(camera=torch.tensor([0]))
    with (
        cameras_of(model, samples),
        pytest.raises(InputError, match="found 2 images and the cameras of 1"),
    ):
        model(images())


def test_cameras_are_forgotten_behind_the_batch():
    layer = CameraEmbedding(2, 4)
    with pytest.raises(KeyError), cameras_of(layer, ReIDDataSample(camera=torch.tensor([0]))):
        raise KeyError
    assert layer.cameras is None


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(name="swin_tiny_patch4_window7_224"), "found the backbone swin_tiny"),
        (dict(name="resnet18"), "ResNet|resnet18"),
        (dict(stem="ics", stride=12), "without overlap"),
        (dict(name="vit_small_patch14_dinov2", stem="ics", img_size=(56, 28)), "patches of 16×16"),
        (dict(output="parts"), "set backbone.part_tokens=3"),
    ],
)
def test_what_does_not_fit_is_said(options, message):
    with pytest.raises(InputError, match=message):
        ReIDViT(**{"img_size": (64, 32), **options})


def test_the_stem_holds_the_added_tokens_when_frozen():
    net = ReIDViT(part_tokens=3, stem="ics", frozen_stages=0, **SMALL).net
    frozen = {name for name, one in net.named_parameters() if not one.requires_grad}
    assert {"part_token1", "part3_pos", "cls_pos", "pos_embed", "cls_token"} <= frozen
    assert "patch_embed.conv.0.weight" in frozen and not any("blocks" in name for name in frozen)
