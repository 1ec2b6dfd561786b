"""Average linkage on the nearest neighbours, obedient to links: the clusterer for tracklets."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from mmreid_uda.neighbors.knn import Neighbors, find_neighbors, unit_rows
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import check_vectors
from mmreid_uda.utils.values import Count, Positive

from .constraints import Constraints
from .labels import Clusterer, drop_small

__all__ = ["ConstrainedLinkage", "average_linkage"]

# Rows whose products are taken together.
_PAIRS_AT_ONCE = 1 << 14


@CLUSTERERS.register_module()
class ConstrainedLinkage(Clusterer):
    """Join the two nearest clusters up to a threshold, unless a cannot-link forbids it.

    Distances are cosine distances of the nodes' features, averaged over all pairs between two clusters (UPGMA). Looked
    at are clusters of which two nodes are among each other's neighbours: memory grows with the number of nodes.

    :attr:`info` has ``distance_threshold`` (the one used) and ``refused_joins`` (by cannot-links).

    Args:
        distance_threshold: Clusters are joined up to this mean cosine distance, in (0, 2).
        num_neighbors: Neighbours looked at for each node. Defaults to 50.
        min_cluster_size: Images of smaller clusters become outliers, >= 1. Defaults to 2.

    Raises:
        InputError: If a parameter is out of range.

    Example:
        >>> clusterer = dict(type='ConstrainedLinkage', distance_threshold=0.3)
    """

    honors_constraints = True

    def __init__(
        self,
        distance_threshold: Positive = 0.3,
        num_neighbors: Count = 50,
        min_cluster_size: Count = 2,
    ) -> None:
        super().__init__()
        self.distance_threshold = distance_threshold
        self.num_neighbors, self.min_cluster_size = num_neighbors, min_cluster_size

    def prepare(
        self,
        features: np.ndarray | Tensor,
        *,
        over_ranks: bool = False,
        cameras: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """Find the neighbours, on the device of the features; every rank takes a share of the blocks."""
        rows = unit_rows(check_vectors(features, "features to cluster"))
        neighbors = find_neighbors(
            rows, min(self.num_neighbors + 1, len(rows)), over_ranks=over_ranks
        )
        return None if neighbors is None else dict(neighbors=neighbors)

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; nothing here is random. ``eps_scale`` multiplies the threshold."""
        constraints = extras.get("constraints") or Constraints.none(np.ones(len(features)))
        threshold = self.distance_threshold * eps_scale
        labels, refused = average_linkage(
            unit_rows(features), extras["neighbors"], threshold, constraints
        )
        self.info.update(distance_threshold=threshold, refused_joins=float(refused))
        return drop_small(labels, self.min_cluster_size, constraints.sizes)


def average_linkage(
    features: np.ndarray,
    neighbors: Neighbors,
    threshold: float,
    constraints: Constraints,
) -> tuple[np.ndarray, int]:
    """Join the two nearest clusters, again and again, unless a cannot-link forbids it.

    Args:
        features: float32 (M, D), rows of unit norm.
        neighbors: Of these rows: clusters that hold neighbours of each other are looked at.
        threshold: Largest mean cosine distance of two clusters that are joined.
        constraints: Between the rows; what must be one cluster is one from the start.

    Returns:
        int64 (M,), numbered by the first nodes of the clusters, no outlier; and how often a join was refused.
    """
    from . import forest as forests

    groups = constraints.groups
    forest = forests.make_forest(constraints.exclusive)
    num = len(forest.parent)
    if num == len(features):
        sums, weights = features.copy(), np.ones(num)
    else:
        sums = np.zeros((num, features.shape[1]), np.float32)
        np.add.at(sums, groups, features)
        weights = np.bincount(groups).astype(np.float64)
    first = np.repeat(groups, neighbors.indices.shape[1] - 1)
    second = groups[neighbors.indices[:, 1:].ravel()]
    distances = 1 - neighbors.similarities[:, 1:].ravel()
    low, high = np.minimum(first, second), np.maximum(first, second)
    apart = np.flatnonzero(low < high)
    keys, chosen = np.unique(low[apart] * num + high[apart], return_index=True)
    low, high, distances = keys // num, keys % num, distances[apart[chosen]]
    several = np.flatnonzero((weights[low] > 1) | (weights[high] > 1))
    for start in range(0, len(several), _PAIRS_AT_ONCE):
        part = several[start : start + _PAIRS_AT_ONCE]
        a, b = low[part], high[part]
        distances[part] = 1 - np.einsum("nd,nd->n", sums[a], sums[b]) / (weights[a] * weights[b])
    both = np.concatenate([low, high]), np.concatenate([high, low])
    order = np.lexsort((both[1], both[0]))
    starts = np.concatenate([[0], np.cumsum(np.bincount(both[0], minlength=num))])
    merge = forests.compiled(forests.merge_nearest)
    _, refused = merge(
        forest,
        sums,
        weights,
        starts,
        both[1][order].astype(np.int32),
        np.tile(distances, 2)[order],
        threshold,
    )
    root = forests.roots(forest.parent)
    return np.unique(root, return_inverse=True)[1][groups], int(refused)
