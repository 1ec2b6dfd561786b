"""Approximate nearest neighbours by faiss, for a million images and more; what they miss is measured on a sample."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from mmreid_uda.utils import check_vectors, make_rng
from mmreid_uda.utils.values import Count, checked

from .knn import Neighbors, require_neighbors, search_all
from .vector_index import build_engine, set_search_width

__all__ = ["find_neighbors_approximately"]


@checked
def find_neighbors_approximately(
    features: np.ndarray,
    k: int,
    index: Literal["ivf", "hnsw"] = "ivf",
    *,
    nprobe: Count = 64,
    ef_search: Count = 64,
    num_checked: Count = 1000,
    seed: int = 0,
) -> tuple[Neighbors, float]:
    """:func:`find_neighbors` without the promise to find all of them, in less than N² products.

    ``'ivf'`` sorts the images into ``4·sqrt(N)`` lists by k-means and compares an image with those of the nearest lists
    (Sivic & Zisserman, ICCV 2003); it repeats itself. ``'hnsw'`` walks a graph of near images (Malkov & Yashunin, TPAMI
    2020): often faster to search and always slower to build; its links depend on the timing of the threads, so two
    calls may differ. Both hold a copy of the features. Rows for which the index has fewer than ``k`` images to offer
    are searched exactly.

    Args:
        features: float32 (N, D), rows of unit norm.
        k: Neighbours per row, itself included, ``1 <= k <= N``.
        index: ``'ivf'`` (default) or ``'hnsw'``.
        nprobe: Lists that ``'ivf'`` looks at; more finds more and takes longer. Defaults to 64.
        ef_search: Candidates that ``'hnsw'`` keeps on its walk; likewise. Defaults to 64.
        num_checked: Rows of the sample that is searched exactly, to measure the recall. Defaults to 1000.
        seed: Of the sample and of the k-means.

    Returns:
        The neighbours (as :func:`find_neighbors` gives them, ``min_similarity`` is None), and the recall: the share of
        the true neighbours of the sample that was found, the rows themselves left out.

    Raises:
        InputError: If a parameter is out of range, features are not finite, or the package faiss is missing.
    """
    rows = check_vectors(features, "features to cluster")
    require_neighbors(rows.shape, k)
    engine = build_engine(rows, index, seed)
    set_search_width(engine, index, nprobe, ef_search)
    similarities, indices = engine.search(rows, k)
    del engine
    indices, similarities = _itself_first(indices, similarities)
    short = np.flatnonzero((indices < 0).any(1))
    similarities[short], indices[short] = _search_exactly(rows, short, k)
    rng = make_rng(seed, "recall")
    checked = rng.choice(len(rows), min(num_checked, len(rows)), replace=False)
    recall = _recall(indices[checked], _search_exactly(rows, checked, k)[1])
    similarities[:, 0] = np.einsum("nd,nd->n", rows, rows)
    return Neighbors(indices.astype(np.int32), similarities), recall


def _itself_first(indices: np.ndarray, similarities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists that begin with the row itself, then descend, lower index first among equals.

    Args:
        indices: int64 (N, k), -1 = nothing found.
        similarities: float32 (N, k).

    Returns:
        The lists; +inf is the similarity of a row to itself, and what was not found comes last.
    """
    own = np.arange(len(indices))[:, None]
    missed = ~(indices == own).any(1)
    indices[missed, -1] = own[missed, 0]
    similarities = np.where(indices == own, np.inf, similarities)
    similarities[indices < 0] = -np.inf
    order = np.lexsort((indices, -similarities))
    return np.take_along_axis(indices, order, 1), np.take_along_axis(similarities, order, 1)


def _search_exactly(rows: np.ndarray, chosen: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and indices of some rows, which come first themselves: float32 and int64 (M, k)."""
    vectors, own = torch.from_numpy(rows), torch.from_numpy(chosen)
    return search_all(vectors[own], vectors, k, own)


def _recall(found: np.ndarray, expected: np.ndarray) -> float:
    """Share of the expected neighbours that were found, both int (M, k) with the row itself first."""
    if expected.shape[1] == 1:
        return 1.0
    hits = [np.isin(true[1:], near[1:]).mean() for true, near in zip(expected, found)]
    return float(np.mean(hits))
