"""Steps 2 to 6 of the Jaccard distance by compiled kernels; import it only if numba is there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from mmreid_uda.utils import over_rows

from . import graph_kernels as kernels
from .rank_lists import RankLists

__all__ = ["averaged_encodings", "pairs_within"]

# Below this overlap too many pairs share a column of which it could depend: all overlaps are summed then.
_LEAST_OVERLAP = 0.35
# What the columns that are not looked up may weigh, of the overlap that is needed; at 1 too many pairs are compared.
_SHARE_BEHIND = 0.8
# Relative error of a float32 sum for each of its terms, and of a second such sum.
_ROUNDING = 1.3e-7


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
    if lists.united:
        *sets, _, _ = _reciprocal_sets(lists.sets, 0)
        *others, _, _ = _reciprocal_sets(lists.others, 0)
        expanded = over_rows(kernels.unite_sets, num, *sets, *others)
    else:
        expanded = over_rows(
            kernels.expand_sets, num, *_reciprocal_sets(lists.sets, lists.others.shape[1])
        )
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
    the cache. Below a low limit only those pairs are compared that share one of the rare columns without which their
    overlap would be too small (prefix filtering: Chaudhuri et al., ICDE 2006). Either way the entries of a row keep
    their order, and so overlaps their last bit.

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
    limit = np.float32(max_distance)
    most = np.iinfo(np.int64).max if max_pairs is None else max_pairs
    stop = (limit, np.zeros(1, np.int64), most)
    needed = _needed_overlap(by_place, float(limit))
    rows = (by_place.indptr, by_place.indices, by_place.data)
    if needed < _LEAST_OVERLAP:
        by_column = by_place.tocsc()
        columns = (by_column.indptr, by_column.indices, by_column.data)
        found = over_rows(kernels.distances_within, num, *rows, *columns, *stop)
    else:
        prefixes = _prefixes(by_place, _SHARE_BEHIND * needed)
        found = over_rows(kernels.near_distances, num, *rows, *prefixes, needed, *stop)
    first = 0
    for partners, distances, counts in found:
        yield np.repeat(order[first : first + len(counts)], counts), order[partners], distances
        first += len(counts)


def _needed_overlap(encodings: sparse.csr_array, limit: float) -> float:
    """An overlap that every pair within the limit has, rounding of float32 sums included."""
    longest = int(np.diff(encodings.indptr).max(initial=0))
    return 2 * (1 - limit) / (2 - limit) - _ROUNDING * (8 + longest)


def _prefixes(encodings: sparse.csr_array, needed: float) -> tuple[np.ndarray, ...]:
    """What ``near_distances`` asks for: the chosen entries by row and by column, the weight of the others, the ends."""
    num = encodings.shape[0]
    order = np.argsort(np.bincount(encodings.indices, minlength=num), kind="stable")
    rank = np.empty(num, np.int32)
    rank[order] = np.arange(num, dtype=np.int32)
    kept, sizes = np.zeros(encodings.nnz, np.bool_), np.empty(num, np.int64)
    rest, ends = np.empty(num), np.empty(num, np.int32)
    arrays = (encodings.indptr, encodings.indices, encodings.data, rank)
    over_rows(kernels.choose_prefixes, num, *arrays, needed, kept, sizes, rest, ends)
    chosen = sparse.csr_array(
        (encodings.data[kept], encodings.indices[kept], _indptr(sizes)), shape=encodings.shape
    )
    columns = chosen.tocsc()
    by_row = (chosen.indptr, chosen.indices, chosen.data)
    return *by_row, columns.indptr, columns.indices, columns.data, rest, ends


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


def _reciprocal_sets(ranks: np.ndarray, half: int) -> tuple[np.ndarray, ...]:
    """Members int32 (N, k) and sizes int32 (N,) of the mutual neighbours among int32 (N, k), and among the first."""
    ranks = np.ascontiguousarray(ranks)
    members, halves = np.empty_like(ranks), np.empty((len(ranks), half), np.int32)
    sizes, half_sizes = np.empty((2, len(ranks)), np.int32)
    found = (members, sizes, halves, half_sizes)
    over_rows(kernels.reciprocal_sets, len(ranks), ranks, half, *found)
    return found


def _indptr(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])
