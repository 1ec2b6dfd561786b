"""The compiled half of steps 2 to 5 of :mod:`.jaccard`: loops over rows for numba; import it only if numba is there.

Every kernel works on rows ``first..last-1`` (see :func:`mmreid_uda.utils.over_rows`) and equals, to rounding, the
plain function that its docstring names. Sums run in ascending order of columns, as in the papers' dense code.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import FAST, dot

__all__ = [
    "average_encodings",
    "expand_sets",
    "reciprocal_sets",
    "unite_sets",
    "weigh_sets",
]


@njit(nogil=True, cache=True)
def reciprocal_sets(first, last, ranks, half, members, sizes, half_members, half_sizes):
    """``k_reciprocal_sets`` of :mod:`.jaccard_scipy`, as lists: of all ranks, and of the first of them.

    Args:
        first: First row.
        last: One behind the last row.
        ranks: int32 (N, k), the neighbours that count; -1 where a list has ended.
        half: Of how many of them the second sets are made, 0..k.
        members: int32 (N, k), the result, in the order of the ranks.
        sizes: int32 (N,), the result: members of each row.
        half_members: int32 (N, half), the result for the second sets.
        half_sizes: int32 (N,), likewise.
    """
    for row in range(first, last):
        size, half_size = 0, 0
        for place in range(ranks.shape[1]):
            neighbor = ranks[row, place]
            if neighbor < 0:
                break
            mutual, near = False, False
            for back in range(ranks.shape[1]):
                mutual |= ranks[neighbor, back] == row
            if not mutual:
                continue
            members[row, size] = neighbor
            size += 1
            if place < half:
                for back in range(half):
                    near |= ranks[neighbor, back] == row
                half_members[row, half_size] = neighbor
                half_size += int(near)
        sizes[row], half_sizes[row] = size, half_size


@njit(nogil=True, cache=True)
def unite_sets(first, last, sets, sizes, others, other_sizes):
    """``unite_sets`` of :mod:`.jaccard_scipy`, as lists.

    Args:
        first: First row.
        last: One behind the last row.
        sets: int32 (N, k).
        sizes: int32 (N,).
        others: int32 (N, l).
        other_sizes: int32 (N,).

    Returns:
        columns int32 (nnz,), ascending in each row, and counts int64 (last - first,).
    """
    columns = np.empty((last - first) * (sets.shape[1] + others.shape[1]), np.int32)
    counts = np.empty(last - first, np.int64)
    end = 0
    for row in range(first, last):
        start = end
        columns[end : end + sizes[row]] = sets[row, : sizes[row]]
        end += sizes[row]
        for place in range(other_sizes[row]):
            known = False
            for earlier in range(sizes[row]):
                known |= sets[row, earlier] == others[row, place]
            if not known:
                columns[end] = others[row, place]
                end += 1
        columns[start:end].sort()
        counts[row - first] = end - start
    return columns[:end].copy(), counts


@njit(nogil=True, cache=True)
def expand_sets(first, last, sets, sizes, half_sets, half_sizes):
    """``expand_sets`` of :mod:`.jaccard_scipy`, as lists.

    Args:
        first: First row.
        last: One behind the last row.
        sets: int32 (N, k), R(i, k1).
        sizes: int32 (N,).
        half_sets: int32 (N, h), R(c, k1/2).
        half_sizes: int32 (N,).

    Returns:
        columns int32 (nnz,), ascending in each row, and counts int64 (last - first,).
    """
    num, most = len(sets), sets.shape[1] * (1 + half_sets.shape[1])
    columns = np.empty((last - first) * most, np.int32)
    counts = np.empty(last - first, np.int64)
    core, seen = np.full(num, -1, np.int32), np.full(num, -1, np.int32)
    end = 0
    for row in range(first, last):
        start = end
        for place in range(sizes[row]):
            member = sets[row, place]
            core[member] = seen[member] = row
            columns[end] = member
            end += 1
        for place in range(sizes[row]):
            member, shared = sets[row, place], 0
            for half in range(half_sizes[member]):
                shared += core[half_sets[member, half]] == row
            if 3 * shared <= 2 * half_sizes[member]:
                continue
            for half in range(half_sizes[member]):
                candidate = half_sets[member, half]
                if seen[candidate] != row:
                    seen[candidate] = row
                    columns[end] = candidate
                    end += 1
        columns[start:end].sort()
        counts[row - first] = end - start
    return columns[:end].copy(), counts


@njit(nogil=True, fastmath=FAST, cache=True)
def weigh_sets(first, last, indptr, columns, features, indices, similarities, scale, weights):
    """``encode`` of :mod:`.jaccard_scipy`.

    Args:
        first: First row.
        last: One behind the last row.
        indptr: int64 (N + 1,), where the rows of ``columns`` begin.
        columns: int32 (nnz,), members of the expanded sets.
        features: float32 (N, D).
        indices: int32 (N, k), neighbours of each row.
        similarities: float32 (N, k), theirs.
        scale: float32 (N,), what the distances of a row are divided by; or (0,): by nothing.
        weights: float32 (nnz,), the result.
    """
    k = indices.shape[1]
    for row in range(first, last):
        nearest = np.float32(np.inf)
        for entry in range(indptr[row], indptr[row + 1]):
            member, place, owner = columns[entry], -1, row
            for rank in range(k):
                if indices[row, rank] == member:
                    place = rank
            if place < 0:
                owner = member
                for rank in range(k):
                    if indices[member, rank] == row:
                        place = rank
            similarity = similarities[owner, place] if place >= 0 else dot(features, row, member)
            distance = np.float32(2) - np.float32(2) * similarity
            weights[entry] = distance / scale[row] if scale.size else distance
            nearest = min(nearest, weights[entry])
        total = np.float32(0)
        for entry in range(indptr[row], indptr[row + 1]):
            weights[entry] = np.exp(nearest - weights[entry])
            total += weights[entry]
        for entry in range(indptr[row], indptr[row + 1]):
            weights[entry] /= total


@njit(nogil=True, cache=True)
def average_encodings(first, last, ranks, indptr, columns, weights):
    """``expand_queries`` of :mod:`.jaccard_scipy`: the mean over the encodings of a row's first neighbours.

    Args:
        first: First row.
        last: One behind the last row.
        ranks: int32 (N, m), rows to average over, the row itself included; one that stands there twice counts twice,
            -1 counts for nothing.
        indptr: int64 (N + 1,), where the rows of the encodings begin.
        columns: int32 (nnz,).
        weights: float32 (nnz,).

    Returns:
        columns int32 (m,), ascending in each row; weights float32 (m,); counts int64 (last - first,).
    """
    num, capacity = len(indptr) - 1, 0
    for row in range(first, last):
        for neighbor in ranks[row]:
            capacity += indptr[neighbor + 1] - indptr[neighbor] if neighbor >= 0 else 0
    new_columns, new_weights = np.empty(capacity, np.int32), np.empty(capacity, np.float32)
    counts = np.empty(last - first, np.int64)
    seen, sums = np.full(num, -1, np.int32), np.empty(num, np.float32)
    end = 0
    for row in range(first, last):
        start, num_averaged = end, 0
        for neighbor in ranks[row]:
            if neighbor < 0:
                continue
            num_averaged += 1
            for entry in range(indptr[neighbor], indptr[neighbor + 1]):
                column = columns[entry]
                if seen[column] != row:
                    seen[column] = row
                    sums[column] = weights[entry]
                    new_columns[end] = column
                    end += 1
                else:
                    sums[column] += weights[entry]
        new_columns[start:end].sort()
        for entry in range(start, end):
            new_weights[entry] = sums[new_columns[entry]] / np.float32(num_averaged)
        counts[row - first] = end - start
    return new_columns[:end].copy(), new_weights[:end].copy(), counts
