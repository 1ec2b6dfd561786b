"""The k-reciprocal Jaccard distance (METHODS §1.7) as a sparse graph: seven steps on CSR matrices, never N×N.

``ranks and similarities -> k-reciprocal sets -> expanded sets -> encodings -> query expansion -> Jaccard distances
-> source term``: each arrow is one function, with arrays in and arrays out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mmreid_uda.utils import InputError

from .knn import BLOCK_SIZE, Neighbours, find_neighbours

__all__ = [
    "Variant",
    "add_source_term",
    "encode",
    "expand_queries",
    "expand_sets",
    "jaccard_distances",
    "jaccard_encodings",
    "jaccard_from_encodings",
    "jaccard_graph",
    "k_reciprocal_sets",
    "neighbours_needed",
    "rho_eps",
    "source_distances",
    "stores_share",
]

Variant = Literal["faiss", "full"]

# Below this a distance is rounding of two equal encodings; they are exact zeros for the ρ-rule, which drops them.
_ZERO = 1e-6
# Pairs of non-zeros looked at together in the last step (about 30 bytes each).
_PAIRS_PER_BLOCK = 1 << 21
# Elements of gathered features looked at together: 2 × 32 MiB.
_GATHER_ELEMENTS = 1 << 23


def jaccard_graph(
    features: np.ndarray | Tensor,
    k1: int = 30,
    k2: int = 6,
    *,
    variant: Variant = "faiss",
    max_distance: float = 1.0,
    source_features: np.ndarray | Tensor | None = None,
    source_weight: float = 0.0,
) -> sparse.csr_array:
    """Compute the k-reciprocal Jaccard distances of overlapping neighbourhoods (Zhong et al., CVPR 2017).

    Two variants are in use, and they differ in more than speed (METHODS §1.7): ``'full'`` (MMT, ABMT; k1 = 20) ranks
    ``k1 + 1`` entries and weighs with distances divided by the largest of the row; ``'faiss'`` (SpCL, Cluster-Contrast,
    ISE; k1 = 30) ranks ``k1`` entries and weighs with ``2 - 2·cos``. With fewer images than that, all are ranked.

    Args:
        features: float32 (N, D), rows of unit norm.
        k1: Neighbours of the k-reciprocal sets, >= 1.
        k2: Neighbours averaged in the local query expansion, >= 1; 1 switches it off.
        variant: ``'faiss'`` or ``'full'``.
        max_distance: Keep distances up to this, in (0, 1]. The graph of a large eps is large.
        source_features: float32 (M, D), rows of unit norm, for the source term; None without.
        source_weight: λ of the source term, in [0, 1); ABMT uses 0.1.

    Returns:
        Symmetric float32 (N, N) with sorted indices. A stored zero is a distance of zero; the diagonal is always
        stored. A pair that is not stored is farther than ``max_distance`` or has no neighbour in common (distance 1
        before the source term).

    Raises:
        InputError: If a parameter is out of range, or λ > 0 without source features.
    """
    features = torch.as_tensor(features)
    neighbours = find_neighbours(features, neighbours_needed(len(features), k1, variant, k2))
    encodings = jaccard_encodings(features, neighbours, k1, k2, variant=variant)
    from_source = None
    if source_features is not None and len(source_features):
        from_source = source_distances(features, source_features)
    return jaccard_from_encodings(
        encodings, max_distance, from_source=from_source, source_weight=source_weight
    )


def neighbours_needed(num_images: int, k1: int, variant: Variant = "faiss", k2: int = 1) -> int:
    """Columns of the rank matrix, never more than there are images.

    'faiss' knows ``k1`` neighbours and averages over at most as many; 'full' uses ``k1 + 1``, or ``k2`` if it is more.

    Raises:
        InputError: If ``k1`` or ``k2`` is below 1 or the variant is unknown.
    """
    if k1 < 1 or k2 < 1 or variant not in ("faiss", "full"):
        raise InputError(
            f"found k1={k1}, k2={k2} and variant={variant!r}, expected k1 >= 1, k2 >= 1 (1 = no query expansion) and "
            "'faiss' or 'full': change the clusterer."
        )
    return min(num_images, k1 if variant == "faiss" else max(k1 + 1, k2))


def jaccard_encodings(
    features: np.ndarray | Tensor,
    neighbours: Neighbours,
    k1: int,
    k2: int,
    *,
    variant: Variant = "faiss",
) -> sparse.csr_array:
    """Steps 2 to 5: from neighbours to the encoding whose overlaps are the Jaccard similarity.

    Args:
        features: float32 (N, D), rows of unit norm.
        neighbours: Of these features, with :func:`neighbours_needed` columns.
        k1: As in :func:`jaccard_graph`.
        k2: As in :func:`jaccard_graph`.
        variant: As in :func:`jaccard_graph`.

    Returns:
        float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
    """
    ranks = neighbours.indices
    half = (
        int(np.around(k1 / 2)) + 1
    )  # rounds halves to even, as the reference does: k1 = 5 gives 2 + 1
    sets = expand_sets(k_reciprocal_sets(ranks[:, : k1 + 1]), k_reciprocal_sets(ranks[:, :half]))
    farthest = 2 - 2 * neighbours.lowest if variant == "full" else None
    return expand_queries(encode(sets, features, neighbours, farthest), ranks[:, :k2])


def k_reciprocal_sets(ranks: np.ndarray) -> sparse.csr_array:
    """Step 2: keep the neighbours that have the row among their own neighbours.

    Args:
        ranks: int64 (N, k), neighbours of each row, itself first.

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


