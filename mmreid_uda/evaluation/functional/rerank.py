"""k-reciprocal re-ranking of a gallery on sparse encodings, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mmreid_uda.neighbors.cameras import OFFICIAL, CameraLists, camera_numbers
from mmreid_uda.neighbors.jaccard import jaccard_encodings, neighbors_needed
from mmreid_uda.neighbors.jaccard_ranks import JaccardRanks
from mmreid_uda.neighbors.knn import (
    CameraNeighbors,
    Neighbors,
    Precision,
    find_camera_neighbors,
    find_neighbors,
    search_bytes,
)
from mmreid_uda.utils import InputError, kernels_available, over_rows
from mmreid_uda.utils.dist import on_every_rank
from mmreid_uda.utils.progress import Progress
from mmreid_uda.utils.row_shares import ALONE, RowShares
from mmreid_uda.utils.values import Count, Fraction, checked

from .budget import log_memory, rows_within
from .distance import as_sides, distance_blocks, row_scales
from .match_ranks import runs_compiled

__all__ = ["rerank"]

# Queries whose overlaps with the gallery are added up at once; bounds the memory of images that all resemble.
_OVERLAP_ROWS = 64


@checked
def rerank(
    query_features: Tensor | np.ndarray,
    gallery_features: Tensor | np.ndarray,
    k1: Count = 20,
    k2: Count = 6,
    lambda_value: Fraction = 0.3,
    *,
    precision: Precision = "float32",
    block_size: int | None = None,
    max_memory: str | int | None = None,
    reuse_memory: bool = False,
    query_cameras: np.ndarray | None = None,
    gallery_cameras: np.ndarray | None = None,
    camera_lists: CameraLists = OFFICIAL,
    over_ranks: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """Mix the Jaccard distance of k-reciprocal neighbourhoods into the distances of queries to gallery.

    ``final = (1 - λ)·J + λ·D``: J is the 'full' Jaccard distance on queries and gallery together, D the squared
    Euclidean distance between L2-normalised features, divided by the largest of the query's row. Neighbourhoods and
    encodings are those of :mod:`mmreid_uda.neighbors.jaccard`; nothing but neighbour lists, sparse encodings and one
    block is held. The blocks go straight into
    ``evaluate_rank(None, None, ..., distances=rerank(query_features, gallery_features))``.

    The evaluators of several papers hand squared distances to a function that squares them once more; here they are
    squared once, in D and in the encodings alike.

    With cameras, the neighbourhoods are those of CA-Jaccard (Chen et al., CVPR 2024), see
    :class:`~mmreid_uda.neighbors.CameraLists`; ``k1`` and ``k2`` then are for the parts it leaves plain.

    Args:
        query_features: (Q, D), any device.
        gallery_features: (G, D).
        k1: Neighbours of the k-reciprocal sets, >= 1; fewer if there are not so many images.
        k2: Neighbours averaged in the local query expansion, >= 1; 1 switches it off.
        lambda_value: Weight λ of the original distance, in [0, 1].
        precision: Of the search for neighbours, ``'float32'`` or ``'int8'``, as for
            :func:`~mmreid_uda.neighbors.knn`: exact either way, the second is faster on CPUs.
        block_size: Queries per block; None chooses it from the size of the gallery.
        max_memory: Budget for what is held beside the features, such as ``'4GiB'``; None sets no limit.
        reuse_memory: Every block overwrites the one before, which saves memory if nobody keeps them.
        query_cameras: int (Q,), the camera of each query, negative = unknown; None for plain neighbourhoods.
        gallery_cameras: int (G,), those of the gallery, by the same numbers.
        camera_lists: What counts as neighbourhood with cameras.
        over_ranks: Share search, encodings and blocks among all ranks, which must all call this with the same features.
            Each rank then gives its own blocks alone, taken in turn, and each is that of one process.

    Yields:
        ``(start, block)``: the index of the block's first query, and its final distances, float32 (rows, G), in [0, 1].

    Raises:
        InputError: A parameter is out of range, the features are not finite, there are cameras of queries or gallery
            alone or too few images for them, or not even one query fits into ``max_memory``; how large the encodings
            are is known only when they are made.

    Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.
    """
    query, gallery, images = _unit_images(query_features, gallery_features)
    cameras = _joined_cameras(query_cameras, gallery_cameras, len(query), len(gallery))
    if cameras is not None and camera_lists.expansion:
        k2 = max(k2, 2)  # here k2 = 1 switches off the plain expansion alone
    needed = (
        [neighbors_needed(len(images), k1, "full", k2)]
        if cameras is None
        else [*camera_lists.needed(cameras, k1, k2)]
    )
    # The features once more, what the search takes, and its lists once more.
    held = 4 * images.numel() + 8 * len(images) * sum(needed)
    held += search_bytes(len(images), images.shape[1], needed, precision)
    rows = _block_size(max_memory, held, query, gallery)
    log_memory("re-ranking", len(query), len(gallery), rows, held)
    neighbors = _find_neighbors(images, cameras, needed, precision, over_ranks)
    shares = RowShares(all(on_every_rank(kernels_available))) if over_ranks else ALONE
    encodings = jaccard_encodings(
        images, neighbors, k1, k2, variant="full", camera_lists=camera_lists, shares=shares
    )
    assert neighbors.min_similarity is not None
    nearness = neighbors.min_similarity[: len(query)]
    del neighbors
    farthest = np.maximum(2 - 2 * nearness, np.finfo(np.float32).tiny)
    scales = np.float32(lambda_value) / farthest
    of_queries, of_gallery = _split(encodings, len(query))
    held = 4 * images.numel() + 2 * (encodings.data.nbytes + encodings.indices.nbytes)
    block_size = block_size or _block_size(max_memory, held, query, gallery)
    blocks = distance_blocks(
        query,
        gallery,
        normalize=False,
        block_size=block_size,
        reuse_memory=reuse_memory,
        over_ranks=over_ranks,
    )
    for start, block in Progress("re-ranking", len(query), "queries").watch(blocks):
        part = slice(start, start + len(block))
        _mix(block, scales[part], 1 - lambda_value, of_queries[part], of_gallery)
        yield start, block


def _unit_images(query: Tensor | np.ndarray, gallery: Tensor | np.ndarray) -> tuple[Tensor, ...]:
    """Queries, gallery and both together, float32, rows of unit norm: the first two are views of the third."""
    parts = as_sides(query, gallery)
    rows = parts[0]
    scales = torch.cat([row_scales(part)[0] for part in parts])
    images = torch.cat(parts)
    images *= scales[:, None]
    return images[: len(rows)], images[len(rows) :], images


def _joined_cameras(
    query: np.ndarray | None, gallery: np.ndarray | None, num_queries: int, num_gallery: int
) -> np.ndarray | None:
    """Numbers of the cameras of queries and gallery together, int32 (Q + G,); None without."""
    if (query is None) != (gallery is None):
        raise InputError(
            f"found cameras of the {'queries' if gallery is None else 'gallery'} alone, expected those of queries and "
            "gallery: give query_cameras and gallery_cameras."
        )
    if query is None or gallery is None:
        return None
    return camera_numbers(
        np.concatenate([np.asarray(query), np.asarray(gallery)]), num_queries + num_gallery
    )


def _find_neighbors(
    images: Tensor,
    cameras: np.ndarray | None,
    needed: Sequence[int],
    precision: Precision,
    over_ranks: bool,
) -> Neighbors | CameraNeighbors:
    """Lists of ``needed`` neighbours, on every rank where the ranks share the search."""
    options: dict[str, Any] = dict(
        precision=precision, with_min_similarity=True, over_ranks=over_ranks
    )
    neighbors: Neighbors | CameraNeighbors | None
    if cameras is None:
        neighbors = find_neighbors(images, *needed, **options)
    else:
        neighbors = find_camera_neighbors(images, cameras, *needed, **options)
    if over_ranks:
        neighbors = JaccardRanks(images, neighbors).neighbors
    assert neighbors is not None
    return neighbors


def _block_size(max_memory: str | int | None, held: int, query: Tensor, gallery: Tensor) -> int:
    """Queries per block, if so many bytes are held already."""
    # Without kernels the overlaps and their sums stand beside the block.
    blocks = 1 if runs_compiled(query.device) else 4
    return rows_within(
        max_memory,
        len(gallery),
        row_bytes=4 * blocks * len(gallery),
        fixed_bytes=held,
        step="the re-ranking",
    )


def _split(
    encodings: sparse.csr_array, num_queries: int
) -> tuple[sparse.csr_array, sparse.csc_array]:
    """The queries' encodings by row, as a view, and the gallery's by column: (Q, N) and (G, N)."""
    cut, num = int(encodings.indptr[num_queries]), encodings.shape[0]
    of_gallery = sparse.csr_array(
        (encodings.data[cut:], encodings.indices[cut:], encodings.indptr[num_queries:] - cut),
        shape=(num - num_queries, num),
    )
    of_queries = sparse.csr_array(
        (encodings.data[:cut], encodings.indices[:cut], encodings.indptr[: num_queries + 1]),
        shape=(num_queries, num),
    )
    return of_queries, of_gallery.tocsc()


def _mix(
    block: Tensor,
    scales: np.ndarray,
    weight: float,
    query: sparse.csr_array,
    gallery: sparse.csc_array,
) -> None:
    """``block <- scale * block + weight * J`` in place.

    Args:
        block: float32 (rows, G), distances.
        scales: float32 (rows,).
        weight: That of the Jaccard distance.
        query: (rows, N) encodings of the queries.
        gallery: (G, N) encodings of the gallery.
    """
    if not kernels_available():
        block *= torch.from_numpy(scales)[:, None].to(block.device)
        block.add_(_jaccard_block(query, gallery).to(block.device), alpha=weight)
        return
    from . import kernels

    # On a GPU, the Jaccard part is made on the CPU.
    on_cpu = block if block.device.type == "cpu" else torch.zeros(block.shape)
    over_rows(
        kernels.mix_jaccard,
        len(block),
        on_cpu.numpy(),
        scales,
        np.float32(weight),
        query.indptr,
        query.indices,
        query.data,
        gallery.indptr,
        gallery.indices,
        gallery.data,
    )
    if on_cpu is not block:
        block *= torch.from_numpy(scales)[:, None].to(block.device)
        block += on_cpu.to(block.device)


def _jaccard_block(query: sparse.csr_array, gallery: sparse.csc_array) -> Tensor:
    """Jaccard distances ``1 - m/(2 - m)``, ``m_ij = Σ_l min(V_il, V_jl)``, as float32 (rows, G).

    Args:
        query: (rows, N) encodings of some queries.
        gallery: (G, N) encodings of the gallery, by column.
    """
    overlap = torch.cat(
        [
            _overlaps(query[first : first + _OVERLAP_ROWS], gallery)
            for first in range(0, query.shape[0], _OVERLAP_ROWS)
        ]
    )
    return (1 - overlap / (2 - overlap)).clamp_(min=0)


def _overlaps(query: sparse.csr_array, gallery: sparse.csc_array) -> Tensor:
    """Sum ``min(V_il, V_jl)`` over the columns l that both have: each non-zero meets one column of the gallery."""
    num_queries, num_gallery = query.shape[0], gallery.shape[0]
    first = gallery.indptr[query.indices].astype(np.int64)
    runs = gallery.indptr[query.indices + 1] - first
    place = np.arange(runs.sum()) + np.repeat(first - (np.cumsum(runs) - runs), runs)
    minima = np.minimum(np.repeat(query.data, runs), gallery.data[place])
    row_start = np.repeat(np.arange(num_queries) * num_gallery, np.diff(query.indptr))
    target = np.repeat(row_start, runs) + gallery.indices[place]
    overlap = torch.zeros(num_queries * num_gallery)
    overlap.index_add_(0, torch.from_numpy(target), torch.from_numpy(minima))
    return overlap.view(num_queries, num_gallery)
