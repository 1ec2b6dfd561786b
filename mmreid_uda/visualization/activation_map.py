"""Where in a crop a network is active: the energy of its last map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mmreid_uda.utils import InputError, check_vectors

from .tiles import GRAY, framed, row_of, stacked

__all__ = ["activation_energy", "draw_activation_maps"]


@torch.no_grad()
def activation_energy(encoder: nn.Module, inputs: Tensor) -> np.ndarray:
    """Sum the squares of the last map over its channels.

    The last map is the last four-dimensional output of a part of the encoder that has more than one position; of an
    encoder with several branches that of the last one. Source: Zagoruyko & Komodakis, "Paying more attention to
    attention", ICLR 2017, with p = 2.

    Args:
        encoder: An encoder, in evaluation mode.
        inputs: float (B, 3, H, W), normalised.

    Returns:
        float32 (B, h, w), each map scaled to 0..1; a constant map is 0.

    Raises:
        InputError: If no part gives a map, as in a transformer, or it is not finite.
    """
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
            f"found no map (B, C, H, W) in {type(encoder).__name__}, expected a convolutional backbone: activation "
            "maps cannot be drawn for this config."
        )
    energy = maps[0].float().square().sum(1)
    check_vectors(energy.flatten(1), "activation maps", zeros=True)
    low, high = energy.amin((1, 2), keepdim=True), energy.amax((1, 2), keepdim=True)
    return ((energy - low) / (high - low).clamp(min=1e-12)).cpu().numpy()


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