def encode(
    sets: sparse.csr_array,
    features: np.ndarray | Tensor,
    neighbours: Neighbours,
    farthest: np.ndarray | None = None,
) -> sparse.csr_array:
    """Step 4: weigh the members of each set by ``exp(-D_ij)``, normalised over the set.

    Args:
        sets: (N, N), non-zero at the members of R*(i), sorted indices.
        features: float32 (N, D), rows of unit norm.
        neighbours: Whose similarities are used again; other pairs are multiplied anew.
        farthest: float32 (N,), largest ``2 - 2·cos`` of each row, by which its distances are divided ('full');
            None leaves them as they are ('faiss').

    Returns:
        float32 (N, N), rows sum to 1.
    """
    rows = np.repeat(np.arange(sets.shape[0], dtype=np.int64), np.diff(sets.indptr))
    distances = 2 - 2 * _pair_similarities(rows, sets.indices, features, neighbours)
    if farthest is not None:
        distances /= np.maximum(farthest, np.finfo(np.float32).tiny)[rows]
    weights = np.exp(-distances)
    weights /= np.add.reduceat(weights, sets.indptr[:-1])[rows]
    return sparse.csr_array((weights, sets.indices, sets.indptr), shape=sets.shape)


def expand_queries(encodings: sparse.csr_array, ranks: np.ndarray) -> sparse.csr_array:
    """Step 5: replace each encoding by the mean over the row's first neighbours, ``V <- (1/k2)·S·V``.

    Args:
        encodings: float32 (N, N).
        ranks: int64 (N, k2), the first neighbours, the row itself included.

    Returns:
        float32 (N, N), sorted indices.
    """
    if ranks.shape[1] == 1:
        return encodings
    expanded = _rank_matrix(ranks) @ encodings
    expanded.data /= np.float32(ranks.shape[1])
    expanded.sort_indices()
    return expanded


def jaccard_from_encodings(
    encodings: sparse.csr_array,
    max_distance: float = 1.0,
    *,
    from_source: np.ndarray | None = None,
    source_weight: float = 0.0,
) -> sparse.csr_array:
    """Steps 6 and 7: the distances of the pairs whose encodings share a column, with the source term if λ > 0.

    Args:
        encodings: float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
        max_distance: Keep distances up to this, in (0, 1].
        from_source: float32 (N,), of :func:`source_distances`; needed if λ > 0.
        source_weight: λ, in [0, 1).

    Returns, errors: as :func:`jaccard_graph`.
    """
    if not 0 < max_distance <= 1:
        raise InputError(
            f"found max_distance={max_distance}, expected 0 < max_distance <= 1: Jaccard distances end at 1, lower eps."
        )
    if not 0 <= source_weight < 1:
        raise InputError(f"found source_weight={source_weight}, expected 0 <= source_weight < 1.")
    if not source_weight:
        return jaccard_distances(encodings, max_distance)
    if from_source is None:
        raise InputError(
            f"found source_weight={source_weight} without source features, expected labelled source images: set "
            "`source` in the config, or source_weight=0."
        )
    # The source term shrinks J by (1 - λ) and only adds: nothing beyond this reach comes back below max_distance.
    reach = min(1.0, max_distance / (1 - source_weight))
    graph = jaccard_distances(encodings, reach)
    return add_source_term(graph, from_source, source_weight, max_distance)


