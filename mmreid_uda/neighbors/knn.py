"""Exact nearest neighbours by cosine similarity, in blocks: the first step of every graph-based clusterer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor

from mmreid_uda.utils import (
    InputError,
    check_vectors,
    kernels_available,
    num_threads,
)
from mmreid_uda.utils.dist import require_same_kernels
from mmreid_uda.utils.values import checked
from mmreid_uda.utils.vectors import as_tensor

from .compiled_search import (
    FAR_CANDIDATES,
    KERNEL_BLOCK,
    MOST_SPARE,
    Precision,
    choose_coarse,
    rank_lists,
    search_by_kernels,
)
from .lists import CameraNeighbors, Neighbors, Wanted, joined
from .torch_search import GPU_BLOCK, TORCH_BLOCK, search_by_torch

__all__ = [
    "CameraNeighbors",
    "Neighbors",
    "Precision",
    "find_camera_neighbors",
    "find_neighbors",
    "knn",
    "require_neighbors",
    "search_all",
    "search_bytes",
    "unit_rows",
]

# A norm that differs from 1 by less is rounding.
_UNIT = 1e-6
# Similarities looked at together by :func:`search_all`: 64 MiB.
_SCORES_AT_ONCE = 1 << 24


def knn(
    features: np.ndarray | Tensor,
    k: int,
    *,
    precision: Precision = "float32",
    block_size: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the ``k`` most similar rows of every row, exactly.

    A row is its own first neighbour, also among exact duplicates; other ties go to the lower index. Only the upper
    triangle of blocks is multiplied, so a similarity is the same number in both directions; memory is O(N·k) plus a
    block per thread. A CUDA tensor is searched on its device. The result does not depend on the number of threads.

    Args:
        features: float32 (N, D), rows of unit norm.
        k: Neighbours per row, itself included, ``1 <= k <= N``.
        precision: ``'float32'``, or ``'int8'``: candidates are found on rows rounded to 8 bits and ranked by their
            float32 similarities; rows for which the rounding could have hidden a neighbour are searched anew in
            float32. The error of a rounded similarity is mostly a sum of independent rounding errors; the margin is 6.5
            of its standard deviations, or 1.25 times the largest error in a sample of rows. Where the CPU multiplies
            bytes no faster, which is timed at the first use, or too many features are too alike for bytes
            (:func:`~mmreid_uda.neighbors.compiled_search.choose_coarse`), candidates are found in float32 and ranked
            likewise: the clock changes no bit. On a GPU, without numba, or below 512 dimensions it is 'float32'.
        block_size: Rows and columns of a block of similarities (``4·block_size²`` bytes each); None chooses it.

    Returns:
        indices int32 (N, k) and similarities float32 (N, k), most similar first.

    Raises:
        InputError: If ``k`` is outside ``1..N``, the features are no matrix of finite numbers, or the precision is
            unknown.
    """
    rows = check_vectors(features, "features", "scale finite rows to unit norm", zeros=True)
    found = find_neighbors(rows, k, precision=precision, block_size=block_size)
    assert found is not None
    return found.indices, found.similarities


def search_bytes(
    num: int, dimensions: int, lists: Sequence[int], precision: Precision = "float32"
) -> int:
    """Memory that :func:`find_neighbors` or :func:`find_camera_neighbors` takes on a CPU beside the features.

    Args:
        num: N.
        dimensions: D.
        lists: Neighbours per row of each list.
        precision: As :func:`knn`.

    Returns:
        Bytes.
    """
    places = 8 * num * sum(lists)
    if not kernels_available():
        # Sortable keys, and a block with what topk makes of it.
        return 2 * places + 6 * 4 * min(TORCH_BLOCK, num) ** 2
    blocks = 4 * min(KERNEL_BLOCK, num) ** 2 * num_threads()
    spare = 8 * num * (len(lists) * MOST_SPARE + FAR_CANDIDATES)
    coarse = places + spare + num * dimensions if precision == "int8" else 0
    return places + blocks + coarse


def require_neighbors(shape: Sequence[int], k: int) -> None:
    """Refuse features that are no matrix, and more neighbours than there are images.

    Args:
        shape: Of the features.
        k: Neighbours per row.

    Raises:
        InputError: The shape is not (N, D), or ``k`` is outside 1..N.
    """
    if len(shape) != 2 or not 1 <= k <= shape[0]:
        raise InputError(
            f"found features of shape {tuple(shape)} and k={k} neighbours, expected (N, D) with 1 <= k <= N: "
            "lower k1 of the clusterer or add images."
        )


@checked
def find_neighbors(
    features: np.ndarray | Tensor,
    k: int,
    *,
    precision: Precision = "float32",
    with_min_similarity: bool = False,
    block_size: int | None = None,
    over_ranks: bool = False,
) -> Neighbors | None:
    """:func:`knn`, with the similarity to the farthest point as a by-product, and shared among ranks.

    Args:
        features: As :func:`knn`; the same on every rank.
        k: As :func:`knn`.
        precision: As :func:`knn`.
        with_min_similarity: Fill :attr:`Neighbors.min_similarity`, which scales the distances of the 'full' Jaccard
            variant.
        block_size: As :func:`knn`.
        over_ranks: Deal the blocks out to all ranks, which must all call this; the result is that of one process.

    Returns:
        The neighbours; on other ranks than 0 None, if ``over_ranks``.

    Raises:
        InputError: As :func:`knn`; or some ranks have compiled kernels and others do not.
    """
    rows = as_tensor(features)
    require_neighbors(rows.shape, k)
    found = _find(
        rows,
        [Wanted(k)],
        precision=precision,
        with_min_similarity=with_min_similarity,
        block_size=block_size,
        over_ranks=over_ranks,
    )
    return None if found is None else found[0]


