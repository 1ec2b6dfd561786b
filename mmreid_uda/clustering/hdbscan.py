"""HDBSCAN on the k-reciprocal Jaccard distance: clusters of any density, and no radius to choose."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from scipy import sparse

from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils.values import Count, PositiveFraction

from .jaccard_clusterer import JaccardClusterer

__all__ = ["HDBSCAN"]

# A spanning tree of a sparse graph takes zeros for missing edges; below this a Jaccard distance is rounding anyway.
_ZERO = 1e-6


@CLUSTERERS.register_module()
class HDBSCAN(JaccardClusterer):
    """Hierarchical DBSCAN (Campello et al., PAKDD 2013) by scikit-learn, on the sparse graph of Jaccard distances.

    scikit-learn takes the graph as it is if no row is shorter than ``min_samples`` and all images hang together; a few
    pairs at distance 1, where unrelated images are anyway, see to both. On the features themselves it would compare all
    pairs one by one: trees of space cells do not help in 2048 dimensions. Merges at equal distances, of which core
    distances make many, are taken in any order, here and in scikit-learn on all pairs: the heights of the hierarchy
    are the same, single images may not be.

    :attr:`info` has ``mean_degree`` (stored distances per image).

    Args:
        min_cluster_size: Smallest group that is a cluster, >= 2. Defaults to 4.
        min_samples: Neighbours that make the core distance of an image, itself included, >= 1. Defaults to 4.
        max_distance: In (0, 1]: pairs farther apart count as having no neighbour in common, distance 1. At 1 nothing is
            changed, and the graph has many times the entries of one cut at 0.9, the default.
        **kwargs: As for :class:`JaccardClusterer`.

    Raises:
        InputError: If a parameter is out of range.

    Example:
        >>> clusterer = dict(type='HDBSCAN', min_cluster_size=4)
    """

    def __init__(
        self,
        min_cluster_size: Annotated[int, Ge(2)] = 4,
        min_samples: Count = 4,
        max_distance: PositiveFraction = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.min_cluster_size, self.min_samples = min_cluster_size, min_samples
        self.max_distance = max_distance

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; nothing here is random, and ``eps_scale`` has no meaning."""
        graph = self.graph(features, self.max_distance, seed, epoch=epoch, **extras)
        self.info["mean_degree"] = graph.nnz / len(features)
        if len(features) < max(self.min_cluster_size, self.min_samples):
            return np.full(len(features), -1)
        from sklearn import cluster

        engine = cluster.HDBSCAN(
            min_cluster_size=self.min_cluster_size,
            min_samples=self.min_samples,
            metric="precomputed",
            metric_params=dict(max_distance=1.0),
            copy=False,
        )
        return engine.fit_predict(_connected(graph, self.min_samples))


def _connected(graph: sparse.csr_array, min_samples: int) -> sparse.csr_array:
    """Store the distance 1 of every image to the next ``min_samples`` ones, where no smaller distance is stored.

    Args:
        graph: float32 (N, N), symmetric; not stored = 1.
        min_samples: Entries that every row shall have at least, <= N.

    Returns:
        float64 (N, N), symmetric, without zeros.
    """
    num, coo = graph.shape[0], graph.tocoo()
    offsets = range(1, min(min_samples, num - 1) + 1)
    first = np.concatenate([np.arange(num - offset) for offset in offsets])
    second = np.concatenate([np.arange(offset, num) for offset in offsets])
    # As distance minus 1, entries at the same place add up to the smaller distance; float64 keeps all its bits.
    joined = sparse.csr_array(
        (
            np.concatenate([coo.data.astype(np.float64) - 1, np.zeros(2 * len(first))]),
            (np.concatenate([coo.row, first, second]), np.concatenate([coo.col, second, first])),
        ),
        shape=graph.shape,
    )
    joined.data = np.maximum(joined.data + 1, _ZERO)
    return joined
