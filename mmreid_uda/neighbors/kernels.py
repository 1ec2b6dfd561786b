"""The compiled half of :mod:`.knn`: loops over rows for numba; import it only if numba is there."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "FAST",
    "dot",
    "merge_topk",
    "merge_topk_columns",
    "merge_topk_scattered",
    "rank_candidates",
    "rescore",
    "rescore_min_similarity",
    "round_rows",
]

#: Sums and maxima may be taken in any order, which lets the compiler use vectors; infinities keep their meaning.
FAST = {"reassoc", "nsz", "nnan", "contract"}
# Similarities compared with the end of a list at once: four vectors.
_CHUNK = 64


@njit(inline="always")
def _insert(indices, similarities, row, index, similarity):
    """Put a neighbour into a row's list in place of its last: descending, of equal ones the lower index first."""
    place = similarities.shape[1] - 1
    while place > 0 and (
        similarities[row, place - 1] < similarity
        or (similarities[row, place - 1] == similarity and indices[row, place - 1] > index)
    ):
        similarities[row, place] = similarities[row, place - 1]
        indices[row, place] = indices[row, place - 1]
        place -= 1
    similarities[row, place] = similarity
    indices[row, place] = index


@njit(nogil=True, fastmath=FAST, cache=True)
def merge_topk(
    block, first_row, first_column, own, cameras, same, indices, similarities, min_similarity
):
    """Let a block of similarities compete for the places in the lists of its rows.

    Args:
        block: (R, C), float32 or int32; the largest value of the type marks a row itself.
        first_row: Number of the block's first row.
        first_column: Number of its first column.
        own: int32 (N,), the camera of each row; or (0,): all images compete.
        cameras: int32 (N,), the camera of each image.
        same: bool; whether images of a row's own camera compete, or those of the others.
        indices: int32 (N, k), the lists so far, changed in place.
        similarities: (N, k), the type of the block, descending, changed in place.
        min_similarity: (N,), smallest similarity so far to any image, changed in place; or (0,) if nobody asks.
    """
    num_columns, last_place = block.shape[1], indices.shape[1] - 1
    for local in range(block.shape[0]):
        row = first_row + local
        threshold = similarities[row, last_place]
        for start in range(0, num_columns, _CHUNK):
            stop = min(start + _CHUNK, num_columns)
            largest = block[local, start]
            for column in range(start, stop):
                largest = max(largest, block[local, column])
            if largest < threshold:
                continue
            for column in range(start, stop):
                value = block[local, column]
                if (
                    value > threshold
                    or (value == threshold and first_column + column < indices[row, last_place])
                ) and (not own.size or (cameras[first_column + column] == own[row]) == same):
                    _insert(indices, similarities, row, first_column + column, value)
                    threshold = similarities[row, last_place]
        if min_similarity.size:
            smallest = min_similarity[row]
            for column in range(num_columns):
                smallest = min(smallest, block[local, column])
            min_similarity[row] = smallest


@njit(nogil=True, fastmath=FAST, cache=True)
def merge_topk_columns(
    block, first_row, first_column, own, cameras, same, indices, similarities, min_similarity
):
    """:func:`merge_topk` for the block's transpose, read row by row all the same.

    Args:
        block: (rows, columns), similarities of the block's columns with its rows.
        first_row: What the block's first row is an index of.
        first_column: The row of the lists that belongs to the block's first column.
        own: As for :func:`merge_topk`.
        cameras: As for :func:`merge_topk`.
        same: As for :func:`merge_topk`.
        indices: int (N, k), changed in place: the nearest of each so far.
        similarities: (N, k), descending, changed in place.
        min_similarity: (N,), lowered in place; of length 0, it is not asked for.
    """
    num_rows, num_columns, last_place = block.shape[0], block.shape[1], indices.shape[1] - 1
    thresholds = np.empty(_CHUNK, block.dtype)
    for start in range(0, num_columns, _CHUNK):
        stop = min(start + _CHUNK, num_columns)
        for column in range(start, stop):
            thresholds[column - start] = similarities[first_column + column, last_place]
        for local in range(num_rows):
            found = 0
            for column in range(start, stop):
                found |= block[local, column] >= thresholds[column - start]
            if not found:
                continue
            for column in range(start, stop):
                value, row = block[local, column], first_column + column
                threshold = thresholds[column - start]
                if (
                    value > threshold
                    or (value == threshold and first_row + local < indices[row, last_place])
                ) and (not own.size or (cameras[first_row + local] == own[row]) == same):
                    _insert(indices, similarities, row, first_row + local, value)
                    thresholds[column - start] = similarities[row, last_place]
    if min_similarity.size:
        for local in range(num_rows):
            for column in range(num_columns):
                min_similarity[first_column + column] = min(
                    min_similarity[first_column + column], block[local, column]
                )


