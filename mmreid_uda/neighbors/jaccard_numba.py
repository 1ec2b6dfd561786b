"""Steps 2 to 6 of the Jaccard distance by compiled kernels; import it only if numba is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from scipy import sparse

from mmreid_uda.utils import in_threads, num_threads, over_rows
from mmreid_uda.utils.row_shares import ALONE, RowShares

from . import graph_kernels as kernels
from . import pair_kernels
from .rank_lists import RankLists, too_many_pairs

__all__ = ["averaged_encodings", "pairs_within", "symmetric_graph"]

# Below this overlap too many pairs share a column of which it could depend: all overlaps are summed then.
_LEAST_OVERLAP = 0.35
# What the columns that are not looked up may weigh, of the overlap that is needed; at 1 too many pairs are compared.
_SHARE_BEHIND = 0.8
# Relative error of a float32 sum for each of its terms, and of a second such sum.
_ROUNDING = 1.3e-7
# Ranges of rows for each thread, so that one with light rows takes the next.
_RANGES = 8


def averaged_encodings(
    features: np.ndarray,
    lists: RankLists,
    farthest: np.ndarray | None,
    shares: RowShares = ALONE,
) -> sparse.csr_array:
    """Steps 2 to 5, as ``averaged_encodings`` of :mod:`.jaccard_scipy`.

    Args:
        features: float32 (N, D), rows of unit norm.
        lists: Of these features.
        farthest: float32 (N,), by which distances are divided; None leaves them as they are.
        shares: Who encodes which rows; all of them get all encodings.

    Returns:
        float32 (N, N), sorted indices.
    """
    num = len(features)
    columns, weights, counts = _encoded_sets(features, lists, farthest, shares)
    if lists.averaged.shape[1] > 1:
        ranks, indptr = np.ascontiguousarray(lists.averaged), _indptr(counts)
        average = (kernels.average_encodings, shares.own(num), ranks, indptr, columns, weights)
        columns, weights, counts = shares.joined(lambda: _concatenated(_over(*average)))
    matrix = sparse.csr_array((weights, columns, _indptr(counts)), shape=(num, num))
    matrix.has_canonical_format = True
    return matrix


def _encoded_sets(
    features: np.ndarray, lists: RankLists, farthest: np.ndarray | None, shares: RowShares
) -> list[np.ndarray]:
    """Steps 2 to 4: columns int32 (nnz,) and weights float32 (nnz,) of all rows, and entries int64 (N,) of each."""
    num = len(features)
    first, last = rows = shares.own(num)
    if lists.united:
        sets = (
            *_reciprocal_sets(lists.sets, 0, shares)[:2],
            *_reciprocal_sets(lists.others, 0, shares)[:2],
        )
    else:
        sets = _reciprocal_sets(lists.sets, lists.others.shape[1], shares)
    known, scale = lists.known, np.empty(0, np.float32) if farthest is None else farthest

    def weigh() -> list[np.ndarray]:
        join = kernels.unite_sets if lists.united else kernels.expand_sets
        columns, counts = _concatenated(_over(join, rows, *sets))
        weights = np.empty(len(columns), np.float32)
        indptr = np.zeros(num + 1, np.int64)
        np.cumsum(counts, out=indptr[first + 1 : last + 1])
        found = (np.ascontiguousarray(known.indices), known.similarities)
        _over(kernels.weigh_sets, rows, indptr, columns, features, *found, scale, weights)
        return [columns, weights, counts]

    return shares.joined(weigh)


def pairs_within(
    encodings: sparse.csr_array,
    max_distance: float,
    max_pairs: int | None = None,
    shares: RowShares = ALONE,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Step 6, as ``pairs_within`` of :mod:`.jaccard_scipy`.

    Images are renumbered so that neighbours stand together, without which every overlap of a large set is a miss of
    the cache. Below a low limit only those pairs are compared that share one of the rare columns without which their
    overlap would be too small (prefix filtering: Chaudhuri et al., ICDE 2006). Either way the entries of a row keep
    their order, and so overlaps their last bit.

    Args:
        encodings: float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
        max_distance: Largest distance that is given.
        max_pairs: How many there may be; None = any. Search stops soon after.
        shares: Who looks for which pairs; the first process gets all of them, and the others none.

    Yields:
        Rows, columns and distances of some pairs at a time, each pair once: int32 (P,), int32 (P,), float32 (P,).

    Raises:
        InputError: There are more than ``max_pairs``.
    """
    num = encodings.shape[0]
    limit = np.float32(max_distance)
    most = np.iinfo(np.int64).max if max_pairs is None else max_pairs

    if not encodings.data.all():  # kernels tell by its overlap whether they have met a pair
        encodings = encodings.copy()
        encodings.eliminate_zeros()

    def renumber() -> tuple[np.ndarray, sparse.csr_array]:
        order = pair_kernels.bfs_order(encodings.indptr, encodings.indices)
        return order, _renumbered(encodings, order)

    order, by_place = shares.each(renumber)
    rows = (by_place.indptr, by_place.indices, by_place.data)
    needed = _needed_overlap(by_place, float(limit))
    rare = needed >= _LEAST_OVERLAP
    prefixes = _prefixes(by_place, _SHARE_BEHIND * needed, shares) if rare else ()

    def find() -> list[np.ndarray]:
        stop = (limit, np.zeros(1, np.int64), most)
        kernel: Callable[..., Any]
        arguments: tuple[Any, ...]
        if rare:
            kernel, arguments = pair_kernels.near_distances, (*rows, *prefixes, needed, *stop)
        else:
            by_column = by_place.tocsc()
            columns = (by_column.indptr, by_column.indices, by_column.data)
            kernel, arguments = pair_kernels.distances_within, (*rows, *columns, *stop)
        # Rows meet those behind them: dealt out in turn, no process has all of the long ones.
        # Each has a range, be it one without rows: what is sent has a form.
        ranges = max(shares.num, min(num, _RANGES * num_threads() * shares.num))
        bounds = [num * part // ranges for part in range(ranges + 1)]
        parts = in_threads(
            lambda part: _numbered(
                order, bounds[part], kernel(bounds[part], bounds[part + 1], *arguments)
            ),
            range(shares.rank, ranges, shares.num),
        )
        return _concatenated(parts)

    def check(sizes: list[list[int]]) -> None:
        if max_pairs is not None and sum(size[0] for size in sizes) > max_pairs:
            raise too_many_pairs(max_pairs, max_distance)

    yield from map(tuple, shares.on_first(find, check) or ())


def symmetric_graph(
    parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], num: int
) -> sparse.csr_array:
    """The graph of pairs, each of which stands for both of its directions.

    Args:
        parts: Rows, columns and distances of some pairs at a time, each pair once.
        num: N.

    Returns:
        float32 (N, N), zero diagonal stored, sorted indices.
    """
    parts = list(parts)
    degrees = np.ones(num, np.int64)
    for rows, columns, _ in parts:
        pair_kernels.count_ends(rows, columns, degrees)
    indptr = _indptr(degrees)
    indices, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    # The diagonal comes first in each row, until rows are sorted.
    indices[indptr[:-1]], data[indptr[:-1]] = np.arange(num), 0
    ends = indptr[:-1] + 1
    while parts:
        pair_kernels.fill_symmetric(*parts.pop(), ends, indices, data)
    if indptr[-1] <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    graph = sparse.csr_array((data, indices, indptr), shape=(num, num))
    graph.sort_indices()
    return graph