def jaccard_distances(encodings: sparse.csr_array, max_distance: float = 1.0) -> sparse.csr_array:
    """Step 6: ``J_ij = 1 - m/(2 - m)`` with ``m = Σ_l min(V_il, V_jl)``, for the pairs that share a column.

    Distances below 1e-6 are rounding of equal encodings and become exact zeros, as in exact arithmetic.

    Args:
        encodings: float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
        max_distance: Keep distances up to this.

    Returns:
        Symmetric float32 (N, N), zero diagonal stored, sorted indices.
    """
    parts = [
        _truncated(first, overlaps, np.float32(max_distance))
        for first, overlaps in _upper_overlaps(encodings)
    ]
    rows, columns, distances = (np.concatenate(part) for part in zip(*parts))
    diagonal = np.arange(encodings.shape[0], dtype=rows.dtype)
    return _csr(
        np.concatenate([rows, columns, diagonal]),
        np.concatenate([columns, rows, diagonal]),
        np.concatenate([distances, distances, np.zeros(len(diagonal), np.float32)]),
        encodings.shape[0],
    )


def source_distances(
    features: np.ndarray | Tensor,
    source_features: np.ndarray | Tensor,
    *,
    block_size: int = BLOCK_SIZE,
) -> np.ndarray:
    """Distance of every row to the nearest source image, ``min_j 1 - exp(-|F_i - S_j|²)``, divided by the largest.

    Args:
        features: float32 (N, D), rows of unit norm.
        source_features: float32 (M, D), rows of unit norm, M >= 1.
        block_size: Rows and columns of a block of similarities. Defaults to 2048.

    Returns:
        float32 (N,), in [0, 1].
    """
    target = torch.as_tensor(features).float()
    source = torch.as_tensor(source_features).float().to(target.device)
    nearest = torch.cat(
        [
            torch.stack([(rows @ part.T).amax(1) for part in source.split(block_size)]).amax(0)
            for rows in target.split(block_size)
        ]
    )
    distances = 1 - torch.exp(-(2 - 2 * nearest).clamp_(min=0))
    return (distances / distances.max().clamp(min=torch.finfo(torch.float32).tiny)).cpu().numpy()


def add_source_term(
    graph: sparse.csr_array, distances: np.ndarray, weight: float, max_distance: float = 1.0
) -> sparse.csr_array:
    """Step 7: ``J <- (1-λ)·J + λ·(s_i + s_j)``, which moves images far from the source away from everything.

    The diagonal becomes ``2λ·s_i`` and stays, whatever its size: a point may then lie outside its own radius, as in the
    reference implementation.

    Args:
        graph: The Jaccard graph.
        distances: float32 (N,), s of :func:`source_distances`.
        weight: λ, in [0, 1).
        max_distance: Keep distances up to this.

    Returns:
        A new graph.
    """
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    columns = graph.indices
    pairwise = distances[rows] + distances[columns]
    values = np.float32(1 - weight) * graph.data + np.float32(weight) * pairwise
    keep = (values <= np.float32(max_distance)) | (rows == columns)
    return _csr(rows[keep], columns[keep], values[keep], graph.shape[0])


