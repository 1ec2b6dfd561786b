"""Converted transformers give the features of the network that the file was written for."""

import importlib

import pytest
import torch
from slow_networks import slow_clip, slow_solider, slow_vit
from transformer_files import (
    batch_norm,
    clip_shapes,
    dinov2_shapes,
    dinov3_shapes,
    filled,
    linear,
    norm,
    prefixed,
    save,
    solider_shapes,
    vit_shapes,
)

from mmreid_uda.models.backbones import TimmBackbone
from mmreid_uda.models.encoders import ReIDEncoder
from mmreid_uda.models.weights import load_pretrained
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

TINY = dict(embed_dim=32, num_heads=2, depth=2)
TEXT = filled(
    {
        "positional_embedding": (77, 8),
        "token_embedding.weight": (20, 8),
        "transformer.resblocks.0.attn.in_proj_weight": (24, 8),
        "text_projection": (8, 16),
        "logit_scale": (),
        **norm("ln_final", 8),
    },
    5,
)


def image(height, width):
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(7))


def features(module, one):
    with torch.no_grad():
        out = module.eval()(one[None])[0]
    return out.mean((1, 2)) if out.dim() == 3 else out


def test_a_vit_equals_the_released_network(tmp_path):
    tensors = filled(vit_shapes(32, 2, patches=8), 0)
    backbone = TimmBackbone("vit_small_patch16_224", img_size=(64, 32), **TINY)
    load_pretrained(backbone, save(tmp_path / "vit.pth", prefixed("module.", tensors)))
    one = image(64, 32)
    expected = slow_vit(one, tensors, depth=2, heads=2)
    torch.testing.assert_close(features(backbone, one), expected, atol=1e-5, rtol=1e-5)


# ---- CLIP


def clip_config(**options):
    name = "vit_base_patch16_clip_quickgelu_224"
    return dict(type="TimmBackbone", name=name, **TINY, **{"img_size": (64, 32), **options})


def clip_backbone(**options):
    return MODELS.build(clip_config(**options))


CLIP = filled(clip_shapes(32, 2, patches=8, out=16), 3)
CLIP_FILES = {
    "visual part": prefixed("visual.", CLIP),
    "whole model": prefixed("visual.", CLIP) | TEXT,
    "visual part alone": CLIP,
    "CLIP-ReID": prefixed("image_encoder.", CLIP)
    | prefixed("text_encoder.", TEXT)
    | filled(batch_norm("bottleneck", 32) | batch_norm("bottleneck_proj", 16), 4)
    | {"classifier.weight": torch.ones(5, 32), "classifier_proj.weight": torch.ones(5, 16)}
    | {"prompt_learner.cls_ctx": torch.zeros(5, 4, 8)},
}


@pytest.mark.parametrize("file", CLIP_FILES)
def test_clip_equals_the_released_network(file, tmp_path):
    path = save(tmp_path / "clip.pth", CLIP_FILES[file])
    backbone, one = clip_backbone(), image(64, 32)
    report = load_pretrained(backbone, path)
    assert report.layout == "clip" and report.loaded == len(backbone.state_dict()) == 31
    assert report.missing == report.unexpected == []
    token, projected = slow_clip(one, CLIP, depth=2, heads=2)
    torch.testing.assert_close(features(backbone, one), token, atol=1e-5, rtol=1e-5)
    # As a classifier of 16 "classes", timm's head is the projection.
    backbone = clip_backbone()
    backbone.net.reset_classifier(16, "token")
    assert load_pretrained(backbone, path).loaded == 33
    torch.testing.assert_close(features(backbone.net, one), projected, atol=1e-5, rtol=1e-5)
    # The text's tensors are not taken for the image's; CLIP-ReID's first neck is the neck.
    encoder = ReIDEncoder(clip_config())
    report = load_pretrained(encoder, path)
    assert report.loaded == (36 if file == "CLIP-ReID" else 31) and report.unexpected == []


def test_clip_in_half_precision_becomes_float32_at_the_images_grid(tmp_path):
    tensors = filled(clip_shapes(32, 2, patches=196), 3)
    half = {name: tensor.half() for name, tensor in prefixed("visual.", tensors).items()}
    backbone = clip_backbone(img_size=(256, 128))
    report = load_pretrained(backbone, save(tmp_path / "half.pth", half))
    assert report.resized == ["net.pos_embed"] and backbone.net.pos_embed.shape == (1, 129, 32)
    assert {tensor.dtype for tensor in backbone.state_dict().values()} == {torch.float32}
    expected = half["visual.ln_post.weight"].float()
    assert torch.equal(backbone.net.norm.weight, expected)


