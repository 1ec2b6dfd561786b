"""Weights that others released, in this package's words: one named layout for each way of naming tensors.

A layout is told by a tensor that only its files have, and gives the names of a :class:`ReIDEncoder`: ``backbone.`` and
what timm calls the tensor, ``neck.bn.`` for the batch normalisation behind it, ``neck.necks.0.bn.`` of several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from torch import Tensor

from mmreid_uda.utils import InputError

from .official_names import convert_official

__all__ = ["HEADS", "LAYOUTS", "Layout", "LayoutName", "convert_layout", "detect_layout"]

LayoutName = Literal["auto", "pass", "ics", "clip", "dinov3", "dinov2", "solider", "vit", "plain"]
"""What ``layout`` may be in an ``init_cfg``."""

HEADS = re.compile(
    r"(?:^|\.)(?:fc|classifier\w*|heads?|head_dist|dist_token|pre_logits|mask_token|\w*neck_proj)(?:\.|$)"
)
"""Names of what training needed and features do not: left out of a file without a word."""

# What stands before a network's tensors: a wrapper's prefix, then its place in the whole model.
_ROOT = r"(?P<root>(?:module\.)?(?:base\.|backbone\.|model\.|visual\.|image_encoder\.)?)"


class Layout(NamedTuple):
    """A way of naming tensors, and what is needed to read it."""

    marker: str
    """A tensor that only such files have; what stands before its name is the root of the network's names."""
    network: str
    """The network whose weights these are, for sentences."""
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
    """From the network's own names to timm's; None where they are the same."""

    def find_root(self, name: str) -> re.Match[str] | None:
        """Whether a name of a file is the marker's.

        Args:
            name: Of a tensor.

        Returns:
            A match whose group ``root`` is what stands before the marker; None if it is another name.
        """
        return re.fullmatch(_ROOT + re.escape(self.marker), name)


def _from_clip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's visual transformer: the projection is the row of a classifier, tokens have a batch dimension."""
    swaps = {
        r"^transformer\.resblocks\.": "blocks.",
        r"\bln_(\d)\.": r"norm\1.",
        r"^ln_pre\.": "norm_pre.",
        r"^ln_post\.": "norm.",
        r"\battn\.in_proj_": "attn.qkv.",
        r"\battn\.out_proj\.": "attn.proj.",
        r"\bmlp\.c_fc\.": "mlp.fc1.",
        r"\bmlp\.c_proj\.": "mlp.fc2.",
        r"^conv1\.": "patch_embed.proj.",
    }
    renamed = {}
    for name, tensor in tensors.items():
        if name == "class_embedding":
            renamed["cls_token"] = tensor.reshape(1, 1, -1)
        elif name == "positional_embedding":
            renamed["pos_embed"] = tensor.unsqueeze(0)
        elif name == "proj":
            renamed["head.weight"] = tensor.T.contiguous()
            renamed["head.bias"] = tensor.new_zeros(tensor.shape[1])
        else:
            for pattern, ours in swaps.items():
                name = re.sub(pattern, ours, name)
            renamed[name] = tensor
    return renamed


