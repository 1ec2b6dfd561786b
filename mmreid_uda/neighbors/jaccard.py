"""The k-reciprocal Jaccard distance as a sparse graph: seven steps on CSR matrices, never N×N.

``ranks and similarities -> k-reciprocal sets -> expanded sets -> encodings -> query expansion -> Jaccard distances
-> source term``: each arrow is one function, with arrays in and arrays out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mmreid_uda.utils import InputError, kernels_available
from mmreid_uda.utils.row_shares import ALONE, RowShares
from mmreid_uda.utils.values import Count, FractionBelowOne, PositiveFraction, checked
from mmreid_uda.utils.vectors import as_tensor

from . import jaccard_scipy
from .cameras import OFFICIAL, CameraLists, camera_numbers
from .knn import CameraNeighbors, Neighbors, find_camera_neighbors, find_neighbors
from .rank_lists import plain_lists

__all__ = [
    "BYTES_PER_ENTRY",
    "BYTES_PER_PAIR",
    "PairFinder",
    "Variant",
    "add_source_term",
    "find_pairs",
    "jaccard_distances",
    "jaccard_encodings",
    "jaccard_from_encodings",
    "jaccard_graph",
    "neighbors_needed",
    "source_distances",
]

Variant = Literal["faiss", "full"]
PairFinder = Callable[
    [sparse.csr_array, float, "int | None"], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]
]
"""As :func:`find_pairs`."""

#: Memory that a pair within reach takes at most while the graph is put together.
BYTES_PER_PAIR = 80
#: Memory that an entry of the encodings takes, with what is made of it while pairs are looked for (measured: 29).
BYTES_PER_ENTRY = 32
# Below this a distance is rounding of two equal encodings.
NEAR_ZERO = 1e-6
# Rows and columns of a block of similarities to the source.
_BLOCK_SIZE = 2048


def jaccard_graph(
    features: np.ndarray | Tensor,
    k1: int = 30,
    k2: int = 6,
    *,
    variant: Variant = "faiss",
    max_distance: float = 1.0,
    source_features: np.ndarray | Tensor | None = None,
    source_weight: float = 0.0,
    cameras: np.ndarray | None = None,
    camera_lists: CameraLists = OFFICIAL,
) -> sparse.csr_array:
    """Compute the k-reciprocal Jaccard distances of overlapping neighbourhoods (Zhong et al., CVPR 2017).

    Two variants are in use, and they differ in more than speed: ``'full'`` (MMT, ABMT; k1 = 20) ranks
    ``k1 + 1`` entries and weighs with distances divided by the largest of the row; ``'faiss'`` (SpCL, Cluster-Contrast,
    ISE; k1 = 30) ranks ``k1`` entries and weighs with ``2 - 2·cos``. With fewer images than that, all are ranked.

    With ``cameras``, neighbourhoods are those of CA-Jaccard (Chen et al., CVPR 2024), see :class:`CameraLists`: where a
    camera makes strangers in front of it look more alike than one person seen by two, the plain distance joins images
    of one camera, this one does not. ``variant`` then is about weights alone; that paper's are those of ``'faiss'``.

    Args:
        features: float32 (N, D), rows of unit norm.
        k1: Neighbours of the k-reciprocal sets, >= 1.
        k2: Neighbours averaged in the local query expansion, >= 1; 1 switches it off.
        variant: ``'faiss'`` or ``'full'``.
        max_distance: Keep distances up to this, in (0, 1]. The graph of a large eps is large.
        source_features: float32 (M, D), rows of unit norm, for the source term; None without.
        source_weight: λ of the source term, in [0, 1); ABMT uses 0.1.
        cameras: int (N,), the camera of each image, negative = unknown: a camera of its own. None, or all unknown, for
            the plain distance.
        camera_lists: What counts as neighbourhood with cameras.

    Returns:
        Symmetric float32 (N, N) with sorted indices. A stored zero is a distance of zero; the diagonal is always
        stored. A pair that is not stored is farther than ``max_distance`` or has no neighbour in common (distance 1
        before the source term).

    Raises:
        InputError: If a parameter is out of range, or λ > 0 without source features.
    """
    features = torch.as_tensor(features)
    needed = neighbors_needed(len(features), k1, variant, k2)
    numbers = camera_numbers(cameras, len(features))
    neighbors: Neighbors | CameraNeighbors | None
    if numbers is None:
        neighbors = find_neighbors(features, needed, with_min_similarity=variant == "full")
    else:
        neighbors = find_camera_neighbors(
            features,
            numbers,
            *camera_lists.needed(numbers, k1, k2),
            with_min_similarity=variant == "full",
        )
    assert neighbors is not None
    encodings = jaccard_encodings(
        features, neighbors, k1, k2, variant=variant, camera_lists=camera_lists
    )
    from_source = None
    if source_features is not None and len(source_features):
        from_source = source_distances(features, source_features)
    return jaccard_from_encodings(
        encodings, max_distance, from_source=from_source, source_weight=source_weight
    )


@checked
def neighbors_needed(num_images: int, k1: Count, variant: Variant = "faiss", k2: Count = 1) -> int:
    """Columns of the rank matrix, never more than there are images.

    'faiss' knows ``k1`` neighbours and averages over at most as many; 'full' uses ``k1 + 1``, or ``k2`` if it is more.

    Args:
        num_images: N.
        k1: Neighbours of the k-reciprocal sets.
        variant: ``'faiss'`` or ``'full'``, see :func:`jaccard_graph`.
        k2: Neighbours of the query expansion.

    Returns:
        Neighbours per image, at most N.

    Raises:
        InputError: If ``k1`` or ``k2`` is below 1 or the variant is unknown.
    """
    return min(num_images, k1 if variant == "faiss" else max(k1 + 1, k2))


def jaccard_encodings(
    features: np.ndarray | Tensor,
    neighbors: Neighbors | CameraNeighbors,
    k1: int,
    k2: int,
    *,
    variant: Variant = "faiss",
    camera_lists: CameraLists = OFFICIAL,
    shares: RowShares = ALONE,
) -> sparse.csr_array:
    """Steps 2 to 5: from neighbours to the encoding whose overlaps are the Jaccard similarity.

    Args:
        features: float32 (N, D), rows of unit norm.
        neighbors: Of these features, with :func:`neighbors_needed` columns; or those within and across cameras, as
            many as :meth:`CameraLists.needed` says.
        k1: As in :func:`jaccard_graph`.
        k2: As in :func:`jaccard_graph`.
        variant: As in :func:`jaccard_graph`.
        camera_lists: As in :func:`jaccard_graph`.
        shares: Who encodes which rows, where kernels do; every process gets all encodings.

    Returns:
        float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
    """
    if isinstance(neighbors, CameraNeighbors):
        lists = camera_lists.select(neighbors, k1, k2)
    else:
        lists = plain_lists(neighbors, k1, k2)
    farthest = None
    if variant == "full":
        assert lists.known.min_similarity is not None, (
            "the 'full' variant needs with_min_similarity=True"
        )
        farthest = np.maximum(2 - 2 * lists.known.min_similarity, np.finfo(np.float32).tiny)
    if kernels_available():
        from . import jaccard_numba

        rows = features.cpu().numpy() if isinstance(features, Tensor) else np.asarray(features)
        return jaccard_numba.averaged_encodings(rows, lists, farthest, shares)
    return jaccard_scipy.averaged_encodings(features, lists, farthest)


@checked
def jaccard_from_encodings(
    encodings: sparse.csr_array,
    max_distance: PositiveFraction = 1.0,
    *,
    from_source: np.ndarray | None = None,
    source_weight: FractionBelowOne = 0.0,
    max_pairs: int | None = None,
    find: PairFinder | None = None,
) -> sparse.csr_array:
    """Steps 6 and 7: the distances of the pairs whose encodings share a column, with the source term if λ > 0.

    Args:
        encodings: float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
        max_distance: Keep distances up to this, in (0, 1].
        from_source: float32 (N,), of :func:`source_distances`; needed if λ > 0.
        source_weight: λ, in [0, 1).
        max_pairs: As :func:`jaccard_distances`.
        find: As :func:`jaccard_distances`.

    Returns:
        Symmetric float32 (N, N), zero diagonal stored, sorted indices.

    Raises:
        InputError: If λ > 0 without ``from_source``, an argument is out of range, or there are more than ``max_pairs``.
    """
    if not source_weight:
        return jaccard_distances(encodings, max_distance, max_pairs, find)
    if from_source is None:
        raise InputError(
            f"found source_weight={source_weight} without source features, expected labelled source images: set "
            "`source` in the config, or source_weight=0."
        )
    # The source term shrinks J by (1 - λ) and only adds: nothing beyond this reach comes back below max_distance.
    reach = min(1.0, max_distance / (1 - source_weight))
    graph = jaccard_distances(encodings, reach, max_pairs, find)
    return add_source_term(graph, from_source, source_weight, max_distance)


def jaccard_distances(
    encodings: sparse.csr_array,
    max_distance: float = 1.0,
    max_pairs: int | None = None,
    find: PairFinder | None = None,
) -> sparse.csr_array:
    """Step 6: ``J_ij = 1 - m/(2 - m)`` with ``m = Σ_l min(V_il, V_jl)``, for the pairs that share a column.

    Distances below 1e-6 are rounding of equal encodings and become exact zeros, as in exact arithmetic.

    Args:
        encodings: float32 (N, N), rows of non-negative weights that sum to 1, sorted indices.
        max_distance: Keep distances up to this.
        max_pairs: Give up when more pairs than this are within reach; each takes :data:`BYTES_PER_PAIR`.
        find: Finds the pairs; None is :func:`find_pairs`.

    Returns:
        Symmetric float32 (N, N), zero diagonal stored, sorted indices.

    Raises:
        InputError: If there are more than ``max_pairs``.
    """
    num = encodings.shape[0]
    if kernels_available():
        from .jaccard_numba import symmetric_graph

        graph = symmetric_graph((find or find_pairs)(encodings, max_distance, max_pairs), num)
    else:
        rows, columns, distances = (
            np.concatenate(part)
            for part in zip(*(find or find_pairs)(encodings, max_distance, max_pairs))
        )
        diagonal = np.arange(num, dtype=rows.dtype)
        graph = sparse.coo_array(
            (
                np.concatenate([distances, distances, np.zeros(num, np.float32)]),
                (
                    np.concatenate([rows, columns, diagonal]),
                    np.concatenate([columns, rows, diagonal]),
                ),
            ),
            shape=(num, num),
        ).tocsr()
        graph.sort_indices()
    graph.data[graph.data < NEAR_ZERO] = 0
    return graph


def find_pairs(
    encodings: sparse.csr_array,
    max_distance: float,
    max_pairs: int | None = None,
    shares: RowShares = ALONE,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The pairs that :func:`jaccard_distances` makes a graph of.

    Args:
        encodings: As there.
        max_distance: As there.
        max_pairs: As there.
        shares: Who looks for which of them, where kernels do; the first process gets all of them, and the others none.

    Returns:
        Rows, columns and distances of some pairs ``row < column`` or ``row > column`` at a time, each pair once.

    Raises:
        InputError: If there are more than ``max_pairs``.
    """
    if kernels_available():
        from . import jaccard_numba

        return jaccard_numba.pairs_within(encodings, max_distance, max_pairs, shares)
    return jaccard_scipy.pairs_within(encodings, max_distance, max_pairs)


