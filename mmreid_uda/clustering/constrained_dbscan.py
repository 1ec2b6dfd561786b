"""DBSCAN that obeys must-links and cannot-links; on a sparse graph."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import sparse

from .constraints import Constraints
from .labels import renumber

__all__ = ["Border", "constrained_dbscan"]

Border = Literal["first", "nearest"]
"""Which cluster a border point joins."""


def constrained_dbscan(
    graph: sparse.csr_array,
    eps: float,
    min_samples: int,
    constraints: Constraints,
    border: Border = "first",
    must_is_cluster: bool = True,
    min_cluster_size: int = 2,
) -> tuple[np.ndarray, int]:
    """Cluster; see :func:`dbscan`, which this is the inside of.

    Args:
        graph: As there.
        eps: As there.
        min_samples: As there.
        constraints: As there.
        border: As there.
        must_is_cluster: As there.
        min_cluster_size: As there.

    Returns:
        int64 (N,), -1 = outlier; and how often cores within ``eps`` were not joined.
    """
    from . import forest as forests

    sizes, constrained = constraints.group_sizes, constraints.constrained
    num = len(sizes)
    forest = forests.make_forest(constraints.exclusive)
    own = np.bincount(constraints.groups, constraints.sizes * (graph.diagonal() <= eps))
    first, second, distances = _group_edges(graph, eps, constraints)
    if constrained.any():
        apart = np.zeros(len(first), np.bool_)
        asked = constrained[first] & constrained[second]
        check = forests.compiled(forests.exclusive_pairs)
        apart[asked] = check(forest, first[asked], second[asked])
        first, second, distances = first[~apart], second[~apart], distances[~apart]

    within = np.bincount(first, sizes[second], num) + np.bincount(second, sizes[first], num)
    core = own + within >= min_samples
    if must_is_cluster:
        core |= sizes >= 2
    join = forests.compiled(forests.join_allowed)
    between = np.flatnonzero(core[first] & core[second])
    between = between[np.argsort(distances[between], kind="stable")]
    refused = join(forest, first[between], second[between], False)
    number = forests.roots(forest.parent)

    outward = np.flatnonzero(core[first] != core[second])
    near, inside = first[outward], second[outward]
    near, inside = np.where(core[near], inside, near), np.where(core[near], near, inside)
    if border == "first":
        order = np.lexsort((number[inside], near))
    else:
        cheapest = np.full(num, np.inf)
        np.minimum.at(cheapest, near, distances[outward])
        order = np.lexsort((number[inside], distances[outward], near, cheapest[near]))
    join(forest, near[order], inside[order], True)

    # The root is the smallest number of the tree, the numbers follow the cores.
    root = forests.roots(forest.parent)
    first_core = np.full(num, num)
    np.minimum.at(first_core, root[core], np.flatnonzero(core))
    labels = np.where(first_core[root] < num, first_core[root], -1)
    inlier = labels >= 0
    images = np.bincount(labels[inlier], sizes[inlier], num)
    linked = np.bincount(labels[inlier], constrained[inlier], num) > 0
    labels[inlier & linked[labels] & (images[labels] < min_cluster_size)] = -1
    return renumber(labels)[constraints.groups], int(refused)


def _group_edges(
    graph: sparse.csr_array, eps: float, constraints: Constraints
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of groups up to ``eps``, each once, the smaller number first, in their order; and their distances."""
    groups = constraints.groups
    rows = np.repeat(np.arange(len(groups)), np.diff(graph.indptr))
    near = graph.data <= eps
    first, second, distances = groups[rows[near]], groups[graph.indices[near]], graph.data[near]
    once = first < second
    first, second, distances = first[once], second[once], distances[once]
    if len(np.unique(groups)) == len(groups) and graph.has_sorted_indices:
        return first, second, distances
    order = np.lexsort((distances, second, first))
    first, second, distances = first[order], second[order], distances[order]
    fresh = np.ones(len(first), np.bool_)
    fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[fresh], second[fresh], distances[fresh]
