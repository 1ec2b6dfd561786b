"""Steps 2 to 6 of the Jaccard distance on SciPy's sparse matrices: readable, and used where numba is missing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .knn import Neighbors
from .rank_lists import RankLists, too_many_pairs

__all__ = [
    "averaged_encodings",
    "encode",
    "expand_queries",
    "expand_sets",
    "k_reciprocal_sets",
    "pairs_within",
    "unite_sets",
]

# Pairs of non-zeros looked at together in the last step (about 30 bytes each).
_PAIRS_PER_BLOCK = 1 << 21
# Elements of gathered features looked at together: 2 × 32 MiB.
_GATHER_ELEMENTS = 1 << 23


def averaged_encodings(
    features: np.ndarray | Tensor, lists: RankLists, farthest: np.ndarray | None
) -> sparse.csr_array:
    """Steps 2 to 5: from lists of neighbours to the encoding whose overlaps are the Jaccard similarity.

    Args:
        features: float32 (N, D), rows of unit norm.
        lists: Of these features.
        farthest: As for :func:`encode`.

    Returns:
        float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
    """
    join = unite_sets if lists.united else expand_sets
    sets = join(k_reciprocal_sets(lists.sets), k_reciprocal_sets(lists.others))
    return expand_queries(encode(sets, features, lists.known, farthest), lists.averaged)


def k_reciprocal_sets(ranks: np.ndarray) -> sparse.csr_array:
    """Step 2: keep the neighbours that have the row among their own neighbours.

    Args:
        ranks: int (N, k), neighbours of each row; -1 where a list has ended.

    Returns:
        float32 (N, N) of ones: row i marks R(i, k). Sorted indices.
    """
    forward = _rank_matrix(ranks)
    sets = forward.multiply(forward.T.tocsr()).tocsr()
    sets.sort_indices()
    return sets


def expand_sets(sets: sparse.csr_array, half_sets: sparse.csr_array) -> sparse.csr_array:
    """Step 3: add the half set of every member that shares more than two thirds of it.

    Args:
        sets: (N, N) of ones, R(i, k1).
        half_sets: (N, N) of ones, R(c, k1/2).

    Returns:
        float32 (N, N): non-zero where a column belongs to R*(i). Sorted indices.
    """
    shared = sets.multiply(
        sets @ half_sets.T
    ).tocsr()  # |R(c, k1/2) ∩ R(i, k1)| at every c of R(i, k1)
    sizes = half_sets.sum(axis=1)
    shared.data = (3 * shared.data > 2 * sizes[shared.indices]).astype(np.float32)
    shared.eliminate_zeros()
    expanded = (sets + shared @ half_sets).tocsr()
    expanded.sort_indices()
    return expanded


def unite_sets(sets: sparse.csr_array, others: sparse.csr_array) -> sparse.csr_array:
    """Step 3 with cameras: an image's mutual neighbours within its camera, and those across.

    Args:
        sets: (N, N) of ones, sorted indices.
        others: (N, N) of ones, sorted indices.

    Returns:
        float32 (N, N): non-zero where a column belongs to either. Sorted indices.
    """
    united = (sets + others).tocsr()
    united.sort_indices()
    return united


def encode(
    sets: sparse.csr_array,
    features: np.ndarray | Tensor,
    neighbors: Neighbors,
    farthest: np.ndarray | None = None,
) -> sparse.csr_array:
    """Step 4: weigh the members of each set by ``exp(-D_ij)``, normalised over the set.

    Args:
        sets: (N, N), non-zero at the members of R*(i), sorted indices.
        features: float32 (N, D), rows of unit norm.
        neighbors: Whose similarities are used again; other pairs are multiplied anew.
        farthest: float32 (N,), largest ``2 - 2·cos`` of each row, > 0, by which its distances are divided ('full');
            None leaves them as they are ('faiss').

    Returns:
        float32 (N, N), rows sum to 1.
    """
    rows = np.repeat(np.arange(sets.shape[0], dtype=np.int64), np.diff(sets.indptr))
    distances = 2 - 2 * _pair_similarities(rows, sets.indices, features, neighbors)
    if farthest is not None:
        distances /= farthest[rows]
    weights = np.exp(-distances)
    weights /= np.add.reduceat(weights, sets.indptr[:-1])[rows]
    return sparse.csr_array((weights, sets.indices, sets.indptr), shape=sets.shape)


def expand_queries(encodings: sparse.csr_array, ranks: np.ndarray) -> sparse.csr_array:
    """Step 5: replace each encoding by the mean over the row's first neighbours, ``V <- (1/k2)·S·V``.

    Args:
        encodings: float32 (N, N).
        ranks: int (N, k2), the first neighbours, the row itself included; one that stands there twice counts twice, -1
            counts for nothing.

    Returns:
        float32 (N, N), sorted indices.
    """
    if ranks.shape[1] == 1:
        return encodings
    expanded = _rank_matrix(ranks) @ encodings
    expanded.data /= np.repeat((ranks >= 0).sum(1, dtype=np.float32), np.diff(expanded.indptr))
    expanded.sort_indices()
    return expanded


def pairs_within(
    encodings: sparse.csr_array, max_distance: float, max_pairs: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Step 6: rows, columns (int32) and Jaccard distances (float32) of the pairs ``row < column`` within reach.

    Args:
        encodings: float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
        max_distance: Keep distances up to this.
        max_pairs: How many there may be; None = any.

    Yields:
        The pairs of a few rows at a time.

    Raises:
        InputError: There are more than ``max_pairs``.
    """
    num_pairs = 0
    for first, overlaps in _upper_overlaps(encodings):
        rows = np.repeat(
            np.arange(first, first + overlaps.shape[0], dtype=np.int32), np.diff(overlaps.indptr)
        )
        distances = 1 - overlaps.data / (2 - overlaps.data)
        keep = distances <= np.float32(max_distance)
        num_pairs += int(keep.sum())
        if max_pairs is not None and num_pairs > max_pairs:
            raise too_many_pairs(max_pairs, max_distance)
        yield rows[keep], overlaps.indices[keep], distances[keep]