def _needed_overlap(encodings: sparse.csr_array, limit: float) -> float:
    """An overlap that every pair within the limit has, rounding of float32 sums included."""
    longest = int(np.diff(encodings.indptr).max(initial=0))
    return 2 * (1 - limit) / (2 - limit) - _ROUNDING * (8 + longest)


def _prefixes(
    encodings: sparse.csr_array, needed: float, shares: RowShares
) -> tuple[np.ndarray, ...]:
    """What ``near_distances`` asks for: the chosen entries by row and by column, the weight of the others, the ends."""
    num, indptr = encodings.shape[0], encodings.indptr
    kept, sizes = np.zeros(encodings.nnz, np.bool_), np.empty(num, np.int64)
    rest, ends = np.empty(num), np.empty(num, np.int32)

    def choose() -> None:
        order = np.argsort(np.bincount(encodings.indices, minlength=num), kind="stable")
        rank = np.empty(num, np.int32)
        rank[order] = np.arange(num, dtype=np.int32)
        arrays = (indptr, encodings.indices, encodings.data, rank, needed, kept, sizes, rest, ends)
        _over(pair_kernels.choose_prefixes, shares.own(num), *arrays)

    shares.each(choose)
    bounds = shares.bounds(num)
    shares.exchange(kept, [int(indptr[bound]) for bound in bounds])
    for array in (sizes, rest, ends):
        shares.exchange(array, bounds)

    def arrange() -> tuple[np.ndarray, ...]:
        chosen = sparse.csr_array(
            (encodings.data[kept], encodings.indices[kept], _indptr(sizes)), shape=encodings.shape
        )
        columns = chosen.tocsc()
        by_row = (chosen.indptr, chosen.indices, chosen.data)
        return *by_row, columns.indptr, columns.indices, columns.data, rest, ends

    return shares.each(arrange)