def _from_dinov2(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Meta's DINOv2; with registers, timm adds the class token's position to the token and keeps none for it."""
    renamed = {
        re.sub(r"\.mlp\.w3\.", ".mlp.fc2.", re.sub(r"\.mlp\.w12\.", ".mlp.fc1.", name)): tensor
        for name, tensor in tensors.items()
    }
    if "register_tokens" in renamed:
        positions = renamed["pos_embed"]
        renamed["reg_token"] = renamed.pop("register_tokens")
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]
        renamed["pos_embed"] = positions[:, 1:]
    return renamed


def _from_dinov3(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Meta's DINOv3: rotary positions are computed; a bias of the keys moves no attention, so timm has none."""
    renamed = {}
    for name, tensor in tensors.items():
        if name.endswith((".periods", ".bias_mask")) or name.startswith("local_cls_norm."):
            continue
        if name.endswith("attn.qkv.bias"):
            stem = name.removesuffix("qkv.bias")
            renamed[f"{stem}q_bias"], _, renamed[f"{stem}v_bias"] = tensor.chunk(3)
            continue
        name = re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", name)
        renamed["reg_token" if name == "storage_tokens" else name] = tensor
    return renamed


# How the four neighbours of a merged patch are ordered: (row, column) = 00, 01, 10, 11 here, 00, 10, 01, 11 in timm.
_NEIGHBORS = [0, 2, 1, 3]


def _from_solider(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """SOLIDER's Swin: merging layers see four neighbours, channel by channel there and neighbour by neighbour in timm.

    Its semantic controller is left out: these are the features without it.
    """
    swaps = {
        r"^stages\.(\d+)\.blocks\.": r"layers.\1.blocks.",
        r"\.attn\.w_msa\.": ".attn.",
        r"\.ffn\.layers\.0\.0\.": ".mlp.fc1.",
        r"\.ffn\.layers\.1\.": ".mlp.fc2.",
        r"^patch_embed\.projection\.": "patch_embed.proj.",
        r"^norm3\.": "norm.",
    }
    renamed = {}
    for name, tensor in tensors.items():
        if re.match(r"norm[0-2]\.|semantic_embed_", name) or name.endswith(
            "relative_position_index"
        ):
            continue
        if found := re.match(r"stages\.(\d+)\.downsample\.(.+)", name):
            name = f"layers.{int(found[1]) + 1}.downsample.{found[2]}"
            channels = tensor.shape[-1] // 4
            by_neighbor = tensor.reshape(-1, channels, 4).transpose(1, 2)[:, _NEIGHBORS]
            tensor = by_neighbor.reshape(tensor.shape)
        for pattern, ours in swaps.items():
            name = re.sub(pattern, ours, name)
        renamed[name] = tensor
    return renamed


LAYOUTS: dict[str, Layout] = {
    "pass": Layout("part_token1", "PASS: ReIDViT with part_tokens=3"),
    "ics": Layout(
        "patch_embed.conv.0.weight", "a transformer with the ICS stem: ReIDViT with stem='ics'"
    ),
    "clip": Layout(
        "class_embedding",
        "CLIP's visual transformer: timm's vit_..._clip_quickgelu_...",
        _from_clip,
    ),
    "dinov3": Layout("storage_tokens", "DINOv3: timm's vit_..._dinov3", _from_dinov3),
    "dinov2": Layout(
        "mask_token", "DINOv2: timm's vit_..._dinov2 or vit_..._reg4_dinov2", _from_dinov2
    ),
    "solider": Layout(
        "stages.0.blocks.0.attn.w_msa.qkv.weight",
        "SOLIDER's Swin: timm's swin_..._patch4_window7_224",
        _from_solider,
    ),
    "vit": Layout("blocks.0.attn.qkv.weight", "a vision transformer under timm's names"),
}
"""Layouts of transformers, whose backbones are whole, by name, in the order in which their markers are looked for."""


def detect_layout(names: Iterable[str]) -> str:
    """The layout that a file has.

    Args:
        names: Of its tensors, unwrapped, see :func:`find_state_dict`.

    Returns:
        A name of :data:`LayoutName`: ``'plain'`` if no marker is there.
    """
    names = list(names)
    for key, layout in LAYOUTS.items():
        if any(map(layout.find_root, names)):
            return key
    return "plain"


def convert_layout(
    tensors: Mapping[str, Tensor], layout: str = "auto"
) -> tuple[str, dict[str, Tensor]]:
    """Rename the tensors of a released file.

    Args:
        tensors: Names -> tensors of the file, unwrapped, see :func:`find_state_dict`.
        layout: One of :data:`LayoutName`. Defaults to ``'auto'``: what :func:`detect_layout` says.

    Returns:
        The layout's name, and names of a ``ReIDEncoder`` -> tensors; of ``'plain'`` files see
        :func:`~mmreid_uda.checkpoint.convert_official`.

    Raises:
        InputError: The file is not of the layout that was asked for.
    """
    key = detect_layout(tensors) if layout == "auto" else layout
    if key not in LAYOUTS:
        return key, convert_official(tensors)
    one = LAYOUTS[key]
    found = next(filter(None, map(one.find_root, tensors)), None)
    if found is None:
        raise InputError(
            f"found no tensor {one.marker!r} in the file, expected it for layout={key!r} ({one.network}): "
            f"choose another layout, such as {detect_layout(tensors)!r}, or 'auto', in init_cfg.layout."
        )
    root, network, renamed = found["root"], {}, {}
    several = any("bottleneck_pt1." in name for name in tensors)  # PASS's: one for each token
    for name, tensor in tensors.items():
        short = name.removeprefix("module.")
        if neck := re.fullmatch(r"bottleneck(?:_pt(\d))?\.(\w+)", short):
            place = f"necks.{neck[1] or 0}.bn" if several else "bn"
            renamed[f"neck.{place}.{neck[2]}"] = tensor
        elif name.startswith(root):
            network[name.removeprefix(root)] = tensor
        elif key != "clip":  # beside whose visual part there is one for texts
            renamed[short] = tensor
    network = one.rename(network) if one.rename else network
    return key, {f"backbone.{name}": tensor for name, tensor in network.items()} | renamed