@checked
def find_camera_neighbors(
    features: np.ndarray | Tensor,
    cameras: np.ndarray,
    k_intra: int,
    k_inter: int,
    *,
    precision: Precision = "float32",
    with_min_similarity: bool = False,
    block_size: int | None = None,
    over_ranks: bool = False,
) -> CameraNeighbors | None:
    """The nearest in the same camera and those in the others, exactly and in one pass over the similarities.

    Args:
        features: As :func:`knn`; the same on every rank.
        cameras: int32 (N,), equal numbers for images of one camera.
        k_intra: Neighbours within the camera, the image itself included and first, ``1 <= k_intra <= N``.
        k_inter: Neighbours in other cameras, ``1 <= k_inter <= N``.
        precision: As :func:`knn`.
        with_min_similarity: As :func:`find_neighbors`: of the images of all cameras.
        block_size: As :func:`knn`.
        over_ranks: As :func:`find_neighbors`.

    Returns:
        Neighbours (N, k_intra) within and (N, k_inter) across cameras; where there are no more, the index is -1 and the
        similarity -inf. On other ranks than 0 None, if ``over_ranks``.

    Raises:
        InputError: As :func:`find_neighbors`.
    """
    rows = as_tensor(features)
    require_neighbors(rows.shape, k_intra)
    require_neighbors(rows.shape, k_inter)
    found = _find(
        rows,
        [Wanted(k_intra, cameras, same=True), Wanted(k_inter, cameras)],
        precision=precision,
        with_min_similarity=with_min_similarity,
        block_size=block_size,
        over_ranks=over_ranks,
    )
    if found is None:
        return None
    for part in found:
        missing = part.indices == len(rows)
        part.indices[missing], part.similarities[missing] = -1, -np.inf
    return CameraNeighbors(*found)


def _find(
    rows: Tensor,
    wanted: Sequence[Wanted],
    *,
    precision: Precision,
    with_min_similarity: bool,
    block_size: int | None,
    over_ranks: bool,
) -> list[Neighbors] | None:
    """Neighbours for every list that is wanted; the first has the row itself, and the smallest similarity."""
    rows = rows.to(torch.float32).contiguous()
    if over_ranks and rows.device.type == "cpu":
        require_same_kernels()
    compiled = rows.device.type == "cpu" and kernels_available()
    coarse = choose_coarse(rows, wanted, over_ranks) if compiled and precision == "int8" else None
    size = block_size or (
        KERNEL_BLOCK if compiled else TORCH_BLOCK if rows.device.type == "cpu" else GPU_BLOCK
    )
    starts = range(0, len(rows), size)
    blocks = [(first, second) for first in starts for second in starts[first // size :]]
    if over_ranks:
        blocks = blocks[get_rank() :: get_world_size()]
    if compiled:
        searches = search_by_kernels(rows, wanted, blocks, size, coarse, with_min_similarity)
    else:
        searches = search_by_torch(rows, wanted, blocks, size)
    if over_ranks:
        searches = joined(searches)
        if not searches:
            return None
    if coarse:
        searches = rank_lists(rows, wanted, searches, with_min_similarity)
    min_similarity = searches[0].min_similarity
    searches[0].scores[:, 0] = torch.einsum("nd,nd->n", rows, rows).cpu().numpy()
    if len(rows) == 1:
        min_similarity = searches[0].scores[:, 0]
    return [
        Neighbors(lists.indices, lists.scores, min_similarity if with_min_similarity else None)
        for lists in searches
    ]


def search_all(
    queries: Tensor, vectors: Tensor, k: int, own: Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compare queries with all vectors, a block of queries at a time.

    Args:
        queries: float32 (Q, D).
        vectors: float32 (N, D), on the same device.
        k: Vectors per query, ``1 <= k <= N``.
        own: int64 (Q,), the vector that is the query itself, whose similarity is then +inf. Defaults to None.

    Returns:
        Similarities float32 (Q, k), descending, and indices int64 (Q, k); of equal similarities the lower index first.
    """
    similarities = np.empty((len(queries), k), np.float32)
    indices = np.empty((len(queries), k), np.int64)
    step = max(1, _SCORES_AT_ONCE // len(vectors))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        scores = queries[part] @ vectors.T
        if own is not None:
            scores[torch.arange(len(scores)), own[part]] = torch.inf
        best = scores.topk(k, dim=1)
        similarities[part], indices[part] = best.values.cpu().numpy(), best.indices.cpu().numpy()
    order = np.lexsort((indices, -similarities))
    return np.take_along_axis(similarities, order, 1), np.take_along_axis(indices, order, 1)


@overload
def unit_rows(features: np.ndarray) -> np.ndarray: ...
@overload
def unit_rows(features: Tensor) -> Tensor: ...
def unit_rows(features: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Scale every row to unit norm.

    Args:
        features: (N, D), no zero rows, on any device.

    Returns:
        float32 (N, D); the same memory if all rows have unit norm already, as far as float32 can tell.
    """
    rows = as_tensor(features).to(torch.float32)
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    given, unit = isinstance(features, Tensor), bool(((norms - 1).abs() < _UNIT).all())
    if unit and features.dtype == (torch.float32 if given else np.float32):
        return features
    rows = rows if unit else rows / norms
    return rows if given else rows.numpy()
