"""Centers of clusters, and the two looks that each of them may have; all clusters at once, memory as the features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

__all__ = ["Looks", "first_of_each", "similarities_to_centers", "sums_of", "two_looks", "unit_rows"]

# Rows whose features are copied together.
_ROWS_AT_ONCE = 1 << 14
# Rounds in which images go to the nearer of two centers.
_ROUNDS = 4


@dataclass(frozen=True)
class Looks:
    """Images of K clusters, parted in two each.

    Args:
        half: int64 (M,), ``2·k`` or ``2·k + 1`` for an image of cluster ``k``.
        sums: float32 (2K, D), of the features of each half; zero for an empty one.
        similarity: float32 (M,), cosine of each image to the center of its half.
    """

    half: np.ndarray
    sums: np.ndarray
    similarity: np.ndarray


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Bring rows to unit norm.

    Args:
        rows: float (N, D).

    Returns:
        float32 (N, D), zero rows as they are.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float32)


def sums_of(features: np.ndarray, images: np.ndarray, number: np.ndarray, num: int) -> np.ndarray:
    """Add features up.

    Args:
        features: float32 (N, D).
        images: int64 (M,), positions, each once.
        number: int64 (M,), the sum that each goes into.
        num: K.

    Returns:
        float32 (K, D).
    """
    ones = np.ones(len(images), np.float32)
    return sparse.csr_array((ones, (number, images)), shape=(num, len(features))) @ features


def similarities_to_centers(
    features: np.ndarray, images: np.ndarray, centers: np.ndarray, number: np.ndarray
) -> np.ndarray:
    """Cosine of images and the centers they are asked about.

    Args:
        features: float32 (N, D), unit rows.
        images: int64 (M,), positions.
        centers: float32 (K, D), unit rows.
        number: int64 (M,), the center of each image.

    Returns:
        float32 (M,).
    """
    found = np.empty(len(images), np.float32)
    for start in range(0, len(images), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        found[part] = np.einsum("nd,nd->n", features[images[part]], centers[number[part]])
    return found


def first_of_each(values: np.ndarray, number: np.ndarray, num: int) -> np.ndarray:
    """Where the smallest value of each number stands.

    Args:
        values: float (M,).
        number: int64 (M,), all of ``0..num-1`` among them.
        num: K.

    Returns:
        int64 (K,); of equal values the first.
    """
    order = np.lexsort((np.arange(len(values)), values, number))
    return order[np.searchsorted(number[order], np.arange(num))]


def two_looks(
    features: np.ndarray, images: np.ndarray, number: np.ndarray, similarity: np.ndarray
) -> Looks:
    """2-means in every cluster, from the image farthest from the center and the one farthest from that.

    Args:
        features: float32 (N, D), unit rows.
        images: int64 (M,), of all clusters.
        number: int64 (M,), their clusters ``0..K-1``, without gaps.
        similarity: float32 (M,), cosine to the center.

    Returns:
        The halves.
    """
    num = int(number.max(initial=-1)) + 1
    if not num:
        return Looks(number, np.zeros((0, features.shape[1]), np.float32), similarity)
    one = features[images[first_of_each(similarity, number, num)]]
    to_one = similarities_to_centers(features, images, one, number)
    other = features[images[first_of_each(to_one, number, num)]]
    for _ in range(_ROUNDS):
        to_other = similarities_to_centers(features, images, other, number)
        half = 2 * number + (to_other > to_one)
        sums = sums_of(features, images, half, 2 * num)
        one, other = unit_rows(sums[::2]), unit_rows(sums[1::2])
        to_one = similarities_to_centers(features, images, one, number)
    centers = np.stack([one, other], axis=1).reshape(2 * num, -1)
    return Looks(half, sums, similarities_to_centers(features, images, centers, half))
