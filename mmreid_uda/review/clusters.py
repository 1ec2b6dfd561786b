"""Which clusters look wrong, and why: a table with the worst first; arrays only."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from mmreid_uda.neighbors.knn import find_neighbors
from mmreid_uda.structures import Evidence

from .looks import Looks, similarities_to_centers, sums_of, two_looks, unit_rows

__all__ = ["ClusterTable", "cluster_table"]

# Where a figure is worth a sentence.
_WIDE, _TWO_MODES, _ONE_CAMERA = 1.5, 0.3, 0.5


@dataclass(frozen=True)
class ClusterTable:
    """Figures of K clusters, the worst first.

    Args:
        labels: int64 (K,), of the clusters.
        sizes: int64 (K,), images.
        num_cameras: int64 (K,), known cameras.
        spread: float32 (K,), mean of 1 - cosine of the images to the center, 0..2.
        modes: float32 (K,), how far the images come in two looks, 0..1: of the spread that two centers take away, what
            is more than among images that are all equally far from each other. 0 for two images.
        mode_sizes: int64 (K, 2), images of the larger and the smaller look.
        one_camera: float32 (K,), 0..1: 0 where there are several cameras, else how unlikely that is for as many
            tracklets (or images without one) drawn from all clusters.
        violated: int64 (K,), links that are not obeyed: cannot-links inside, must-links that lead out.
        badness: float32 (K,). The mean of three signs: the rank of the spread among all clusters (0..1), ``modes`` and
            ``one_camera``. A violated link is more than a sign: with ``v`` of them ``1 + v / (1 + v)`` is added.
        reasons: K lists of sentences, empty where nothing stands out.
        nearest: int64 (K, k), labels of the nearest other clusters by the cosine of the centers, the nearest first.
        nearest_similarity: float32 (K, k).
        cover: K arrays of up to six images, int64, from the nearest to the center to the farthest.
    """

    labels: np.ndarray
    sizes: np.ndarray
    num_cameras: np.ndarray
    spread: np.ndarray
    modes: np.ndarray
    mode_sizes: np.ndarray
    one_camera: np.ndarray
    violated: np.ndarray
    badness: np.ndarray
    reasons: list[list[str]]
    nearest: np.ndarray
    nearest_similarity: np.ndarray
    cover: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)


def cluster_table(
    features: np.ndarray, labels: np.ndarray, evidence: Evidence, num_nearest: int = 6
) -> ClusterTable:
    """Look at all clusters.

    Memory grows with images and clusters, never with pairs of either: N·D for the features, K·D for the centers.

    Args:
        features: float32 (N, D), unit rows.
        labels: int64 (N,), -1 = outlier.
        evidence: Of the images, with the links as they are.
        num_nearest: Other clusters to name for each.

    Returns:
        The table.
    """
    inlier = np.flatnonzero(labels >= 0)
    numbers, number = np.unique(labels[inlier], return_inverse=True)
    num = len(numbers)
    sizes = np.bincount(number, minlength=num)
    sums = sums_of(features, inlier, number, num)
    centers = unit_rows(sums)
    similarity = similarities_to_centers(features, inlier, centers, number)
    spread = np.bincount(number, 1 - similarity, num) / np.maximum(sizes, 1)
    modes, mode_sizes = _modes(sums, sizes, two_looks(features, inlier, number, similarity))
    num_cameras, one_camera = _cameras(evidence, inlier, number, num)
    violated = _violated(evidence, labels, numbers)
    ranks = np.argsort(np.argsort(spread, kind="stable"), kind="stable") / max(num - 1, 1)
    badness = (ranks + modes + one_camera) / 3
    badness += np.where(violated > 0, 1 + violated / (1 + violated), 0)
    usual = float(np.median(spread)) if num else 0.0
    reasons = [
        _reasons(size, float(spread[place]), float(modes[place]), mode_sizes[place].tolist(),
                 float(one_camera[place]), int(violated[place]), usual)
        for place, size in enumerate(sizes.tolist())
    ]  # fmt: skip
    k = min(num_nearest, max(num - 1, 0))
    nearest, near = np.zeros((num, 0), np.int64), np.zeros((num, 0), np.float32)
    if k:
        found = find_neighbors(torch.from_numpy(centers), k + 1)
        assert found is not None
        nearest, near = found.indices[:, 1:], found.similarities[:, 1:]
    cover = _covers(number, similarity, inlier, num)
    order = np.lexsort((numbers, -badness))
    return ClusterTable(
        numbers[order],
        sizes[order],
        num_cameras[order],
        spread[order].astype(np.float32),
        modes[order].astype(np.float32),
        mode_sizes[order],
        one_camera[order].astype(np.float32),
        violated[order],
        badness[order].astype(np.float32),
        [reasons[place] for place in order.tolist()],
        numbers[nearest[order]],
        near[order],
        [cover[place] for place in order.tolist()],
    )


def _modes(sums: np.ndarray, sizes: np.ndarray, looks: Looks) -> tuple[np.ndarray, np.ndarray]:
    """How much two centers explain beyond chance, float64 (K,); and the images of each, the larger first."""
    num = len(sizes)
    of_half = np.bincount(looks.half, minlength=2 * num).reshape(num, 2)
    # Sums of squares about the centers: of unit rows n - |sum|²/n.
    total = sizes - (sums.astype(np.float64) ** 2).sum(1) / np.maximum(sizes, 1)
    squares = (looks.sums.astype(np.float64) ** 2).sum(1).reshape(num, 2)
    within = (of_half - squares / np.maximum(of_half, 1)).sum(1)
    explained = 1 - within / np.maximum(total, 1e-9)
    # Of n rows that are equally far from each other any two halves explain 1/(n-1).
    chance = 1 / np.maximum(sizes - 1, 1)
    beyond = (explained - chance) / np.maximum(1 - chance, 1e-9)
    told = (sizes > 2) & (total > 1e-6 * sizes) & (of_half.min(1) > 0)
    return np.where(told, np.clip(beyond, 0, 1), 0.0), np.sort(of_half, axis=1)[:, ::-1]


def _cameras(
    evidence: Evidence, images: np.ndarray, number: np.ndarray, num: int
) -> tuple[np.ndarray, np.ndarray]:
    """Known cameras of each cluster, int64 (K,); and how unlikely it is that there is one only, float64 (K,)."""
    cameras, tracklets = evidence.cameras[images], evidence.tracklets[images]
    # A tracklet is of one camera: its images count once.
    units = np.where(tracklets >= 0, tracklets, tracklets.max(initial=-1) + 1 + images)
    known = cameras >= 0
    rows = np.unique(np.stack([number[known], units[known], cameras[known]]), axis=1)
    cells = np.unique(rows[[0, 2]], axis=1)
    found = np.bincount(cells[0], minlength=num)
    drawn = np.bincount(rows[0], minlength=num)
    shares = np.bincount(rows[2]) / max(rows.shape[1], 1)
    of_one = (shares[None, :] ** np.maximum(drawn, 1)[:, None]).sum(1)
    return found, np.where((found == 1) & (drawn > 1), 1 - of_one, 0.0)


def _violated(evidence: Evidence, labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Links that each cluster does not obey, int64 (K,)."""
    links = evidence.links
    links = links.chosen(~(evidence.ignored[links.first] | evidence.ignored[links.second]))
    one, other = labels[links.first], labels[links.second]
    together = (one == other) & (one >= 0)
    inside = one[~links.must & together]
    out = np.concatenate([one[links.must & ~together], other[links.must & ~together]])
    of_cluster = np.concatenate([inside, out[out >= 0]])
    return np.bincount(np.searchsorted(numbers, of_cluster), minlength=len(numbers))