def _rank_matrix(ranks: np.ndarray) -> sparse.csr_array:
    """float32 (N, N) that counts how often a neighbour stands in a row's list."""
    num = len(ranks)
    known = ranks >= 0
    indptr = np.concatenate([[0], np.cumsum(known.sum(1))])
    columns = np.sort(ranks, axis=1)
    columns = columns[columns >= 0]
    matrix = sparse.csr_array((np.ones(len(columns), np.float32), columns, indptr), (num, num))
    matrix.sum_duplicates()
    return matrix


def _pair_similarities(
    rows: np.ndarray, columns: np.ndarray, features: np.ndarray | Tensor, neighbors: Neighbors
) -> np.ndarray:
    """Cosines float32 of the pairs (row, column): looked up in the neighbour lists, else multiplied."""
    num = len(neighbors.indices)
    order = np.argsort(neighbors.indices, axis=1)
    known = np.take_along_axis(neighbors.indices, order, 1) + num * np.arange(num)[:, None]
    known, values = known.ravel(), np.take_along_axis(neighbors.similarities, order, 1).ravel()
    similarities = np.zeros(len(rows), np.float32)
    missing = np.arange(len(rows))
    for left, right in ((rows, columns), (columns, rows)):
        keys = left[missing].astype(np.int64) * num + right[missing]
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        hit = known[places] == keys
        similarities[missing[hit]] = values[places[hit]]
        missing = missing[~hit]
    vectors = torch.as_tensor(features)
    step = max(1, _GATHER_ELEMENTS // vectors.shape[1])
    for start in range(0, len(missing), step):
        part = missing[start : start + step]
        dots = torch.einsum("nd,nd->n", vectors[rows[part]], vectors[columns[part]])
        similarities[part] = dots.cpu().numpy()
    return similarities


def _upper_overlaps(encodings: sparse.csr_array) -> Iterator[tuple[int, sparse.csr_array]]:
    """Yield, for blocks of rows, the first row and ``Σ_l min(V_il, V_jl)`` at every j > i that shares a column.

    Every non-zero (i, l) meets the non-zeros below it in column l. These runs of the column-major copy are laid end to
    end, which makes a CSR matrix with repeated columns; a product with the identity adds the repeats.
    """
    num = encodings.shape[0]
    by_column = encodings.tocsc()
    # Where each non-zero, in row-major order, stands in the column-major copy; the row below it is next there.
    place = np.empty(encodings.nnz, np.int64)
    place[np.argsort(encodings.indices, kind="stable")] = np.arange(encodings.nnz)
    place += 1
    below = by_column.indptr[encodings.indices.astype(np.int64) + 1] - place
    ends = np.concatenate([[0], np.cumsum(below)])[encodings.indptr]
    identity = sparse.eye_array(num, dtype=np.float32, format="csr")
    first = 0
    while first < num:
        last = int(np.searchsorted(ends, ends[first] + _PAIRS_PER_BLOCK, "right")) - 1
        last = max(last, first + 1)
        entries = slice(encodings.indptr[first], encodings.indptr[last])
        runs = below[entries]
        partner = np.arange(ends[last] - ends[first])
        partner += np.repeat(place[entries] - (np.cumsum(runs) - runs), runs)
        minima = np.minimum(np.repeat(encodings.data[entries], runs), by_column.data.take(partner))
        columns = by_column.indices.take(partner)
        pointers = ends[first : last + 1] - ends[first]
        block = sparse.csr_array((minima, columns, pointers), shape=(last - first, num))
        yield first, block @ identity
        first = last
