"""Steps 2 to 6 of the Jaccard distance by compiled kernels; import it only if numba is there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from mmreid_uda.utils import over_rows

from . import graph_kernels as kernels
from .rank_lists import RankLists

__all__ = ["averaged_encodings", "pairs_within"]


def averaged_encodings(
    features: np.ndarray, lists: RankLists, farthest: np.ndarray | None
) -> sparse.csr_array:
    """Steps 2 to 5, as ``averaged_encodings`` of :mod:`.jaccard_scipy`.

    Args:
        features: float32 (N, D), rows of unit norm.
        lists: Of these features.
        farthest: float32 (N,), by which distances are divided; None leaves them as they are.

    Returns:
        float32 (N, N), sorted indices.
    """
    num = len(features)
    join = kernels.unite_sets if lists.united else kernels.expand_sets
    expanded = over_rows(join, num, *_reciprocal_sets(lists.sets), *_reciprocal_sets(lists.others))
    columns, counts = (np.concatenate(part) for part in zip(*expanded))
    indptr = _indptr(counts)
    scale = np.empty(0, np.float32) if farthest is None else farthest
    weights = np.empty(len(columns), np.float32)
    over_rows(
        kernels.weigh_sets,
        num,
        indptr,
        columns,
        features,
        np.ascontiguousarray(lists.known.indices),
        lists.known.similarities,
        scale,
        weights,
    )
    if lists.averaged.shape[1] > 1:
        ranks = np.ascontiguousarray(lists.averaged)
        averaged = over_rows(kernels.average_encodings, num, ranks, indptr, columns, weights)
        columns, weights, counts = (np.concatenate(part) for part in zip(*averaged))
        indptr = _indptr(counts)
    matrix = sparse.csr_array((weights, columns, indptr), shape=(num, num))
    matrix.has_canonical_format = True
    return matrix


def pairs_within(
    encodings: sparse.csr_array, max_distance: float, max_pairs: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Step 6, as ``pairs_within`` of :mod:`.jaccard_scipy`; stops soon after ``max_pairs`` are found.

    Images are renumbered so that neighbours stand together, without which every overlap of a large set is a miss of
    the cache. The entries of a row keep their order, and so overlaps their last bit.

    Args:
        encodings: float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
        max_distance: Largest distance that is given.
        max_pairs: Pairs after which to stop; None gives all.

    Yields:
        Rows, columns and distances of some pairs at a time, each pair once: int (P,), int (P,), float32 (P,).
    """
    num = encodings.shape[0]
    order = kernels.bfs_order(encodings.indptr, encodings.indices)
    by_place = _renumbered(encodings, order)
    by_column = by_place.tocsc()
    found = over_rows(
        kernels.distances_within,
        num,
        by_place.indptr,
        by_place.indices,
        by_place.data,
        by_column.indptr,
        by_column.indices,
        by_column.data,
        np.float32(max_distance),
        np.zeros(1, np.int64),
        np.iinfo(np.int64).max if max_pairs is None else max_pairs,
    )
    first = 0
    for partners, distances, counts in found:
        yield np.repeat(order[first : first + len(counts)], counts), order[partners], distances
        first += len(counts)


def _renumbered(encodings: sparse.csr_array, order: np.ndarray) -> sparse.csr_array:
    """The square matrix with row and column ``order[i]`` in place i; entries of a row in the order they had."""
    place_of = np.empty_like(order)
    place_of[order] = np.arange(len(order), dtype=order.dtype)
    indptr, columns, weights = encodings.indptr, encodings.indices, encodings.data
    new_indptr = _indptr(np.diff(indptr)[order])
    new_columns, new_weights = np.empty_like(columns), np.empty_like(weights)
    over_rows(
        kernels.renumber,
        len(order),
        *(order, place_of, indptr, columns, weights, new_indptr, new_columns, new_weights),
    )
    return sparse.csr_array((new_weights, new_columns, new_indptr), shape=encodings.shape)


def _reciprocal_sets(ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Members int32 (N, k) and sizes int32 (N,) of the mutual neighbours among int32 (N, k)."""
    ranks = np.ascontiguousarray(ranks)
    members, sizes = np.empty_like(ranks), np.empty(len(ranks), np.int32)
    over_rows(kernels.reciprocal_sets, len(ranks), ranks, members, sizes)
    return members, sizes


def _indptr(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])
