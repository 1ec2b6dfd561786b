"""The compiled half of :mod:`.jaccard`: loops over rows for numba; import it only if numba is there.

Every kernel works on rows ``first..last-1`` (see :func:`mmreid_uda.utils.over_rows`) and equals, to rounding, the
plain function that its docstring names. Sums run in ascending order of columns, as in the papers' dense code.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import FAST, dot

__all__ = [
    "average_encodings",
    "bfs_order",
    "choose_prefixes",
    "count_ends",
    "distances_within",
    "expand_sets",
    "fill_symmetric",
    "near_distances",
    "reciprocal_sets",
    "renumber",
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


@njit(nogil=True, cache=True)
def bfs_order(indptr, columns):
    """An order of the rows in which those that share columns stand close together: breadth first along the columns.

    Args:
        indptr: int64 (N + 1,), where the rows of a square matrix begin.
        columns: int32 (nnz,).

    Returns:
        int32 (N,), each row once.
    """
    num, end = len(indptr) - 1, 0
    order, seen = np.empty(num, np.int32), np.zeros(num, np.bool_)
    for first in range(num):
        if seen[first]:
            continue
        seen[first] = True
        place, order[end] = end, first
        end += 1
        while place < end:
            row = order[place]
            place += 1
            for entry in range(indptr[row], indptr[row + 1]):
                column = columns[entry]
                if not seen[column]:
                    seen[column] = True
                    order[end] = column
                    end += 1
    return order


@njit(nogil=True, cache=True)
def renumber(
    first, last, order, place_of, indptr, columns, weights, new_indptr, new_columns, new_weights
):
    """Move rows to their places and give columns the numbers of the places; entries of a row keep their order.

    Args:
        first: First place.
        last: One behind the last place.
        order: int32 (N,), the row at each place.
        place_of: int32 (N,), the place of each row.
        indptr: int64 (N + 1,), where the rows begin.
        columns: int32 (nnz,).
        weights: float32 (nnz,).
        new_indptr: int64 (N + 1,), where they will begin.
        new_columns: int32 (nnz,), to fill.
        new_weights: float32 (nnz,), to fill.
    """
    for place in range(first, last):
        shift = new_indptr[place] - indptr[order[place]]
        for entry in range(indptr[order[place]], indptr[order[place] + 1]):
            new_columns[entry + shift] = place_of[columns[entry]]
            new_weights[entry + shift] = weights[entry]


@njit(nogil=True, cache=True)
def distances_within(
    first, last, indptr, columns, weights, column_ptr, rows, row_weights, limit, found_by_all, most
):
    """``jaccard_distances`` of :mod:`.jaccard` for pairs ``row < partner``.

    Args:
        first: First row.
        last: One behind the last row.
        indptr: int64 (N + 1,), where the rows of the encodings begin.
        columns: int32 (nnz,).
        weights: float32 (nnz,).
        column_ptr: int64 (N + 1,), where the columns of the same encodings begin.
        rows: int32 (nnz,), ascending in each column.
        row_weights: float32 (nnz,).
        limit: float32, the largest distance to keep.
        found_by_all: int64 (1,), pairs that all calls together have found; roughly, as threads do not wait for each
            other.
        most: Stop when they are more.

    Returns:
        partners int32 (m,), in the order they were met; distances float32 (m,); counts int64 (last - first,).
    """
    num, end = len(indptr) - 1, 0
    partners, distances = np.empty(1024, np.int32), np.empty(1024, np.float32)
    counts = np.empty(last - first, np.int64)
    # Columns are entered behind the row in hand: rows come in order, so each column's entry point only moves on.
    entry_point = column_ptr[:-1].copy()
    overlaps, found = np.zeros(num, np.float32), np.empty(num + 1, np.uint32)
    for row in range(first, last):
        start, met = end, 0
        for entry in range(indptr[row], indptr[row + 1]):
            column, weight = np.uint32(columns[entry]), weights[entry]
            begin, stop = entry_point[column], column_ptr[column + np.uint32(1)]
            while begin < stop and rows[begin] <= row:
                begin += 1
            entry_point[column] = begin
            # The loop that takes the time: no branch, and unsigned numbers, which need no check for being negative.
            for place in range(np.uint32(begin), np.uint32(stop)):
                partner = np.uint32(rows[place])
                overlap = overlaps[partner]
                found[np.uintp(met)] = partner
                met += int(overlap == 0)
                overlaps[partner] = overlap + min(weight, row_weights[place])
        if end + met > len(partners):
            more = max(len(partners), met)
            partners = np.concatenate((partners, np.empty(more, np.int32)))
            distances = np.concatenate((distances, np.empty(more, np.float32)))
        for place in range(met):
            partner = found[place]
            overlap = overlaps[partner]
            overlaps[partner] = 0
            distance = np.float32(1) - overlap / (np.float32(2) - overlap)
            partners[end], distances[end] = partner, distance
            end += int(distance <= limit)
        counts[row - first] = end - start
        found_by_all[0] += end - start
        if found_by_all[0] > most:
            counts[row + 1 - first :] = 0
            break
    return partners[:end].copy(), distances[:end].copy(), counts


@njit(nogil=True, cache=True)
def choose_prefixes(first, last, indptr, columns, weights, rank, needed, kept, sizes, rest, ends):
    """Choose of each row its rarest columns, so many that the others weigh less than ``needed``.

    Two rows of which no chosen column is common overlap by less than ``needed``: of the row whose chosen columns end
    first, in the order of ranks, everything common stands behind that end.

    Args:
        first: First row.
        last: One behind the last row.
        indptr: int64 (N + 1,), where the rows of the encodings begin.
        columns: int32 (nnz,).
        weights: float32 (nnz,).
        rank: int32 (N,), the place of each column, the rarest first.
        needed: float64, > 0.
        kept: bool (nnz,), False; the result: whether an entry is chosen.
        sizes: int64 (N,), the result: chosen entries of each row.
        rest: float64 (N,), the result: what the others weigh.
        ends: int32 (N,), the result: the largest rank that is chosen, -1 where none is.
    """
    longest = 0
    for row in range(first, last):
        longest = max(longest, indptr[row + 1] - indptr[row])
    keys = np.empty(longest, np.int64)
    for row in range(first, last):
        start, size = indptr[row], indptr[row + 1] - indptr[row]
        for place in range(size):
            keys[place] = np.int64(rank[columns[start + place]]) << 32 | place
        keys[:size].sort()
        behind = 0.0
        while size > 0:
            weight = weights[start + (keys[size - 1] & 0xFFFFFFFF)]
            if behind + weight >= needed:
                break
            behind += weight
            size -= 1
        sizes[row], rest[row] = size, behind
        ends[row] = keys[size - 1] >> 32 if size else -1
        for place in range(size):
            kept[start + (keys[place] & 0xFFFFFFFF)] = True


@njit(nogil=True, cache=True)
def near_distances(
    first,
    last,
    indptr,
    columns,
    weights,
    chosen_ptr,
    chosen,
    chosen_weights,
    column_ptr,
    rows,
    row_weights,
    rest,
    ends,
    needed,
    limit,
    found_by_all,
    most,
):
    """:func:`distances_within` where the limit is low: only rows that share a chosen column are compared.

    The overlap is summed over the columns in the same order, and so has the same last bit.

    Args:
        first: First row.
        last: One behind the last row.
        indptr: As there.
        columns: As there.
        weights: As there.
        chosen_ptr: int64 (N + 1,), where the rows of the chosen entries begin, see :func:`choose_prefixes`.
        chosen: int32 (m,), their columns.
        chosen_weights: float32 (m,).
        column_ptr: int (N + 1,), where the columns of the chosen entries begin.
        rows: int32 (m,), ascending in each column.
        row_weights: float32 (m,).
        rest: float64 (N,), of :func:`choose_prefixes`.
        ends: int32 (N,), likewise.
        needed: float64, likewise: no larger than the overlap at the limit.
        limit: As there.
        found_by_all: As there.
        most: As there.

    Returns:
        As there.
    """
    num, end = len(indptr) - 1, 0
    partners, distances = np.empty(1024, np.int32), np.empty(1024, np.float32)
    counts = np.empty(last - first, np.int64)
    entry_point = np.full(num, -1, np.int64)
    overlaps, found = np.zeros(num, np.float32), np.empty(num + 1, np.uint32)
    own = np.zeros(num, np.float32)
    # Less than this in the chosen columns cannot be made up for by the others.
    least = needed - rest.max()
    for row in range(first, last):
        start, met = end, 0
        for entry in range(chosen_ptr[row], chosen_ptr[row + 1]):
            column, weight = chosen[entry], chosen_weights[entry]
            begin, stop = entry_point[column], column_ptr[column + 1]
            if begin < 0:
                begin = column_ptr[column]
                begin += np.searchsorted(rows[begin:stop], row)
            while begin < stop and rows[begin] <= row:
                begin += 1
            entry_point[column] = begin
            for place in range(np.uint32(begin), np.uint32(stop)):
                partner = np.uint32(rows[place])
                overlap = overlaps[partner]
                found[np.uintp(met)] = partner
                met += int(overlap == 0)
                overlaps[partner] = overlap + min(weight, row_weights[place])
        if end + met > len(partners):
            more = max(len(partners), met)
            partners = np.concatenate((partners, np.empty(more, np.int32)))
            distances = np.concatenate((distances, np.empty(more, np.float32)))
        if met:
            for entry in range(indptr[row], indptr[row + 1]):
                own[columns[entry]] = weights[entry]
        for place in range(met):
            partner = found[place]
            most_possible = np.float64(overlaps[partner])
            overlaps[partner] = 0
            if most_possible < least:
                continue
            # What else is common stands behind the end of the one that ends first.
            if ends[row] < ends[partner]:
                most_possible += rest[row]
            elif ends[row] > ends[partner]:
                most_possible += rest[partner]
            else:
                most_possible += min(rest[row], rest[partner])
            if most_possible < needed:
                continue
            overlap = np.float32(0)
            for entry in range(indptr[partner], indptr[partner + np.uint32(1)]):
                overlap += min(own[columns[entry]], weights[entry])
            distance = np.float32(1) - overlap / (np.float32(2) - overlap)
            partners[end], distances[end] = partner, distance
            end += int(distance <= limit)
        if met:
            for entry in range(indptr[row], indptr[row + 1]):
                own[columns[entry]] = 0
        counts[row - first] = end - start
        found_by_all[0] += end - start
        if found_by_all[0] > most:
            counts[row + 1 - first :] = 0
            break
    return partners[:end].copy(), distances[:end].copy(), counts


@njit(nogil=True, cache=True)
def count_ends(rows, columns, degrees):
    """Count in how many pairs an image is.

    Args:
        rows: int32 (P,).
        columns: int32 (P,).
        degrees: int64 (N,), raised in place.
    """
    for pair in range(len(rows)):
        degrees[rows[pair]] += 1
        degrees[columns[pair]] += 1


@njit(nogil=True, cache=True)
def fill_symmetric(rows, columns, distances, ends, indices, data):
    """Enter pairs into both of their rows.

    Args:
        rows: int32 (P,).
        columns: int32 (P,).
        distances: float32 (P,).
        ends: int64 (N,), the next free entry of each row, moved on in place.
        indices: int32 (nnz,), to fill.
        data: float32 (nnz,), to fill.
    """
    for pair in range(len(rows)):
        row, column, distance = rows[pair], columns[pair], distances[pair]
        indices[ends[row]], data[ends[row]] = column, distance
        indices[ends[column]], data[ends[column]] = row, distance
        ends[row] += 1
        ends[column] += 1
