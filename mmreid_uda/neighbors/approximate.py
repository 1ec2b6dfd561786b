"""Approximate nearest neighbours by faiss, for a million images and more; what they miss is measured on a sample."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from mmreid_uda.utils import check_vectors, make_rng
from mmreid_uda.utils.values import Count, checked

from .knn import Neighbours, require_neighbours
from .vector_index import build_engine, set_effort

__all__ = ["find_neighbours_approximately"]

# Similarities looked at together in the exact search of some rows: 64 MiB.
_SCORES_AT_ONCE = 1 << 24


@checked
def find_neighbours_approximately(
    features: np.ndarray,
    k: int,
    index: Literal["ivf", "hnsw"] = "ivf",
    *,
    effort: Count = 64,
    num_checked: Count = 1000,
    seed: int = 0,
) -> tuple[Neighbours, float]:
    """:func:`find_neighbours` without the promise to find all of them, in less than N² products.

    ``'ivf'`` sorts the images into ``4·sqrt(N)`` lists by k-means and compares an image with those of the nearest lists
    (Sivic & Zisserman, ICCV 2003); it repeats itself. ``'hnsw'`` walks a graph of near images (Malkov & Yashunin, TPAMI
    2020): often faster to search and always slower to build; its links depend on the timing of the threads, so two
    calls may differ. Both hold a copy of the features. Rows for which the index has fewer than ``k`` images to offer
    are searched exactly.

    Args:
        features: float32 (N, D), rows of unit norm.
        k: Neighbours per row, itself included, ``1 <= k <= N``.
        index: ``'ivf'`` (default) or ``'hnsw'``.
        effort: Lists looked at (ivf) or candidates kept on the walk (hnsw); more finds more and takes longer. Defaults
            to 64.
        num_checked: Rows of the sample that is searched exactly, to measure the recall. Defaults to 1000.
        seed: Of the sample and of the k-means.

    Returns:
        The neighbours (as :func:`find_neighbours` gives them, ``lowest`` is None), and the recall: the share of the
        true neighbours of the sample that was found, the rows themselves left out.

    Raises:
        InputError: If a parameter is out of range, features are not finite, or the package faiss is missing.
    """
    rows = check_vectors(features, "features to cluster")
    require_neighbours(rows.shape, k)
    engine = build_engine(rows, index, seed)
    set_effort(engine, index, effort)
    similarities, indices = engine.search(rows, k)
    del engine
    indices, similarities = _itself_first(indices, similarities)
    short = np.flatnonzero((indices < 0).any(1))
    indices[short], similarities[short] = _search_exactly(rows, short, k)
    rng = make_rng(seed, "recall")
    checked = rng.choice(len(rows), min(num_checked, len(rows)), replace=False)
    recall = _recall(indices[checked], _search_exactly(rows, checked, k)[0])
    similarities[:, 0] = np.einsum("nd,nd->n", rows, rows)
    return Neighbours(indices.astype(np.int32), similarities), recall


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
    """Lists of some rows, as :func:`_itself_first` gives them: int64 and float32 (M, k)."""
    indices, similarities = (
        np.empty((len(chosen), k), np.int64),
        np.empty((len(chosen), k), np.float32),
    )
    vectors = torch.from_numpy(rows)
    step = max(1, _SCORES_AT_ONCE // len(rows))
    for start in range(0, len(chosen), step):
        part = chosen[start : start + step]
        scores = vectors[part] @ vectors.T
        scores[torch.arange(len(part)), torch.from_numpy(part)] = torch.inf
        best = scores.topk(k, dim=1)
        indices[start : start + step] = best.indices.numpy()
        similarities[start : start + step] = best.values.numpy()
    order = np.lexsort((indices, -similarities))
    return np.take_along_axis(indices, order, 1), np.take_along_axis(similarities, order, 1)


def _recall(found: np.ndarray, expected: np.ndarray) -> float:
    """Share of the expected neighbours that were found, both int (M, k) with the row itself first."""
    if expected.shape[1] == 1:
        return 1.0
    hits = [np.isin(true[1:], near[1:]).mean() for true, near in zip(expected, found)]
    return float(np.mean(hits))
