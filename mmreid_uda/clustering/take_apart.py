"""Clusters that hold what cannot be one, taken apart: for clusterers that know no constraints."""

from __future__ import annotations

import numpy as np
import torch

from mmreid_uda.neighbors.knn import find_neighbors, unit_rows

from .constraints import Constraints
from .labels import renumber

__all__ = ["take_apart"]

# Clusters up to this size are looked at pair by pair.
_NEIGHBORS = 1024


def take_apart(
    labels: np.ndarray, features: np.ndarray, constraints: Constraints
) -> tuple[np.ndarray, int]:
    """Let the nodes of each cluster that breaks a cannot-link join anew, the nearest first, unless it is forbidden.

    Distances are cosine distances of the nodes; of more than a thousand nodes each looks at its nearest only, and what
    has joined looks on with its mean feature. A node of one image that stays alone becomes an outlier.

    Args:
        labels: int64 (M,), -1 = outlier.
        features: float32 (M, D), no zero rows.
        constraints: Between the M nodes, each a group of its own.

    Returns:
        int64 (M,), without gaps, -1 = outlier; and how many clusters were taken apart.
    """
    from . import forest as forests

    sets = np.repeat(
        np.arange(constraints.exclusive.shape[0]), np.diff(constraints.exclusive.indptr)
    )
    found = labels[constraints.exclusive.indices]
    cells, counts = np.unique(np.stack([sets, found])[:, found >= 0], axis=1, return_counts=True)
    broken = np.unique(cells[1, counts > 1])
    if not len(broken):
        return labels, 0
    forest = forests.make_forest(constraints.exclusive)
    join = forests.compiled(forests.join_allowed)
    rows = unit_rows(features)
    of_cluster = np.argsort(labels, kind="stable")
    begin = np.searchsorted(labels[of_cluster], broken, "left")
    end = np.searchsorted(labels[of_cluster], broken, "right")
    for first, last in zip(begin, end):
        members = of_cluster[first:last]
        units, parts = members, rows[members]
        while len(units) > 1:
            k = min(len(units), _NEIGHBORS + 1)
            near = find_neighbors(torch.from_numpy(parts), k)
            assert near is not None
            a = np.repeat(np.arange(len(units)), k - 1)
            b, similarity = near.indices[:, 1:].ravel(), near.similarities[:, 1:].ravel()
            low, high = np.minimum(a, b), np.maximum(a, b)
            order = np.lexsort((high, low, -similarity))
            join(forest, units[low[order]], units[high[order]], False)
            roots, number = np.unique(forests.roots(forest.parent)[members], return_inverse=True)
            if k == len(units) or len(roots) == len(units):
                break
            sums = np.zeros((len(roots), rows.shape[1]), np.float32)
            np.add.at(sums, number, rows[members])
            units, parts = roots, unit_rows(sums)
    whole = labels.copy()
    apart = np.isin(labels, broken)
    whole[apart] = labels.max() + 1 + forests.roots(forest.parent)[apart]
    sizes = np.bincount(whole[whole >= 0], constraints.sizes[whole >= 0])
    whole[apart & (sizes[whole] < 2)] = -1
    return renumber(whole), len(broken)
