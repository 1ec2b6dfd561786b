"""Clustering and ranking with dense matrices in plain torch, on any device: what ours are compared with."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "dense_dbscan",
    "dense_encodings",
    "dense_jaccard",
    "dense_neighbors",
    "dense_ranking",
    "dense_reranking",
]


def dense_neighbors(features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All similarities at once, and the largest of every row.

    Args:
        features: float32 (N, D), rows of unit norm.
        k: Neighbours.

    Returns:
        indices int64 (N, k), most similar first, and the similarities float32 (N, N).
    """
    similarities = features @ features.T
    return similarities.topk(k, dim=1).indices, similarities


def dense_encodings(
    ranks: Tensor, distances: Tensor, reciprocal: int, half: int, averaged: int
) -> Tensor:
    """k-reciprocal encodings as 0/1 matrices and their products.

    Args:
        ranks: int64 (N, at least ``reciprocal``), the image itself first.
        distances: float32 (N, N), by whose negative exponentials members are weighted.
        reciprocal: Entries of a list that count for a k-reciprocal set.
        half: Those that count for a half set.
        averaged: Lists of so many first neighbours are averaged; 1 = none.

    Returns:
        float32 (N, N), rows that sum to one.

    Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.
    """
    members, halves = (_reciprocal(ranks[:, :count]) for count in (reciprocal, half))
    # Of every member the half set joins, if two thirds of it are members already.
    joins = members * (members @ halves.T > 2 / 3 * halves.sum(1))
    members = (members + joins @ halves) > 0
    weights = torch.exp(-distances) * members
    weights /= weights.sum(1, keepdim=True)
    if averaged == 1:
        return weights
    mean = torch.zeros_like(weights)
    for column in range(averaged):
        mean += weights[ranks[:, column]]
    return mean / averaged


def dense_jaccard(encodings: Tensor, num_rows: int | None = None) -> Tensor:
    """``1 - m / (2 - m)`` with ``m_ij`` the sum of the smaller entries of two encodings.

    Args:
        encodings: float32 (N, N), non-negative.
        num_rows: Rows that are wanted; None = all.

    Returns:
        float32 (``num_rows``, N).
    """
    num = len(encodings)
    columns = encodings.T.contiguous()
    overlaps = []
    for row in encodings[:num_rows]:
        own = row.nonzero().squeeze(1)
        overlaps.append(torch.minimum(columns[own], row[own, None]).sum(0))
    overlap = torch.stack(overlaps) if overlaps else encodings.new_zeros(0, num)
    return (1 - overlap / (2 - overlap)).clamp_(min=0)


def dense_dbscan(distances: Tensor, eps: float, min_samples: int) -> Tensor:
    """DBSCAN on all distances; clusters are found by handing the smallest index on until nothing changes.

    Args:
        distances: float32 (N, N), symmetric.
        eps: Radius.
        min_samples: Neighbours of a core point, itself included.

    Returns:
        int64 (N,), -1 = outlier; clusters numbered by their first core, border points in the lowest.
    """
    near = distances <= eps
    core = near.sum(1) >= min_samples
    num = len(distances)
    labels = torch.arange(num, dtype=torch.int32, device=distances.device)
    labels = labels.masked_fill(~core, num)

    def smallest_near() -> Tensor:
        """The smallest label of the cores within reach, int32 (N,)."""
        return torch.where(near & core, labels, num).amin(1)

    while True:
        smallest = torch.where(core, smallest_near(), num)
        if torch.equal(smallest, labels):
            break
        labels = smallest
    firsts = labels[core].unique().long()
    numbers = labels.new_full((num + 1,), num)
    numbers[firsts] = torch.arange(len(firsts), dtype=torch.int32, device=labels.device)
    labels = numbers[labels.long()]
    labels = torch.where(core, labels, smallest_near())
    return labels.masked_fill(labels == num, -1).long()


def dense_ranking(
    distances: Tensor, query: tuple[Tensor, Tensor], gallery: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """MAP and rank 1 by sorting all distances; a query's images of its own camera are left out.

    Args:
        distances: float32 (Q, G).
        query: pids and camids, int64 (Q,).
        gallery: pids and camids, int64 (G,).

    Returns:
        mAP and rank 1, 0..1, the mean over queries with a match.
    """
    order = distances.argsort(dim=1, stable=True)
    matches = gallery[0][order] == query[0][:, None]
    kept = ~(matches & (gallery[1][order] == query[1][:, None]))
    hits = (matches & kept).double()
    places = kept.cumsum(1).clamp_(min=1)
    found = hits.cumsum(1)
    valid = hits.sum(1) > 0
    precision = ((found / places * hits).sum(1) / hits.sum(1).clamp(min=1))[valid]
    first = (found * kept == 1).double().argmax(1)
    at_once = (places.gather(1, first[:, None])[:, 0] == 1)[valid]
    return precision.mean().item(), at_once.double().mean().item()


def dense_reranking(
    query: Tensor, gallery: Tensor, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> Tensor:
    """Re-ranked distances of queries to the gallery, all matrices dense: float32 (Q, G).

    Args:
        query: float32 (Q, D), rows of unit norm.
        gallery: float32 (G, D), rows of unit norm.
        k1: Neighbours of the k-reciprocal sets.
        k2: Neighbours that are averaged.
        weight: Of the original distance.
    """
    ranks, similarities = dense_neighbors(torch.cat([query, gallery]), k1 + 1)
    distances = (2 - 2 * similarities).clamp_(min=0)
    del similarities
    distances /= distances.amax(1, keepdim=True)
    encodings = dense_encodings(ranks, distances, k1 + 1, round(k1 / 2) + 1, k2)
    jaccard = dense_jaccard(encodings, len(query))
    return (1 - weight) * jaccard[:, len(query) :] + weight * distances[: len(query), len(query) :]


def _reciprocal(ranks: Tensor) -> Tensor:
    """Who is among whose first neighbours and has them among its own: float32 (N, N) of 0 and 1."""
    forward = torch.zeros(len(ranks), len(ranks), device=ranks.device)
    forward.scatter_(1, ranks, 1.0)
    return forward * forward.T