def test_the_table_of_clip_has_the_names_of_vit_b_16(tmp_path):
    """ViT-B/16 of METHODS2 §4.2: 152 tensors, of which the projection is no part of the backbone."""
    shapes = clip_shapes()
    assert len(shapes) == 152 and shapes["transformer.resblocks.11.mlp.c_fc.weight"] == (3072, 768)
    shapes = clip_shapes(depth=1)
    backbone = TimmBackbone("vit_base_patch16_clip_quickgelu_224", img_size=(256, 128), depth=1)
    path = save(tmp_path / "b16.pth", prefixed("visual.", filled(shapes)))
    report = load_pretrained(backbone, path)
    assert report.loaded == len(backbone.state_dict()) == len(shapes) - 1


# ---- DINO


def test_dinov2_with_registers_equals_the_released_network(tmp_path):
    tensors = filled(dinov2_shapes(patches=8), 2)
    backbone = TimmBackbone("vit_small_patch14_reg4_dinov2", img_size=(56, 28), **TINY)
    report = load_pretrained(backbone, save(tmp_path / "dinov2.pth", tensors))
    assert report.layout == "dinov2" and report.loaded == len(backbone.state_dict())
    assert report.missing == report.unexpected == report.resized == []
    one = image(56, 28)
    expected = slow_vit(one, tensors, depth=2, heads=2)
    torch.testing.assert_close(features(backbone, one), expected, atol=1e-5, rtol=1e-5)


def test_the_table_of_dinov2_without_a_class_slot_is_resized(tmp_path):
    tensors = filled(dinov2_shapes(), 2)  # 37×37, from images of 518×518
    backbone = TimmBackbone("vit_small_patch14_reg4_dinov2", img_size=(252, 126), **TINY)
    path = save(tmp_path / "dinov2.pth", dict(model=tensors))
    assert load_pretrained(backbone, path).resized == ["net.pos_embed"]
    assert backbone.net.pos_embed.shape == (1, 18 * 9, 32)
    token = tensors["cls_token"] + tensors["pos_embed"][:, :1]
    assert torch.equal(backbone.net.cls_token, token)


def test_dinov3_fills_timms_network_with_and_without_biases(tmp_path):
    tensors = filled(dinov3_shapes(), 2)
    for name in [name for name in tensors if name.endswith("attn.qkv.bias")]:
        tensors[name] = tensors[name] * 0
    options = dict(img_size=(64, 32), **TINY)
    path = save(tmp_path / "dinov3.pth", tensors)
    backbone = TimmBackbone("vit_small_patch16_dinov3", **options)
    report = load_pretrained(backbone, path)
    assert report.layout == "dinov3" and report.loaded == len(backbone.state_dict())
    assert report.missing == report.unexpected == report.resized == []
    timms = importlib.import_module("timm.models.eva").checkpoint_filter_fn(tensors, backbone.net)
    for name, tensor in backbone.net.state_dict().items():
        assert torch.equal(tensor, timms[name]), name
    # Biases that are not zero are not lost without a word, and fill the network that has them.
    bias = torch.arange(96.0)
    tensors["blocks.1.attn.qkv.bias"] = bias
    path = save(tmp_path / "biased.pth", tensors)
    unexpected = load_pretrained(backbone, path).unexpected
    assert unexpected == ["blocks.1.attn.q_bias", "blocks.1.attn.v_bias"]
    backbone = TimmBackbone("vit_small_patch16_dinov3_qkvb", **options)
    assert load_pretrained(backbone, path).missing == []
    assert torch.equal(backbone.net.blocks[1].attn.v_bias, bias[64:])


# ---- SOLIDER


def test_solider_has_the_entries_of_the_released_file():
    """Swin-tiny of METHODS2 §4.1: 205 entries, 27,533,370 parameters (indices of windows are none)."""
    shapes = solider_shapes()
    parameters = [
        torch.Size(shape).numel() for name, shape in shapes.items() if not name.endswith("_index")
    ]
    assert len(shapes) == 205 and sum(parameters) == 27_533_370


def test_solider_equals_the_released_network(tmp_path):
    depths, heads = (1, 2, 1, 1), (1, 2, 2, 4)
    tensors = filled(solider_shapes(8, depths, heads), 6)
    backbone = TimmBackbone(
        "swin_tiny_patch4_window7_224", embed_dim=8, depths=depths, num_heads=heads
    )
    file = dict(teacher=prefixed("module.backbone.", tensors) | filled(linear("head.mlp", 4, 64)))
    report = load_pretrained(backbone, save(tmp_path / "solider.pth", file))
    assert report.layout == "solider" and report.loaded == len(backbone.state_dict())
    assert report.missing == report.unexpected == []
    one = image(224, 224)
    expected = slow_solider(one, tensors, depths, heads)
    torch.testing.assert_close(features(backbone, one), expected, atol=1e-5, rtol=1e-5)
    wider = TimmBackbone("swin_tiny_patch4_window7_224", depths=depths)
    with pytest.raises(InputError, match=r"SOLIDER's Swin.* \(width 8, not 96\)"):
        load_pretrained(wider, tmp_path / "solider.pth")
