"""The steps that the papers' dense Jaccard code has in common, loops and all: the references of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["average_encodings", "distances_from_lists", "expanded_set", "reciprocal_neighbors"]


def reciprocal_neighbors(ranks: np.ndarray, image: int, k: int) -> np.ndarray:
    """The first neighbours of an image that have it among their own first.

    Args:
        ranks: int (N, at least k + 1, or all there are).
        image: Row.
        k: Neighbours that count, beside the image itself.

    Returns:
        int (M,), in the order of the ranks.
    """
    forward = ranks[image, : k + 1]
    backward = ranks[forward, : k + 1]
    return forward[np.where(backward == image)[0]]


def expanded_set(members: np.ndarray, half_set: Callable[[int], np.ndarray]) -> np.ndarray:
    """A k-reciprocal set with the half sets of members that share more than two thirds of theirs.

    Args:
        members: int (M,), the set.
        half_set: Gives the set of k/2 neighbours of an image.

    Returns:
        int (at least M,), ascending.
    """
    expanded = members
    for candidate in members:
        half = half_set(candidate)
        if len(np.intersect1d(half, members)) > 2 / 3 * len(half):
            expanded = np.append(expanded, half)
    return np.unique(expanded)


def average_encodings(encodings: np.ndarray, ranks: np.ndarray, k2: int) -> np.ndarray:
    """Local query expansion: the mean over the encodings of the first neighbours, float32 (N, N)."""
    averaged = np.zeros_like(encodings)
    for i in range(len(encodings)):
        averaged[i, :] = np.mean(encodings[ranks[i, :k2], :], axis=0)
    return averaged


def distances_from_lists(encodings: np.ndarray, num_rows: int) -> np.ndarray:
    """Jaccard distances of the first rows to all, from the inverted lists of the columns.

    Args:
        encodings: float32 (N, N).
        num_rows: R.

    Returns:
        float32 (R, N).
    """
    num = len(encodings)
    lists = [np.where(encodings[:, column] != 0)[0] for column in range(num)]
    distances = np.zeros((num_rows, num), dtype=np.float32)
    for i in range(num_rows):
        overlap = np.zeros((1, num), dtype=np.float32)
        columns = np.where(encodings[i, :] != 0)[0]
        images = [lists[column] for column in columns]
        for place in range(len(columns)):
            overlap[0, images[place]] = overlap[0, images[place]] + np.minimum(
                encodings[i, columns[place]], encodings[images[place], columns[place]]
            )
        distances[i] = 1 - overlap / (2 - overlap)
    return distances