@njit(nogil=True, fastmath=FAST, cache=True)
def merge_topk_scattered(block, rows, columns, first, cameras, same, indices, similarities):
    """:func:`merge_topk` for similarities of rows with columns that do not follow each other.

    Args:
        block: (R, C), float32 or int32.
        rows: int32 (R,), the places of the block's rows in the lists.
        columns: int32 (C,), the images that the block's columns are.
        first: Image whose list is the first; an image does not compete for a place in its own list.
        cameras: As for :func:`merge_topk`.
        same: As for :func:`merge_topk`.
        indices: int32 (n, k), the lists so far, changed in place.
        similarities: (n, k), the type of the block, descending, changed in place.
    """
    num_columns, last_place = block.shape[1], indices.shape[1] - 1
    for local in range(block.shape[0]):
        row = rows[local]
        image = first + row
        threshold = similarities[row, last_place]
        for start in range(0, num_columns, _CHUNK):
            stop = min(start + _CHUNK, num_columns)
            largest = block[local, start]
            for place in range(start, stop):
                largest = max(largest, block[local, place])
            if largest < threshold:
                continue
            for place in range(start, stop):
                value, column = block[local, place], columns[place]
                if (
                    (
                        value > threshold
                        or (value == threshold and column < indices[row, last_place])
                    )
                    and column != image
                    and (not cameras.size or (cameras[column] == cameras[image]) == same)
                ):
                    _insert(indices, similarities, row, column, value)
                    threshold = similarities[row, last_place]


@njit(inline="always", fastmath=FAST)
def dot(features, i, j):
    """The product of two rows.

    Args:
        features: float32 (N, D).
        i: A row.
        j: Another.

    Returns:
        float32.
    """
    total = np.float32(0)
    for dimension in range(features.shape[1]):
        total += features[i, dimension] * features[j, dimension]
    return total


@njit(nogil=True, fastmath=FAST, cache=True)
def round_rows(first, last, features, factor, rounded):
    """Round ``features · factor`` to whole numbers.

    Args:
        first: First row.
        last: One behind the last row.
        features: float32 (N, D).
        factor: float32; the largest product is 127.
        rounded: int8 (N, D), the result.
    """
    for row in range(first, last):
        for dimension in range(features.shape[1]):
            rounded[row, dimension] = np.int8(np.rint(features[row, dimension] * factor))


@njit(nogil=True, fastmath=FAST, cache=True)
def rescore(
    first, last, features, images, candidates, scores, limits, itself, indices, similarities
):
    """Rank the candidates of a coarse search by their exact similarities.

    Args:
        first: First row of the lists.
        last: One behind the last row.
        features: float32 (N, D).
        images: int64 (M,), whose list each row is.
        candidates: int32 (M, c), by descending score; N where there are no more.
        scores: (M, c), int32 or float32.
        limits: (M,), int64 or float32: a candidate below cannot be among the row's neighbours.
        itself: bool; whether the row itself is the first of them, and stays it.
        indices: int32 (M, k), filled with N; the result.
        similarities: float32 (M, k), filled with -inf; the result, +inf for the row itself.
    """
    for row in range(first, last):
        if itself:
            indices[row, 0], similarities[row, 0] = images[row], np.inf
        for place in range(int(itself), candidates.shape[1]):
            index = candidates[row, place]
            if scores[row, place] < limits[row] or index == len(features):
                break
            similarity = dot(features, images[row], index)
            if similarity > similarities[row, -1] or (
                similarity == similarities[row, -1] and index < indices[row, -1]
            ):
                _insert(indices, similarities, row, index, similarity)


@njit(nogil=True, fastmath=FAST, cache=True)
def rescore_min_similarity(
    first, last, features, images, candidates, scores, limits, min_similarity
):
    """The smallest exact similarity among the candidates of a coarse search for the farthest rows.

    Args:
        first: First row of the lists.
        last: One behind the last row.
        features: float32 (N, D).
        images: int64 (M,), whose list each row is.
        candidates: int32 (M, c), by descending score.
        scores: (M, c), int32 or float32, the higher the farther.
        limits: (M,), int64 or float32: a candidate below cannot be the farthest.
        min_similarity: float32 (M,), filled with inf; the result.
    """
    for row in range(first, last):
        for place in range(candidates.shape[1]):
            if scores[row, place] < limits[row]:
                break
            min_similarity[row] = min(
                min_similarity[row], dot(features, images[row], candidates[row, place])
            )


@njit(nogil=True, fastmath=FAST, cache=True)
def rank_candidates(
    first, last, offset, features, candidates, cameras, same, itself, indices, similarities
):
    """Rank candidates, whoever named them, by their exact similarities.

    Args:
        first: First row of the lists.
        last: One behind the last row.
        offset: Image whose list is the first.
        features: float32 (N, D).
        candidates: int32 (n, c), ascending in each row; what is outside 0..N-1 is nobody, and who is named twice counts
            once.
        cameras: As for :func:`merge_topk`.
        same: As for :func:`merge_topk`.
        itself: bool; whether the row itself is the first of its list; else it stands nowhere.
        indices: int32 (n, k), filled with N; the result.
        similarities: float32 (n, k), filled with -inf; the result, +inf for the row itself.
    """
    for row in range(first, last):
        image, before = offset + row, -1
        if itself:
            indices[row, 0], similarities[row, 0] = image, np.inf
        for place in range(candidates.shape[1]):
            index = candidates[row, place]
            if index in (before, image) or index < 0 or index >= len(features):
                continue
            before = index
            if cameras.size and (cameras[index] == cameras[image]) != same:
                continue
            similarity = dot(features, image, index)
            if similarity > similarities[row, -1] or (
                similarity == similarities[row, -1] and index < indices[row, -1]
            ):
                _insert(indices, similarities, row, index, similarity)