def source_distances(
    features: np.ndarray | Tensor,
    source_features: np.ndarray | Tensor,
    *,
    block_size: int = _BLOCK_SIZE,
    shares: RowShares = ALONE,
) -> np.ndarray:
    """Distance of every row to the nearest source image, ``min_j 1 - exp(-|F_i - S_j|²)``, divided by the largest.

    Similarities are multiplied on the device of ``features``, to which the others go block by block. A block is the
    same whoever multiplies it, so that processes that share find what one finds, to the last bit.

    Args:
        features: float32 (N, D), rows of unit norm.
        source_features: float32 (M, D), rows of unit norm, M >= 1, on any device.
        block_size: Rows and columns of a block of similarities. Defaults to 2048.
        shares: Who multiplies which rows; every process gets all distances.

    Returns:
        float32 (N,), in [0, 1].

    Raises:
        InputError: Of another process that shares.
    """
    target, source = as_tensor(features).float(), as_tensor(source_features).float()
    first, behind = (block_size * block for block in shares.own(-(-len(target) // block_size)))

    def find() -> list[np.ndarray]:
        own = target[first:behind]
        nearest = own.new_full((len(own),), -torch.inf)
        for part in source.split(block_size):
            columns = part.to(target.device).T
            for rows, best in zip(own.split(block_size), nearest.split(block_size)):
                torch.maximum(best, (rows @ columns).amax(1), out=best)
        return [nearest.cpu().numpy()]

    nearest = torch.from_numpy(shares.joined(find)[0])
    distances = 1 - torch.exp(-(2 - 2 * nearest).clamp_(min=0))
    return (distances / distances.max().clamp(min=torch.finfo(torch.float32).tiny)).numpy()


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
    num = graph.shape[0]
    rows = np.repeat(np.arange(num, dtype=graph.indices.dtype), np.diff(graph.indptr))
    columns = graph.indices
    pairwise = distances[rows] + distances[columns]
    values = np.float32(1 - weight) * graph.data + np.float32(weight) * pairwise
    keep = (values <= np.float32(max_distance)) | (rows == columns)
    indptr = np.append(0, np.cumsum(np.bincount(rows[keep], minlength=num)))
    indptr = indptr.astype(graph.indptr.dtype)
    return sparse.csr_array((values[keep], columns[keep], indptr), shape=graph.shape)
