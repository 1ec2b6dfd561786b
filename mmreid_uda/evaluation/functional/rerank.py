"""k-reciprocal re-ranking of a gallery on sparse encodings, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mmreid_uda.clustering.jaccard import jaccard_encodings, neighbours_needed
from mmreid_uda.clustering.knn import find_neighbours
from mmreid_uda.utils import InputError

from .distance import distance_blocks, prepare_features

__all__ = ["rerank"]

# Queries whose overlaps with the gallery are added up at once; bounds the memory of images that all resemble.
_OVERLAP_ROWS = 64


def rerank(
    query_features: Tensor | np.ndarray,
    gallery_features: Tensor | np.ndarray,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    *,
    block_size: int | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Mix the Jaccard distance of k-reciprocal neighbourhoods into the distances of queries to gallery.

    ``final = (1 - λ)·J + λ·D``: J is the 'full' Jaccard distance on queries and gallery together, D the squared
    Euclidean distance between L2-normalised features, divided by the largest of the query's row. Neighbourhoods and
    encodings are those of :mod:`mmreid_uda.clustering.jaccard`; nothing but neighbour lists, sparse encodings and one
    block is held. The blocks go straight into
    ``evaluate_rank(None, None, ..., distances=rerank(query_features, gallery_features))``.

    The evaluators of several papers hand squared distances to a function that squares them once more; here they are
    squared once, in D and in the encodings alike.

    Args:
        query_features: (Q, D), any device.
        gallery_features: (G, D).
        k1: Neighbours of the k-reciprocal sets, >= 1; fewer if there are not so many images.
        k2: Neighbours averaged in the local query expansion, >= 1; 1 switches it off.
        lambda_value: Weight λ of the original distance, in [0, 1].
        block_size: Queries per block; None chooses it from the size of the gallery.

    Yields:
        ``(start, block)``: the index of the block's first query, and its final distances, float32 (rows, G), in [0, 1].

    Raises:
        InputError: A parameter is out of range, or the features are not finite.

    Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017; METHODS §1.7.
    """
    if not 0 <= lambda_value <= 1:
        raise InputError(f"rerank's lambda_value is {lambda_value}, but must lie in 0..1.")
    query = prepare_features(query_features)
    gallery = prepare_features(gallery_features).to(query.device)
    images = torch.cat([query, gallery])
    neighbours = find_neighbours(
        images, neighbours_needed(len(images), k1, "full", k2), with_lowest=True
    )
    assert neighbours is not None and neighbours.lowest is not None
    encodings = jaccard_encodings(images, neighbours, k1, k2, variant="full")
    query_encodings, gallery_encodings = encodings[: len(query)], encodings[len(query) :].tocsc()
    farthest = torch.from_numpy(2 - 2 * neighbours.lowest).clamp_min_(
        torch.finfo(torch.float32).tiny
    )
    for start, block in distance_blocks(query, gallery, normalize=False, block_size=block_size):
        stop = start + len(block)
        jaccard = _jaccard_block(query_encodings[start:stop], gallery_encodings).to(block.device)
        block /= farthest[start:stop, None].to(block.device)
        yield start, block.mul_(lambda_value).add_(jaccard, alpha=1 - lambda_value)


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
