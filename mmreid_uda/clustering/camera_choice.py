"""Whether clusters follow cameras instead of subjects, and what to do about it; without any label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmreid_uda.utils.choices import CameraMode

__all__ = ["choose_camera", "one_camera_share"]


def one_camera_share(labels: np.ndarray, cameras: np.ndarray) -> tuple[float, float]:
    """Share of the clusters that hold one camera only, and what chance would give.

    Chance: images of the same clusters with the cameras dealt out anew, that is drawing without replacement.

    Args:
        labels: int64 (N,), -1 = outlier.
        cameras: int64 (N,), -1 = unknown; such images are left out.

    Returns:
        Two shares in 0..1 of the clusters with at least two images of known camera; (0, 0) where there are none.
    """
    known = (labels >= 0) & (cameras >= 0)
    labels, cameras = labels[known], np.unique(cameras[known], return_inverse=True)[1]
    sizes = np.bincount(labels)
    cells = np.unique(np.stack([labels, cameras]), axis=1)
    distinct = np.bincount(cells[0], minlength=len(sizes))
    several = sizes >= 2
    if not several.any():
        return 0.0, 0.0
    of_camera, num = np.bincount(cameras), len(cameras)
    chances = []
    for size in sizes[several]:
        drawn = np.arange(size)
        # All of a cluster's images from one camera: a falling product for each camera.
        chances.append(np.prod(np.maximum(of_camera[:, None] - drawn, 0) / (num - drawn), 1).sum())
    return float((distinct[several] == 1).mean()), float(np.mean(chances))


def choose_camera(
    label: Callable[[CameraMode], np.ndarray],
    cameras: np.ndarray,
    modes: tuple[CameraMode, ...] = ("none", "center", "jaccard", "both"),
) -> tuple[CameraMode, dict[str, float]]:
    """Choose what cameras are used for.

    Args:
        label: Clusters with a mode: labels int64 (N,), -1 = outlier.
        cameras: int64 (N,), -1 = unknown.
        modes: Those that the clusterer allows.

    Returns:
        The mode whose share of one-camera clusters is least above chance, the first of equals; and figures for the log.
    """
    excess, metrics = {}, {}
    for mode in modes:
        share, chance = one_camera_share(label(mode), cameras)
        excess[mode] = share - chance
        metrics[f"one_camera_share_{mode}"] = share
    return min(excess, key=excess.__getitem__), metrics
