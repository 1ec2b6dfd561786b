"""Candidates for the lists of neighbours, whoever names them: which are the nearest, and which it should be."""

from __future__ import annotations

import numpy as np
import torch

from mmreid_uda.utils import kernels_available
from mmreid_uda.utils.vectors import as_tensor

from .compiled_search import search_rows
from .knn import search_all
from .lists import Lists, Wanted

__all__ = ["LOOKED_UP", "available", "exact_candidates", "rank_candidates"]

# Numbers of candidates that are looked up together without kernels: 32 MiB.
LOOKED_UP = 1 << 23


def rank_candidates(rows: np.ndarray, first: int, candidates: np.ndarray, wanted: Wanted) -> Lists:
    """The nearest of some candidates, by the similarities of the float32 rows.

    Args:
        rows: float32 (N, D).
        first: Row whose candidates are the first.
        candidates: int32 (n, c), in any order; what is outside 0..N-1 is nobody, and who is named twice counts once.
        wanted: Who competes.

    Returns:
        Lists (n, k), the row itself first, with similarity +inf, where it stands in its own list; N and -inf where the
        candidates have ended.
    """
    num = len(candidates)
    lists = Lists.empty(num, wanted, np.float32)
    lists.indices[:] = len(rows)
    ordered = np.sort(candidates, 1)
    if kernels_available():
        from . import kernels

        rule = (wanted.cameras, wanted.same, wanted.itself)
        kernels.rank_candidates(0, num, first, rows, ordered, *rule, lists.indices, lists.scores)
        return lists
    together = max(1, LOOKED_UP // max(1, ordered.shape[1] * rows.shape[1]))
    for start in range(0, num, together):
        part = ordered[start : start + together]
        own = np.arange(first + start, first + start + len(part))[:, None]
        repeated = np.zeros(part.shape, bool)
        repeated[:, 1:] = part[:, 1:] == part[:, :-1]
        nobody = repeated | (part < 0) | (part >= len(rows)) | (part == own)
        looked_up = rows[np.where(nobody, 0, part)]
        scores = np.einsum("nd,ncd->nc", rows[own[:, 0]], looked_up)
        scores[nobody] = -np.inf
        part, scores = (
            np.concatenate([own, part], 1),
            np.pad(scores, ((0, 0), (1, 0)), constant_values=np.inf),
        )
        order = np.lexsort((part, -scores))[:, : wanted.k]
        width, at = order.shape[1], slice(start, start + len(part))
        lists.scores[at, :width] = np.take_along_axis(scores, order, 1)
        lists.indices[at, :width] = np.take_along_axis(part, order, 1)
    lists.indices[np.isneginf(lists.scores)] = len(rows)
    return lists


def available(wanted: Wanted, chosen: np.ndarray, num: int) -> np.ndarray:
    """How many neighbours there are for the lists of some rows.

    Args:
        wanted: Who competes.
        chosen: int64 (M,), the rows.
        num: N.

    Returns:
        int64 (M,).
    """
    there = np.full(len(chosen), num)
    if wanted.cameras.size:
        there = np.bincount(wanted.cameras)[wanted.cameras[chosen]]
        there = there if wanted.same else num - there
    return np.minimum(there, wanted.k)


def exact_candidates(rows: np.ndarray, chosen: np.ndarray, wanted: Wanted) -> np.ndarray:
    """The true neighbours of some rows.

    Args:
        rows: float32 (N, D).
        chosen: int64 (M,), the rows.
        wanted: Who competes.

    Returns:
        int32 (M, k); N where there are no more.
    """
    if kernels_available():
        lists = search_rows(rows, chosen, wanted)
        lists.indices[np.isneginf(lists.scores)] = len(rows)
        return lists.indices
    vectors, own = as_tensor(rows), torch.from_numpy(chosen)
    return search_all(vectors[own], vectors, wanted.k, own)[1].astype(np.int32)
