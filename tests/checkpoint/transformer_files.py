"""Files of released transformers with the names and shapes of METHODS2, and any content."""

import torch

from mmreid_uda import compat

compat.install()  # so that timm can be imported


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


def dinov2_shapes(width=32, depth=2, patches=37 * 37, registers=4):
    """Names -> shapes of Meta's DINOv2 with registers: patches of 14×14, a scale behind each branch."""
    shapes = vit_shapes(width, depth, patches) | {"mask_token": (1, width)}
    shapes["patch_embed.proj.weight"] = (width, 3, 14, 14)
    shapes["register_tokens"] = (1, registers, width)
    for i in range(depth):
        shapes |= {f"blocks.{i}.ls{n}.gamma": (width,) for n in (1, 2)}
    return shapes


def dinov3_shapes(width=32, depth=2):
    """Names -> shapes of Meta's DINOv3: rotary positions."""
    shapes = vit_shapes(width, depth) | {"mask_token": (1, width), "storage_tokens": (1, 4, width)}
    del shapes["pos_embed"]
    shapes["rope_embed.periods"] = (4,)
    for i in range(depth):
        shapes |= {f"blocks.{i}.ls{n}.gamma": (width,) for n in (1, 2)}
        shapes[f"blocks.{i}.attn.qkv.bias_mask"] = (3 * width,)
    return shapes


def solider_shapes(width=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7):
    """Names -> shapes of SOLIDER's Swin, controller included."""
    shapes = {"patch_embed.projection.weight": (width, 3, 4, 4)}
    shapes |= {"patch_embed.projection.bias": (width,), **norm("patch_embed.norm", width)}
    for i, (depth, count) in enumerate(zip(depths, heads)):
        channels = width * 2**i
        for j in range(depth):
            block = f"stages.{i}.blocks.{j}"
            shapes |= norm(f"{block}.norm1", channels) | norm(f"{block}.norm2", channels)
            attention = f"{block}.attn.w_msa"
            shapes[f"{attention}.relative_position_bias_table"] = ((2 * window - 1) ** 2, count)
            shapes[f"{attention}.relative_position_index"] = (window**2, window**2)
            shapes |= linear(f"{attention}.qkv", 3 * channels, channels)
            shapes |= linear(f"{attention}.proj", channels, channels)
            shapes |= linear(f"{block}.ffn.layers.0.0", 4 * channels, channels)
            shapes |= linear(f"{block}.ffn.layers.1", channels, 4 * channels)
        out = channels
        if i < 3:
            out = 2 * channels
            shapes |= norm(f"stages.{i}.downsample.norm", 4 * channels)
            shapes[f"stages.{i}.downsample.reduction.weight"] = (out, 4 * channels)
        shapes |= norm(f"norm{i}", channels)
        for kind in "wb":
            shapes |= linear(f"semantic_embed_{kind}.{i}", out, 2)
    return shapes


def filled(shapes, seed=None):
    """Zeros, or with a seed random numbers such as networks have, of these shapes; counters are whole numbers."""
    generator = torch.Generator().manual_seed(seed or 0)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.zeros(shape, dtype=torch.long)
        elif seed is None:
            tensors[name] = torch.zeros(shape)
        else:
            tensors[name] = torch.randn(shape, generator=generator) * 0.2
            if name.endswith(("running_var", ".weight")) and len(shape) == 1:
                tensors[name] = tensors[name].abs() + 0.5
    return tensors


def prefixed(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def save(path, checkpoint):
    torch.save(checkpoint, path)
    return str(path)