def rho_eps(
    distances: sparse.csr_array | np.ndarray, rho: float, max_distance: float = 1.0
) -> float:
    """Choose eps as the mean of the smallest ρ-share of the non-zero pairwise distances (METHODS §1.8).

    Of ``n`` non-zero distances the ``round(ρ·n)`` smallest are averaged, at least one. A graph stands for all N(N-1)/2
    pairs: those it does not store lie beyond ``max_distance``, or at exactly 1 if that is where it was cut.

    Args:
        distances: A symmetric graph of :func:`jaccard_graph`, or the plain values of all pairs, any shape. A graph with
            source term λ must be cut at ``1 - λ`` or below, where no pair without a common neighbour can lie.
        rho: Share, in (0, 1]; MMT 1.6e-3, ABMT 2e-3.
        max_distance: Where the graph was cut.

    Returns:
        eps.

    Raises:
        InputError: If ρ is out of range, all distances are zero, or the graph was cut so low that the share reaches
            beyond it.
    """
    if not 0 < rho <= 1:
        raise InputError(f"found rho={rho}, expected 0 < rho <= 1: change rho of the clusterer.")
    values, num_nonzero = _nonzero_distances(distances)
    if not num_nonzero:
        raise InputError(
            "found no two images at a distance above 0, so eps='auto' has nothing to average: the features have "
            "collapsed (lower optim_wrapper.optimizer.lr) or there are fewer than 2 images."
        )
    top = _share(num_nonzero, rho)
    beyond = max(0, top - values.size)
    if beyond and max_distance < 1:
        raise InputError(
            f"found {values.size} distances up to {max_distance}, expected the {top} smallest for rho={rho}: "
            "compute the graph with a larger max_distance, or lower rho."
        )
    smallest = np.partition(values, top - 1)[:top] if top < values.size else values
    return float((smallest.sum(dtype=np.float64) + beyond) / top)


def stores_share(graph: sparse.csr_array, rho: float) -> bool:
    """Whether a truncated graph holds all distances that :func:`rho_eps` averages."""
    values, num_nonzero = _nonzero_distances(graph)
    return values.size >= _share(num_nonzero, rho)


def _nonzero_distances(distances: sparse.csr_array | np.ndarray) -> tuple[np.ndarray, int]:
    """The non-zero distances at hand, each pair once, and how many there are with those not stored."""
    if isinstance(distances, np.ndarray):
        values = distances[distances != 0]
        return values, values.size
    pairs = sparse.triu(distances, k=1, format="coo").data
    values = pairs[pairs != 0]
    num_images = distances.shape[0]
    return values, num_images * (num_images - 1) // 2 - (pairs.size - values.size)


def _share(num: int, rho: float) -> int:
    return max(1, int(np.round(rho * num)))


def _rank_matrix(ranks: np.ndarray) -> sparse.csr_array:
    """float32 (N, N) with a one at every (row, neighbour)."""
    num, k = ranks.shape
    indptr = np.arange(0, num * k + 1, k)
    ones = np.ones(num * k, np.float32)
    matrix = sparse.csr_array((ones, np.sort(ranks, axis=1).ravel(), indptr), shape=(num, num))
    matrix.has_canonical_format = True
    return matrix


def _pair_similarities(
    rows: np.ndarray, columns: np.ndarray, features: np.ndarray | Tensor, neighbours: Neighbours
) -> np.ndarray:
    """Cosines float32 of the pairs (row, column): looked up in the neighbour lists, else multiplied."""
    num = len(neighbours.indices)
    order = np.argsort(neighbours.indices, axis=1)
    known = np.take_along_axis(neighbours.indices, order, 1) + num * np.arange(num)[:, None]
    known, values = known.ravel(), np.take_along_axis(neighbours.similarities, order, 1).ravel()
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


def _upper_overlaps(
    encodings: sparse.csr_array,
) -> Iterator[tuple[int, sparse.csr_array]]:
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


def _truncated(
    first: int, overlaps: sparse.csr_array, max_distance: np.float32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and Jaccard distances of a block of overlaps, those up to ``max_distance``."""
    rows = np.repeat(
        np.arange(first, first + overlaps.shape[0], dtype=np.int32), np.diff(overlaps.indptr)
    )
    distances = 1 - overlaps.data / (2 - overlaps.data)
    distances[distances < _ZERO] = 0
    keep = distances <= max_distance
    return rows[keep], overlaps.indices[keep], distances[keep]


def _csr(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, num: int) -> sparse.csr_array:
    """A square CSR matrix of distinct entries, zeros kept, indices sorted."""
    graph = sparse.coo_array((values, (rows, columns)), shape=(num, num)).tocsr()
    graph.sort_indices()
    return graph
