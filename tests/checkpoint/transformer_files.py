"""Files of released transformers with the names and shapes of METHODS2, and any content."""

import importlib

import torch
from torch import nn

from mmreid_uda import compat
from mmreid_uda.models.weights import PretrainedModule


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def batch_norm(name, width):
    statistics = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return norm(name, width) | statistics | {f"{name}.num_batches_tracked": ()}


def linear(name, out, width):
    return {f"{name}.weight": (out, width), f"{name}.bias": (out,)}


def vit_shapes(width=384, depth=12, patches=128, stem="patch", part_tokens=0):
    """Names -> shapes of the transformers of TransReID-SSL (a class token, a stem of patches or ICS) and of PASS."""
    shapes = {"cls_token": (1, 1, width)}
    shapes["pos_embed"] = (1, patches + (part_tokens == 0), width)
    if part_tokens:
        numbers = range(1, part_tokens + 1)
        shapes["cls_pos"] = (1, 1, width)
        shapes |= {f"part_token{n}": (1, 1, width) for n in numbers}
        shapes |= {f"part{n}_pos": (1, 1, width) for n in numbers}
    if stem == "ics":
        for index, kernel, channels in ((0, 7, 3), (3, 3, 64), (6, 3, 64)):
            shapes[f"patch_embed.conv.{index}.weight"] = (64, channels, kernel, kernel)
        for index in (1, 4):
            shapes |= norm(f"patch_embed.conv.{index}.IN", 32)
            shapes |= batch_norm(f"patch_embed.conv.{index}.BN", 32)
        shapes |= batch_norm("patch_embed.conv.7", 64)
        shapes["patch_embed.proj.weight"] = (width, 64, 8, 8)
    else:
        shapes["patch_embed.proj.weight"] = (width, 3, 16, 16)
    shapes["patch_embed.proj.bias"] = (width,)
    for i in range(depth):
        block = f"blocks.{i}"
        shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        shapes |= linear(f"{block}.attn.qkv", 3 * width, width)
        shapes |= linear(f"{block}.attn.proj", width, width)
        shapes |= linear(f"{block}.mlp.fc1", 4 * width, width)
        shapes |= linear(f"{block}.mlp.fc2", width, 4 * width)
    return shapes | norm("norm", width)


def clip_shapes(width=768, depth=12, patches=196, out=512, patch=16):
    """Names -> shapes of the visual part of OpenAI's ViT-B/16, without its prefix."""
    shapes = {
        "class_embedding": (width,),
        "positional_embedding": (patches + 1, width),
        "proj": (width, out),
        "conv1.weight": (width, 3, patch, patch),
        **norm("ln_pre", width),
    }
    for i in range(depth):
        block = f"transformer.resblocks.{i}"
        shapes[f"{block}.attn.in_proj_weight"] = (3 * width, width)
        shapes[f"{block}.attn.in_proj_bias"] = (3 * width,)
        shapes |= linear(f"{block}.attn.out_proj", width, width)
        shapes |= norm(f"{block}.ln_1", width) | norm(f"{block}.ln_2", width)
        shapes |= linear(f"{block}.mlp.c_fc", 4 * width, width)
        shapes |= linear(f"{block}.mlp.c_proj", width, 4 * width)
    return shapes | norm("ln_post", width)


def filled(shapes, seed=None):
    """Zeros, or with a seed small random numbers, of these shapes; counters are whole numbers."""
    generator = torch.Generator().manual_seed(seed or 0)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.zeros(shape, dtype=torch.long)
        elif seed is None:
            tensors[name] = torch.zeros(shape)
        else:
            tensors[name] = torch.randn(shape, generator=generator) * 0.1
            if name.endswith("running_var"):
                tensors[name] = tensors[name].abs() + 0.5
    return tensors


def prefixed(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def save(path, checkpoint):
    torch.save(checkpoint, path)
    return str(path)


class Wrapped(PretrainedModule):
    """A backbone that holds timm's model under a level of its own."""

    wrapped = "net"

    def __init__(self, name, **options):
        super().__init__()
        compat.install()
        self.net = importlib.import_module("timm").create_model(
            name, pretrained=False, num_classes=0, **options
        )
        self.feat_dim = self.net.num_features

    def forward(self, x):
        return self.net(x)


class Encoder(PretrainedModule):
    """A backbone and a neck, named as in a ``ReIDEncoder``."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.neck = nn.ModuleDict({"bn": nn.BatchNorm1d(backbone.feat_dim)})
