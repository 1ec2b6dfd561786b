"""How far pairs of one person, and of two, are apart within a camera and across cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Le

from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.values import checked

from .picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PAIRS", "camera_histograms", "draw_camera_distances"]

_MOST_BINS = 10_000

PAIRS = (
    "same camera, same person",
    "same camera, two people",
    "two cameras, same person",
    "two cameras, two people",
)
"""Kinds of pairs, in the order of the rows of :func:`camera_histograms`."""


@checked
def camera_histograms(
    features: np.ndarray,
    pids: np.ndarray,
    camids: np.ndarray,
    bins: Annotated[int, Ge(1), Le(_MOST_BINS)] = 100,
    block_size: int = 1024,
) -> np.ndarray:
    """Count all pairs of images by kind and cosine distance, a block of pairs at a time.

    Args:
        features: float32 (N, D), unit rows.
        pids: int (N,), negative = unknown; such images are left out.
        camids: int (N,), negative = unknown; such images are left out, as nobody knows whose pairs they are.
        bins: Equal intervals of the distance ``1 - cos`` between 0 and 2.
        block_size: Rows and columns of a block.

    Returns:
        int64 (4, bins), rows as :data:`PAIRS`; the sum is the number of unordered pairs.

    Raises:
        InputError: Too few bins or more than anyone sees, or features that are not finite.
    """
    known = (pids >= 0) & (camids >= 0)
    if not known.any():
        return np.zeros((4, bins), np.int64)
    rows = torch.from_numpy(check_vectors(features[known], "features"))
    identity, camera = torch.from_numpy(pids[known]), torch.from_numpy(camids[known])
    counts = torch.zeros(4 * bins, dtype=torch.int64)
    starts = range(0, len(rows), block_size)
    for top in starts:
        one = slice(top, top + block_size)
        for left in starts[top // block_size :]:
            other = slice(left, left + block_size)
            distances = 1 - rows[one] @ rows[other].T
            places = (distances * (bins / 2)).long().clamp_(0, bins - 1)
            kinds = 2 * (camera[one, None] != camera[other]) + (
                identity[one, None] != identity[other]
            )
            cells = kinds * bins + places
            pairs = (
                cells[torch.ones_like(cells, dtype=torch.bool).triu_(1)] if top == left else cells
            )
            counts += torch.bincount(pairs.flatten(), minlength=4 * bins)
    return counts.view(4, bins).numpy()


def draw_camera_distances(histograms: np.ndarray, title: str = "") -> Figure:
    """Draw the densities of the four kinds of pairs: one panel within cameras, one across.

    Args:
        histograms: int64 (4, bins) of :func:`camera_histograms`.
        title: Above the picture.

    Returns:
        The figure; the legend has the number and the mean distance of each kind.

    Raises:
        InputError: If there is no pair at all.
    """
    if not histograms.any():
        raise InputError(
            "found no pair of images with known identities and cameras, expected labelled images: take a dataset with "
            "both."
        )
    edges = np.linspace(0, 2, histograms.shape[1] + 1)
    middles, width = (edges[:-1] + edges[1:]) / 2, edges[1]
    figure, panels = new_figure(2, 1, (6.4, 5.2), sharex=True)
    for number, (kind, counts) in enumerate(zip(PAIRS, histograms)):
        panel = panels[number // 2, 0]
        place, _, who = kind.partition(", ")
        panel.set(title=place, ylabel="density")
        if not counts.any():
            continue
        color = ("tab:green", "tab:red")[number % 2]
        label = f"{who}: {counts.sum()} pairs, mean {(counts @ middles) / counts.sum():.2f}"
        panel.stairs(
            counts / counts.sum() / width, edges, fill=True, alpha=0.4, color=color, label=label
        )
        panel.legend(fontsize="small", loc="upper right")
    for panel in panels.flat:
        panel.set_ylim(0, 1.3 * panel.get_ylim()[1])  # room for the legend
    filled = np.flatnonzero(histograms.any(0))
    panels[1, 0].set(xlabel="1 - cos", xlim=(edges[filled[0]], edges[filled[-1] + 1]))
    if title:
        figure.suptitle(title)
    return figure
