"""The compiled half of :mod:`.resizing`; import it only if numba is there."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["blend_rows"]

_BITS = 22


@njit(nogil=True, cache=True)
def blend_rows(rows, first, count, weights, blended):
    """Weighted sums of rows in whole numbers, rounded and clipped to bytes.

    Args:
        rows: uint8 (N, L).
        first: int64 (M,), first row of each sum.
        count: int64 (M,), rows in it.
        weights: int32 (M, most rows), in units of 2^-22.
        blended: uint8 (M, L), written.
    """
    length = rows.shape[1]
    total = np.empty(length, np.int32)
    for place in range(blended.shape[0]):
        total[:] = 1 << (_BITS - 1)
        for tap in range(count[place]):
            weight, row = weights[place, tap], rows[first[place] + tap]
            for column in range(length):
                total[column] += weight * np.int32(row[column])
        for column in range(length):
            blended[place, column] = min(max(total[column] >> _BITS, 0), 255)
