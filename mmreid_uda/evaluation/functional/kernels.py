"""The compiled half of the evaluation: loops over rows for numba; import it only if numba is there.

Every kernel works on rows ``first..last-1`` (see :func:`mmreid_uda.utils.over_rows`) and equals, to rounding, the
plain function that its docstring names.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["count_keys", "count_match_ranks", "mix_jaccard"]

# Entries that stay in the first cache while all matches are compared with them, and matches compared at a time.
_CHUNK = 2048
_TOGETHER = 4
# From here on, finding every entry's place among the matches beats comparing it with all of them.
_MANY = 256


@njit(nogil=True, cache=True)
def _all_finite(entries, first, last):
    broken = np.int32(0)
    for column in range(first, last):
        broken = np.int32(broken + np.int32(not (abs(entries[column]) < np.inf)))
    return broken == 0


@njit(nogil=True, cache=True)
def _bin(distances, columns, num, distance, column):
    """The first of ``num`` matches, sorted by (distance, column), that stands at or behind an entry."""
    low, high = 0, num
    while low < high:
        middle = (low + high) // 2
        if distances[middle] < distance or (
            distances[middle] == distance and columns[middle] < column
        ):
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def _compare(entries, distances, columns, num, before):
    """Count how many entries stand before each match, four matches against a vector of entries at a time.

    An equal entry stands before a match if its column is smaller: in front of the match's column, ``<=`` is ``<`` with
    the next larger number. Only the chunk with the match itself needs to look for equal entries.
    """
    num_entries = len(entries)
    padded = (num + _TOGETHER - 1) // _TOGETHER * _TOGETHER
    limits = np.full(padded, -np.inf, entries.dtype)
    beyond = np.nextafter(distances[:num], np.full(num, np.inf, entries.dtype))
    before[:padded] = 0
    for start in range(0, num_entries, _CHUNK):
        stop = min(start + _CHUNK, num_entries)
        if not _all_finite(entries, start, stop):
            return False
        for match in range(num):
            column = columns[match]
            limits[match] = beyond[match] if column >= stop else distances[match]
            if start <= column < stop:
                equal = np.int32(0)
                for other in range(start, column):
                    equal = np.int32(equal + np.int32(entries[other] == distances[match]))
                before[match] += equal
        for match in range(0, padded, _TOGETHER):
            limit0, limit1 = limits[match], limits[match + 1]
            limit2, limit3 = limits[match + 2], limits[match + 3]
            # Sums of 32 bits, so that a vector holds as many of them as of distances.
            count0 = count1 = count2 = count3 = np.int32(0)
            for column in range(start, stop):
                entry = entries[column]
                count0 = np.int32(count0 + np.int32(entry < limit0))
                count1 = np.int32(count1 + np.int32(entry < limit1))
                count2 = np.int32(count2 + np.int32(entry < limit2))
                count3 = np.int32(count3 + np.int32(entry < limit3))
            before[match] += count0
            before[match + 1] += count1
            before[match + 2] += count2
            before[match + 3] += count3
    return True


@njit(nogil=True, cache=True)
def _fill_bins(entries, distances, columns, num, before):
    """As :func:`_compare`, for many matches: every entry falls into the bin of the first match it does not follow."""
    if not _all_finite(entries, 0, len(entries)):
        return False
    before[: num + 1] = 0
    for column in range(len(entries)):
        before[_bin(distances, columns, num, entries[column], column)] += 1
    total = 0
    for match in range(num):
        total += before[match]
        before[match] = total - 1  # the match itself is in its own bin
    return True


@njit(nogil=True, cache=True)
def count_match_ranks(
    first,
    last,
    block,
    run_start,
    run_length,
    by_identity,
    query_exclusion_keys,
    gallery_exclusion_keys,
    match_ranks,
    counts,
):
    """``count_match_ranks`` of :mod:`.match_ranks`, for matches that are runs of ``by_identity``.

    Args:
        first: First row.
        last: One behind the last row.
        block: float32 or float64 (R, G), distances.
        run_start: int64 (R,), where the images of the query's identity begin in ``by_identity``.
        run_length: int64 (R,), their number.
        by_identity: int64 (G,), gallery images by identity, ascending in each.
        query_exclusion_keys: (R,).
        gallery_exclusion_keys: (G,); an image of the identity with the query's mark is ignored.
        match_ranks: int64 (R, most), the result, ascending; what lies behind the ``counts`` means nothing.
        counts: int64 (R,), the result: matches of each row.

    Returns:
        Whether all distances are finite; else the results mean nothing.
    """
    most = match_ranks.shape[1]
    match_columns, ignored = np.empty(most, np.int64), np.empty(most, np.int64)
    before = np.empty(most + _TOGETHER, np.int64)
    for row in range(first, last):
        entries, num, num_ignored = block[row], 0, 0
        for place in range(run_start[row], run_start[row] + run_length[row]):
            column = by_identity[place]
            if gallery_exclusion_keys[column] == query_exclusion_keys[row]:
                ignored[num_ignored] = column
                num_ignored += 1
            else:
                match_columns[num] = column
                num += 1
        distances = entries[match_columns[:num]]
        order = np.argsort(distances, kind="mergesort")
        distances, columns = distances[order], match_columns[:num][order]
        if num <= _MANY:
            finite = _compare(entries, distances, columns, num, before)
        else:
            finite = _fill_bins(entries, distances, columns, num, before)
        if not finite:
            return False
        match_ranks[row, :num] = before[:num]
        counts[row] = num
        for place in range(num_ignored):
            column = ignored[place]
            for match in range(_bin(distances, columns, num, entries[column], column), num):
                match_ranks[row, match] -= 1
    return True


@njit(nogil=True, fastmath={"contract"}, cache=True)
def mix_jaccard(
    first, last, block, scales, weight, indptr, columns, weights, column_ptr, rows, row_weights
):
    """``_mix`` of :mod:`.rerank`: ``block <- scale * block + weight * J``, in place.

    Args:
        first: First row.
        last: One behind the last row.
        block: float32 (R, G).
        scales: float32 (R,).
        weight: float32.
        indptr: (R + 1,), where the rows of the queries' encodings begin.
        columns: (nnz,), those of the queries' encodings.
        weights: float32 (nnz,).
        column_ptr: (N + 1,), where the columns of the gallery's encodings begin.
        rows: (m,), rows of the gallery's encodings.
        row_weights: float32 (m,).
    """
    num_gallery = block.shape[1]
    overlaps, found = np.zeros(num_gallery, np.float32), np.empty(num_gallery, np.int32)
    one, two = np.float32(1), np.float32(2)
    for row in range(first, last):
        met = 0
        for entry in range(indptr[row], indptr[row + 1]):
            column, own = columns[entry], weights[entry]
            for place in range(column_ptr[column], column_ptr[column + 1]):
                other = rows[place]
                if overlaps[other] == 0:
                    found[met] = other
                    met += 1
                overlaps[other] += min(own, row_weights[place])
        entries, scale = block[row], scales[row]
        for other in range(num_gallery):
            entries[other] = entries[other] * scale + weight
        for place in range(met):
            other = found[place]
            overlap = overlaps[other]
            overlaps[other] = 0
            entries[other] -= weight * min(overlap / (two - overlap), one)


@njit(nogil=True, cache=True)
def count_keys(first, last, keys, dropped_bits, first_key, histogram):
    """The histogram of ``_histogram`` of :mod:`.roc`, added to what is there.

    Args:
        first: First row.
        last: One behind the last row.
        keys: int32 (R, G), the bits of distances.
        dropped_bits: Lowest bits that do not count.
        first_key: Key of the first bin; keys outside of the bins go to the first or the last.
        histogram: int64 (bins,), changed in place.
    """
    last_bin = len(histogram) - 1
    for row in range(first, last):
        for column in range(keys.shape[1]):
            key = (keys[row, column] >> dropped_bits) - first_key
            histogram[min(max(key, 0), last_bin)] += 1