def _reasons(
    size: int,
    spread: float,
    modes: float,
    mode_sizes: list[int],
    one_camera: float,
    violated: int,
    usual: float,
) -> list[str]:
    """What stands out, in words."""
    words = []
    if violated:
        words.append(f"{violated} {'link is' if violated == 1 else 'links are'} not obeyed yet")
    if modes >= _TWO_MODES:
        large, small = mode_sizes
        words.append(
            f"one image unlike the other {large}"
            if small == 1
            else f"perhaps two subjects, of {large} and {small} images"
        )
    if one_camera >= _ONE_CAMERA:
        words.append("one camera only, where several were to be expected")
    if size > 1 and spread > _WIDE * usual and usual > 0:
        words.append(f"images differ {spread / usual:.1f} times as much as usual")
    return words


def _covers(
    number: np.ndarray, similarity: np.ndarray, images: np.ndarray, num: int, most: int = 6
) -> list[np.ndarray]:
    """Images of each cluster, from the nearest to the center to the farthest."""
    order = np.lexsort((images, -similarity, number))
    bounds = np.searchsorted(number[order], np.arange(num + 1))
    covers = []
    for begin, end in itertools.pairwise(bounds.tolist()):
        places = np.linspace(begin, end - 1, min(most, end - begin)).round().astype(np.int64)
        covers.append(images[order[places]])
    return covers