def _renumbered(encodings: sparse.csr_array, order: np.ndarray) -> sparse.csr_array:
    """The square matrix with row and column ``order[i]`` in place i; entries of a row in the order they had."""
    place_of = np.empty_like(order)
    place_of[order] = np.arange(len(order), dtype=order.dtype)
    indptr, columns, weights = encodings.indptr, encodings.indices, encodings.data
    new_indptr = _indptr(np.diff(indptr)[order])
    new_columns, new_weights = np.empty_like(columns), np.empty_like(weights)
    over_rows(
        pair_kernels.renumber,
        len(order),
        *(order, place_of, indptr, columns, weights, new_indptr, new_columns, new_weights),
    )
    return sparse.csr_array((new_weights, new_columns, new_indptr), shape=encodings.shape)


def _reciprocal_sets(ranks: np.ndarray, half: int, shares: RowShares) -> tuple[np.ndarray, ...]:
    """Members int32 (N, k) and sizes int32 (N,) of the mutual neighbours among int32 (N, k), and among the first."""
    num = len(ranks)

    def find() -> tuple[np.ndarray, ...]:
        near = np.ascontiguousarray(ranks)
        members, halves = np.empty_like(near), np.empty((num, half), np.int32)
        found = (members, np.empty(num, np.int32), halves, np.empty(num, np.int32))
        _over(kernels.reciprocal_sets, shares.own(num), near, half, *found)
        return found

    found = shares.each(find)
    for array in found:
        shares.exchange(array, shares.bounds(num))
    return found


def _over(kernel: Callable[..., Any], rows: tuple[int, int], *arguments: Any) -> list[Any]:
    """:func:`over_rows` of the rows from one on and up to another."""
    first, last = rows

    def shifted(start: int, stop: int, *arguments: Any) -> Any:
        return kernel(first + start, first + stop, *arguments)

    return over_rows(shifted, last - first, *arguments)


def _numbered(
    order: np.ndarray, first: int, found: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """Rows, partners and distances of pairs of places."""
    partners, distances, counts = found
    return np.repeat(order[first : first + len(counts)], counts), order[partners], distances


def _concatenated(parts: list[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """The arrays of all parts behind each other; the parts are let go one by one."""
    whole = [np.empty(sum(map(len, arrays)), arrays[0].dtype) for arrays in zip(*parts)]
    ends = [len(array) for array in whole]
    while parts:
        for at, array in enumerate(parts.pop()):
            whole[at][ends[at] - len(array) : ends[at]] = array
            ends[at] -= len(array)
    return whole


def _indptr(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])
