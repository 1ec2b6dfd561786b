"""Where in a crop a network is active: the energy of its last map, or what a transformer attends to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mmreid_uda.models.backbones import TimmBackbone
from mmreid_uda.utils import InputError, check_vectors

from .tiles import GRAY, framed, row_of, stacked

__all__ = ["activation_energy", "attention_rollout", "draw_activation_maps"]


@torch.no_grad()
def activation_energy(encoder: nn.Module, inputs: Tensor) -> np.ndarray:
    """Say where an encoder is active: the energy of its last map, of a transformer that gives tokens its attention.

    The energy is the sum of the squares of the last map over its channels. The last map is the last four-dimensional
    output of a part of the encoder that has more than one position; of an encoder with several branches that of the
    last one. Source: Zagoruyko & Komodakis, "Paying more attention to attention", ICLR 2017, with p = 2. For attention
    see :func:`attention_rollout`.

    Args:
        encoder: An encoder, in evaluation mode.
        inputs: float (B, 3, H, W), normalised.

    Returns:
        float32 (B, h, w), each map scaled to 0..1; a constant map is 0.

    Raises:
        InputError: If no part gives a map, or it is not finite.
    """
    transformer = _of_tokens(encoder)
    if transformer is not None:
        energy = attention_rollout(encoder, transformer, inputs)
    else:
        energy = _last_map(encoder, inputs).float().square().sum(1)
    check_vectors(energy.flatten(1), "activation maps", zeros=True)
    low, high = energy.amin((1, 2), keepdim=True), energy.amax((1, 2), keepdim=True)
    return ((energy - low) / (high - low).clamp(min=1e-12)).cpu().numpy()


def _of_tokens(encoder: nn.Module) -> TimmBackbone | None:
    """The encoder's transformer, if tokens of it are the feature, and no map."""
    for part in encoder.modules():
        if isinstance(part, TimmBackbone) and part.grid is not None and part.output != "map":
            return part
    return None


def attention_rollout(encoder: nn.Module, transformer: TimmBackbone, inputs: Tensor) -> Tensor:
    """How much of each patch is in the feature, by the attention of all blocks.

    Each block passes on half of a token as it is, and half by its attention, the mean over heads:
    ``R <- (A + I) / 2 · R``, from ``R = I``. Of R it is the row of the class token, with the part tokens' if they are
    in the feature, or the mean over patches if these are; the columns are the patches. Source: Abnar & Zuidema,
    "Quantifying attention flow in transformers", ACL 2020.

    Args:
        encoder: An encoder, in evaluation mode.
        transformer: Its backbone.
        inputs: float (B, 3, H, W), normalised.

    Returns:
        float32 (B, h, w), >= 0.

    Raises:
        InputError: If its blocks have no attention that can be read.
    """
    # Both names are those of timm's attention, which otherwise computes in one fused step.
    layers = [part for part in transformer.modules() if hasattr(part, "fused_attn")]
    fused = [layer.fused_attn for layer in layers]
    attentions: list[Tensor] = []
    handles = []
    try:
        for layer in layers:
            layer.fused_attn = False
            handles.append(
                layer.attn_drop.register_forward_hook(
                    lambda module, args, out: attentions.append(out.float().mean(1))
                )
            )
        encoder(inputs)
    finally:
        for handle in handles:
            handle.remove()
        for layer, value in zip(layers, fused):
            layer.fused_attn = value
    size = int(transformer.num_prefix or 0) + math.prod(transformer.grid or ())
    if not attentions or any(one.shape[-2:] != (size, size) for one in attentions):
        raise InputError(
            f"found no attention of {size} tokens to each other in the blocks of {transformer.name}: activation maps "
            "cannot be drawn for this config; set encoder.backbone.output='map' to draw those of its patches."
        )
    rollout = torch.eye(size, device=attentions[0].device)
    for attention in attentions:
        rollout = (attention @ rollout + rollout) / 2
    first = transformer.num_prefix or 0
    rows = slice(first, None) if transformer.output == "mean" else slice(0, 1)
    if transformer.output.startswith("parts"):
        rows = slice(0, first)
    return rollout[:, rows, first:].mean(1).unflatten(1, transformer.grid)


def _last_map(encoder: nn.Module, inputs: Tensor) -> Tensor:
    maps: list[Tensor] = []

    def note(module: nn.Module, args: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.dim() == 4 and out.shape[2] * out.shape[3] > 1:
            maps[:] = [out]

    handles = [part.register_forward_hook(note) for part in encoder.modules()]
    try:
        encoder(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not maps:
        raise InputError(
            f"found no map (B, C, H, W) in {type(encoder).__name__}, expected a convolutional backbone, or a "
            "TimmBackbone: activation maps cannot be drawn for this config."
        )
    return maps[0]


def draw_activation_maps(
    images: Sequence[np.ndarray],
    energy: np.ndarray,
    size: tuple[int, int] = (192, 96),
    columns: int = 4,
) -> np.ndarray:
    """Draw each crop beside the same crop under its energy, blue = 0, red = 1.

    Args:
        images: B crops, uint8 (H, W, 3), BGR, of any size.
        energy: float32 (B, h, w) in 0..1.
        size: Height and width of a drawn crop in pixels.
        columns: Pairs per row.

    Returns:
        A BGR picture, uint8 (H, W, 3).

    Raises:
        InputError: There is no crop.
    """
    if not len(images):
        raise InputError("found 0 images to draw, expected at least 1; set --num.")
    pairs = []
    for image, heat in zip(images, energy):
        heat = cv2.resize(heat, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        colors = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_JET)
        crop = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
        overlay = cv2.addWeighted(crop, 0.5, colors, 0.5, 0)
        pairs.append([framed(one, size, GRAY) for one in (crop, overlay)])
    rows = [pairs[start : start + columns] for start in range(0, len(pairs), columns)]
    return stacked([row_of(row) for row in rows])
