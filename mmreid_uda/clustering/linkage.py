"""Average linkage on the nearest neighbours, obedient to links: the clusterer for tracklets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from mmreid_uda.neighbors.knn import Neighbors, find_neighbors, unit_rows
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.values import Count, Positive

from .constraints import Constraints
from .labels import Clusterer, components, drop_small, renumber_by_first

__all__ = ["ConstrainedLinkage", "Merges", "average_linkage"]

# A subject in another tracklet is this much farther than in the other half of its own.
_VARIATION = 1.2
# Wrong joins that may lie behind a refusal, as a share of what single pairs suggest; the largest cosine distance.
_UNSEEN, _FARTHEST = 0.1, 2.0
# Rows whose products are taken together.
_PAIRS_AT_ONCE = 1 << 14


@CLUSTERERS.register_module()
class ConstrainedLinkage(Clusterer):
    """Join the two nearest clusters up to a threshold, unless a cannot-link forbids it.

    Distances are cosine distances of the nodes' features, averaged over all pairs between two clusters (UPGMA). Looked
    at are clusters of which two nodes are among each other's neighbours: memory grows with the number of nodes.

    ``distance_threshold='auto'`` asks the cannot-links, and where there are none the tracklets:

    * Cannot-links refuse wrong joins, and know a share ρ of all pairs of strangers: for each refusal up to
      ``(1 - ρ)/ρ`` wrong joins were made that nobody has seen. Joins stop where their number, less a tenth of that, is
      largest; a tenth, because clusters of several nodes that look alike are seen together far more often than any two.
    * Tracklets show how much one subject varies within a camera: 1.2 times the median distance between the halves of
      a tracklet.

    :attr:`info` has ``distance_threshold`` (the one used) and ``refused_joins`` (by cannot-links, up to there).

    Args:
        distance_threshold: Clusters are joined up to this mean cosine distance, > 0; or ``'auto'`` (default), which
            needs ``evidence=dict(tracklets=True)``, cannot-links, or both.
        num_neighbors: Neighbours looked at for each node. Defaults to 50.
        min_cluster_size: Images of smaller clusters become outliers, >= 1. Defaults to 2.

    Raises:
        InputError: If a parameter is out of range.

    Example:
        >>> clusterer = dict(type='ConstrainedLinkage', distance_threshold=0.1)
    """

    honors_constraints = True

    def __init__(
        self,
        distance_threshold: Positive | Literal["auto"] = "auto",
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
        """Cluster; nothing here is random. ``eps_scale`` multiplies the threshold.

        Raises:
            InputError: If nothing tells the threshold.
        """
        constraints = extras.get("constraints") or Constraints.none(np.ones(len(features)))
        rows, neighbors = unit_rows(features), extras["neighbors"]
        if self.distance_threshold == "auto":
            limit = self._limit(constraints)
            merges = average_linkage(
                rows, neighbors, constraints, limit * max(1, eps_scale), stop_early=True
            )
            threshold = merges.best_threshold(limit) * eps_scale
        else:
            threshold = self.distance_threshold * eps_scale
            merges = average_linkage(rows, neighbors, constraints, threshold)
        labels, refused = merges.labels(threshold)
        self.info.update(distance_threshold=threshold, refused_joins=float(refused))
        return drop_small(labels, self.min_cluster_size, constraints.sizes)

    def _limit(self, constraints: Constraints) -> float:
        """How far joins may go, if nothing refuses them."""
        if constraints.exclusive_share:
            return _FARTHEST
        if constraints.spread is not None:
            return _VARIATION * constraints.spread
        raise InputError(
            "found clusterer.distance_threshold='auto' with neither tracklets nor cannot-links, expected one of them: "
            "set evidence.tracklets=True where the dataset has tracklets, or give a number, such as "
            "clusterer.distance_threshold=0.1."
        )


@dataclass(frozen=True)
class Merges:
    """Joins of groups in their order.

    Args:
        groups: int64 (M,), of the nodes.
        first: int64 (J,), a group of the one cluster.
        second: int64 (J,), a group of the other.
        heights: float64 (J,), their mean distances, ascending but for rounding.
        refused: int64 (J + 1,), how often a cannot-link had refused a join before each of them, and in all.
        cost: Joins that a refusal takes away.
    """

    groups: np.ndarray
    first: np.ndarray
    second: np.ndarray
    heights: np.ndarray
    refused: np.ndarray
    cost: float

    def best_threshold(self, limit: float) -> float:
        """Where joins less the cost of refusals are most.

        Args:
            limit: The largest distance that may be.

        Returns:
            The distance of the last join that counts; of equal places the farthest.
        """
        num = self._joined(limit)
        gained = np.arange(num + 1) - self.cost * np.append(0, self.refused[:num])
        best = num - int(gained[::-1].argmax())
        return float(self.heights[best - 1]) if best else 0.0

    def _joined(self, threshold: float) -> int:
        """How many joins there are up to a distance."""
        return int(np.searchsorted(np.maximum.accumulate(self.heights), threshold, "right"))

    def labels(self, threshold: float) -> tuple[np.ndarray, int]:
        """What has joined up to a distance.

        Args:
            threshold: The distance.

        Returns:
            int64 (M,), numbered by the first nodes of the clusters, no outlier; and how often a join was refused.
        """
        num = self._joined(threshold)
        joined = components(self.first[:num], self.second[:num], int(self.groups.max()) + 1)
        return renumber_by_first(joined[self.groups]), int(self.refused[num])


def average_linkage(
    features: np.ndarray,
    neighbors: Neighbors,
    constraints: Constraints,
    threshold: float,
    stop_early: bool = False,
) -> Merges:
    """Join the two nearest clusters, again and again, unless a cannot-link forbids it.

    Args:
        features: float32 (M, D), rows of unit norm.
        neighbors: Of these rows: clusters that hold neighbours of each other are looked at.
        constraints: Between the rows; what must be one cluster is one from the start.
        threshold: Largest mean cosine distance of two clusters that are joined.
        stop_early: Stop where refusals cost half of what joins have gained at most: no best threshold lies beyond.

    Returns:
        The joins.
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
    of_first = np.repeat(groups, neighbors.indices.shape[1] - 1)
    of_second = groups[neighbors.indices[:, 1:].ravel()]
    distances = 1 - neighbors.similarities[:, 1:].ravel()
    low, high = np.minimum(of_first, of_second), np.maximum(of_first, of_second)
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
    share = constraints.exclusive_share
    cost = _UNSEEN * (1 - share) / share if share else 0.0
    merge = forests.compiled(forests.merge_nearest)
    first, second, heights, before, refused = merge(
        forest,
        sums,
        weights,
        starts,
        both[1][order].astype(np.int32),
        np.tile(distances, 2)[order],
        threshold,
        cost if stop_early else 0.0,
    )
    return Merges(groups, first, second, heights, np.append(before, refused), cost)
