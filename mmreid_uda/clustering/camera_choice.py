"""Whether clusters follow cameras instead of subjects, and what to do about it; without any label."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import CAMERA_MODES, CameraMode

__all__ = ["across_cameras", "choose_camera", "one_camera_share"]

# A share of one-camera clusters that is no farther above chance is no sign of anything.
_CLEARLY_ABOVE = 0.1
# Camera-aware distances join images of two cameras whether or not these show the same subject: what they find across
# cameras counts for less. Measured, see docs/clustering.md.
_TRUST = {"jaccard": 0.7, "both": 0.7}


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
    of_cluster = _counts(labels[known], cameras[known])
    sizes = of_cluster.sum(1)
    several = sizes >= 2
    if not several.any():
        return 0.0, 0.0
    of_camera, num = of_cluster.sum(0), len(labels[known])
    chance = 0.0
    for size, times in zip(*np.unique(sizes[several], return_counts=True)):
        drawn = np.arange(size)
        # All of a cluster's images from one camera: a falling product for each camera.
        of_one = np.prod(np.maximum(of_camera[:, None] - drawn, 0) / (num - drawn), axis=1).sum()
        chance += float(times * of_one)
    share = (of_cluster[several] == sizes[several, None]).any(1).mean()
    return float(share), chance / int(several.sum())


def across_cameras(labels: np.ndarray, cameras: np.ndarray) -> float:
    """How much clusters say across cameras: high where many clusters hold several of them.

    ``share · entropy``: the share of all images whose cluster holds more than one camera, and the entropy of the
    labels, ``-Σ w·log w`` over the clusters with their shares w of all images. Outliers lower both, clusters of one
    camera the first, and clusters that swallow others the second.

    Args:
        labels: int64 (N,), -1 = outlier.
        cameras: int64 (N,), -1 = unknown; such images are left out.

    Returns:
        At least 0; 0 where no cluster holds two cameras.
    """
    known = cameras >= 0
    inlier = known & (labels >= 0)
    if not inlier.any():
        return 0.0
    of_cluster = _counts(labels[inlier], cameras[inlier])
    weights = of_cluster.sum(1) / int(known.sum())
    share = weights[(of_cluster > 0).sum(1) > 1].sum()
    return float(share * -(weights * np.log(weights)).sum())


def choose_camera(
    label: Callable[[CameraMode], np.ndarray],
    cameras: np.ndarray,
    modes: Sequence[CameraMode] = CAMERA_MODES,
) -> tuple[CameraMode, dict[str, float]]:
    """Choose what cameras are used for, without any label.

    Where the share of one-camera clusters is what chance gives, cameras do not matter and are left alone. Else the mode
    with most to say across cameras is taken, :func:`across_cameras`, where that of camera-aware distances counts for
    0.7 of itself. Of equals the first is taken.

    Args:
        label: Clusters with a mode: labels int64 (N,), -1 = outlier.
        cameras: int64 (N,), -1 = unknown.
        modes: Those that the clusterer allows, ``'none'`` first.

    Returns:
        The mode; and for the log ``one_camera_share`` and ``one_camera_chance`` without cameras, and where modes were
        compared, ``across_cameras_none`` and so on. A mode for which there are too few images is left out.
    """
    plain = label("none")
    share, chance = one_camera_share(plain, cameras)
    metrics = dict(one_camera_share=share, one_camera_chance=chance)
    if share <= chance + _CLEARLY_ABOVE:
        return "none", metrics
    scores: dict[CameraMode, float] = {}
    for mode in modes:
        try:
            labels = plain if mode == "none" else label(mode)
        except InputError:
            if mode == "none":
                raise
            continue
        scores[mode] = across_cameras(labels, cameras) * _TRUST.get(mode, 1.0)
        metrics[f"across_cameras_{mode}"] = scores[mode]
    return max(scores, key=scores.__getitem__), metrics


def _counts(labels: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Images of each cluster in each camera, int64 (clusters with images, cameras)."""
    clusters, rows = np.unique(labels, return_inverse=True)
    numbers, columns = np.unique(cameras, return_inverse=True)
    cells = np.bincount(rows * len(numbers) + columns, minlength=len(clusters) * len(numbers))
    return cells.reshape(len(clusters), len(numbers))
