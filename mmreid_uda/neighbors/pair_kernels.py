"""The compiled half of step 6 of :mod:`.jaccard`, pairs and their graph; import it only if numba is there.

Sums run in ascending order of columns, as in the papers' dense code.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "bfs_order",
    "choose_prefixes",
    "count_ends",
    "distances_within",
    "fill_symmetric",
    "near_distances",
    "renumber",
]


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
