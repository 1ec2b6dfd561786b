"""Groups that are joined one pair after the other, unless a cannot-link forbids it.

Written for numba, which compiles it where it is there; without it the same lines run as they stand, slower. Import it
only where it is used: numba takes its time.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from mmreid_uda.utils import kernels_available

try:
    from numba import njit
    from numba.extending import register_jitable
except ImportError:

    def register_jitable(function: Callable) -> Callable:  # type: ignore[no-redef]
        """Nothing to do."""
        return function


__all__ = [
    "Forest",
    "compiled",
    "exclusive_pairs",
    "find",
    "join_allowed",
    "make_forest",
    "merge_nearest",
    "roots",
]


# Refusals that are no chance any more.
_MANY = 20


class Forest(NamedTuple):
    """Trees of G groups, and which of them exclude each other.

    Args:
        parent: int64 (G,); that of a root is itself, the smallest number in its tree.
        following: int64 (G,), the next group of the same tree, -1 = none.
        last: int64 (G,), of a root: the end of that chain.
        load: int64 (G,), of a root: what a check of its tree looks at.
        set_starts: int64 (G + 1,), where the sets of a group begin.
        sets: int32 (K,), the exclusive sets that each group is in.
        member_starts: int64 (S + 1,), where the members of a set begin.
        members: int32 (K,), the groups of each set.
    """

    parent: np.ndarray
    following: np.ndarray
    last: np.ndarray
    load: np.ndarray
    set_starts: np.ndarray
    sets: np.ndarray
    member_starts: np.ndarray
    members: np.ndarray


def make_forest(exclusive: sparse.csr_array) -> Forest:
    """Every group is a tree of its own.

    Args:
        exclusive: int8 (S, G), as of :class:`Constraints`.

    Returns:
        The forest.
    """
    num = exclusive.shape[1]
    by_group = exclusive.T.tocsr()
    load = by_group.astype(np.int64) @ np.diff(exclusive.indptr).astype(np.int64)
    return Forest(
        np.arange(num),
        np.full(num, -1),
        np.arange(num),
        load,
        by_group.indptr.astype(np.int64),
        by_group.indices.astype(np.int32),
        exclusive.indptr.astype(np.int64),
        exclusive.indices.astype(np.int32),
    )


@functools.cache
def _compile(function: Callable) -> Callable:
    return njit(nogil=True, cache=True)(function)


def compiled(function: Callable) -> Callable:
    """The function, compiled where kernels can be used.

    Args:
        function: Of this module.

    Returns:
        A function of the same arguments and results.
    """
    return _compile(function) if kernels_available() else function


@register_jitable
def find(parent: Any, group: Any) -> Any:
    """The root of a group's tree; paths are halved on the way.

    Args:
        parent: As of :class:`Forest`, changed in place.
        group: Its number.

    Returns:
        The root.
    """
    while parent[group] != group:
        parent[group] = parent[parent[group]]
        group = parent[group]
    return group


@register_jitable
def _exclusive(forest: Any, a: Any, b: Any) -> Any:
    """Whether a group of one tree excludes a group of the other; looks at the one with less to look at."""
    if forest.load[a] > forest.load[b]:
        a, b = b, a
    group = a
    while group >= 0:
        for place in range(forest.set_starts[group], forest.set_starts[group + 1]):
            number = forest.sets[place]
            for other in range(forest.member_starts[number], forest.member_starts[number + 1]):
                if find(forest.parent, forest.members[other]) == b:
                    return True
        group = forest.following[group]
    return False


@register_jitable
def _join(forest: Any, a: Any, b: Any) -> Any:
    """Make one tree of two; the smaller root stays, and is given back."""
    if b < a:
        a, b = b, a
    forest.parent[b] = a
    forest.following[forest.last[a]] = b
    forest.last[a] = forest.last[b]
    forest.load[a] += forest.load[b]
    return a


def roots(parent: np.ndarray) -> np.ndarray:
    """The root of every group.

    Args:
        parent: int64 (G,), as of :class:`Forest`.

    Returns:
        int64 (G,).
    """
    while True:
        above = parent[parent]
        if (above == parent).all():
            return above
        parent = above


def exclusive_pairs(forest: Forest, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which pairs exclude each other.

    Args:
        forest: Changed only in how its paths run.
        first: int (P,), roots.
        second: int (P,), other roots.

    Returns:
        bool (P,).
    """
    found = np.zeros(len(first), np.bool_)
    for pair in range(len(first)):
        a, b = first[pair], second[pair]
        if forest.load[a] > 0 and forest.load[b] > 0:
            found[pair] = _exclusive(forest, a, b)
    return found


def join_allowed(forest: Forest, first: np.ndarray, second: np.ndarray, once: bool) -> int:
    """Join the trees of pairs, in their order, unless they exclude each other.

    Args:
        forest: Changed in place.
        first: int (P,).
        second: int (P,).
        once: Join a first group only as long as it is alone: it takes the first tree that it can.

    Returns:
        How many pairs were refused.
    """
    refused = 0
    for pair in range(len(first)):
        a, b = find(forest.parent, first[pair]), find(forest.parent, second[pair])
        if a == b or (once and (a != first[pair] or forest.last[a] != a)):
            continue
        if forest.load[a] > 0 and forest.load[b] > 0 and _exclusive(forest, a, b):
            refused += 1
        else:
            _join(forest, a, b)
    return refused


@register_jitable
def _near_pairs(starts: Any, neighbors: Any, distances: Any, threshold: Any) -> Any:
    """The heap of :func:`merge_nearest` at its start: distance of a pair, the pair, and at which join it was found."""
    heap: Any = [(0.0, 0, 0, 0)]  # which tells numba the types
    heap.pop()
    for group in range(len(starts) - 1):
        for place in range(starts[group], starts[group + 1]):
            if group < neighbors[place] and distances[place] <= threshold:
                heap.append((np.float64(distances[place]), group, np.int64(neighbors[place]), 0))
    heapq.heapify(heap)
    return heap


@register_jitable
def _moved(parent: Any, joined: Any, pool: Any, begin: Any, end: Any, needed: Any) -> Any:
    """A larger pool of neighbours, without the lists of trees that are no more, and how much of it is used.

    Args:
        parent: As of :class:`Forest`.
        joined: The former root of a tree whose list still counts.
        pool: The lists.
        begin: Where that of each root begins, changed in place.
        end: Where it ends, likewise.
        needed: Entries to leave room for.
    """
    alive = needed + end[joined] - begin[joined]
    for group in range(len(parent)):
        if parent[group] == group:
            alive += end[group] - begin[group]
    larger, used = np.empty(2 * alive, pool.dtype), 0
    for group in range(len(parent)):
        if parent[group] == group or group == joined:
            length = end[group] - begin[group]
            for place in range(length):
                larger[used + place] = pool[begin[group] + place]
            begin[group], end[group] = used, used + length
            used += length
    return larger, used


def merge_nearest(
    forest: Forest,
    sums: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    neighbors: np.ndarray,
    distances: np.ndarray,
    threshold: float,
    cost: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Average linkage: join the two nearest trees, again and again, unless they exclude each other.

    The mean cosine distance of all pairs between two trees is one less the product of their mean vectors: it is exact,
    and nothing but sums is kept. Looked at are trees of which two groups are neighbours.

    Args:
        forest: Changed in place.
        sums: float32 (G, D), sum of the unit vectors of each group; that of a root becomes the tree's.
        weights: float64 (G,), how many vectors that is, likewise.
        starts: int64 (G + 1,), where the neighbours of a group begin.
        neighbors: int32 (E,), both directions of every edge, without the group itself.
        distances: float32 (E,), of each of them.
        threshold: Join trees up to this distance.
        cost: Of a refusal, in joins: stop when joins less this times refusals have fallen to half of their most; the
            first few refusals may be chance.

    Returns:
        For each join, in order: its two roots, int64 (J,) and (J,), its distance, float64 (J,), and how often others
        were refused before, int64 (J,); and how often in all.
    """
    num = len(starts) - 1
    heap = _near_pairs(starts, neighbors, distances, threshold)
    begin, end = starts[:-1].copy(), starts[1:].copy()
    pool, used = neighbors.copy(), len(neighbors)
    changed = np.zeros(num, np.int64)
    # Number of the join at which a root was met last.
    met = np.zeros(num, np.int64)
    first, second = np.zeros(num, np.int64), np.zeros(num, np.int64)
    heights, refused_before = np.zeros(num, np.float64), np.zeros(num, np.int64)
    joined = refused = 0
    best = 0.0
    while len(heap) > 0:
        height, a, b, since = heapq.heappop(heap)
        if (
            forest.parent[a] != a
            or forest.parent[b] != b
            or changed[a] > since
            or changed[b] > since
        ):
            continue
        if forest.load[a] > 0 and forest.load[b] > 0 and _exclusive(forest, a, b):
            refused += 1
            if refused > _MANY and joined - cost * refused < best / 2:
                break
            continue
        _join(forest, a, b)  # a is the smaller: the root
        first[joined], second[joined] = a, b
        heights[joined], refused_before[joined] = height, refused
        joined += 1
        best = max(best, joined - cost * refused)
        for dimension in range(sums.shape[1]):  # compiles in a fraction of the time of whole rows
            sums[a, dimension] += sums[b, dimension]
        weights[a] += weights[b]
        changed[a] = met[a] = joined
        needed = end[a] - begin[a] + end[b] - begin[b]
        if used + needed > len(pool):
            pool, used = _moved(forest.parent, b, pool, begin, end, needed)
        start = used
        for tree in (a, b):
            for place in range(begin[tree], end[tree]):
                other = find(forest.parent, np.int64(pool[place]))
                if met[other] == joined:
                    continue
                met[other] = joined
                pool[used] = other
                used += 1
                distance = 1 - np.float64(np.dot(sums[a], sums[other])) / (
                    weights[a] * weights[other]
                )
                if distance <= threshold:
                    heapq.heappush(heap, (distance, min(a, other), max(a, other), joined))
        begin[a], end[a] = start, used
    return first[:joined], second[:joined], heights[:joined], refused_before[:joined], refused
