"""Agglomerative clustering on the k-reciprocal Jaccard distance: merge the nearest clusters up to a threshold."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, Positive, PositiveFraction

from .jaccard_clusterer import JaccardClusterer
from .labels import components, drop_small

__all__ = ["Agglomerative"]

# Images that hang together are merged on a dense matrix, about 16 bytes per pair: 1 GiB here.
_MOST_TOGETHER = 8192


@CLUSTERERS.register_module()
class Agglomerative(JaccardClusterer):
    """Average, complete or single linkage by scikit-learn, of Jaccard distances.

    Two clusters can only be merged below the threshold if a pair of their images is nearer than it. So the images fall
    into the connected components of the graph cut there, and scikit-learn, which needs all distances in one matrix,
    gets one component at a time: the result is that of the matrix of all images. Its own way of using a sparse graph
    would average over stored pairs only, and compare the features of every pair anew.

    :attr:`info` has ``distance_threshold`` (the one used) and ``largest_component`` (images merged together).

    Args:
        distance_threshold: Clusters are merged below this, in (0, max_distance). Defaults to 0.6.
        linkage: ``'average'`` (default), ``'complete'`` or ``'single'``.
        min_cluster_size: Images of smaller clusters become outliers, >= 1. Defaults to 2.
        max_distance: As for :class:`HDBSCAN`.
        **kwargs: As for :class:`JaccardClusterer`.

    Raises:
        InputError: If a parameter is out of range, or too many images hang together.

    Example:
        >>> clusterer = dict(type='Agglomerative', distance_threshold=0.6, linkage='average')
    """

    def __init__(
        self,
        distance_threshold: Positive = 0.6,
        linkage: Literal["average", "complete", "single"] = "average",
        min_cluster_size: Count = 2,
        max_distance: PositiveFraction = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if distance_threshold >= max_distance:
            raise InputError(
                f"found distance_threshold={distance_threshold} and max_distance={max_distance} for Agglomerative, "
                "expected the threshold below: lower it, or raise max_distance."
            )
        self.distance_threshold, self.linkage = distance_threshold, linkage
        self.min_cluster_size, self.max_distance = min_cluster_size, max_distance

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; nothing here is random. ``eps_scale`` multiplies the threshold, which ends at ``max_distance``.

        Raises:
            InputError: If too many images hang together.
        """
        graph = self.graph(features, self.max_distance, seed, epoch=epoch, **extras)
        threshold = min(self.distance_threshold * eps_scale, self.max_distance)
        labels = np.empty(len(features), np.int64)
        rows = np.repeat(np.arange(len(features)), np.diff(graph.indptr))
        near = graph.data <= threshold
        component = components(rows[near], graph.indices[near], len(features))
        sizes = np.bincount(component)
        self.info.update(distance_threshold=threshold, largest_component=float(sizes.max()))
        if sizes.max() > _MOST_TOGETHER:
            raise InputError(
                f"found {sizes.max()} of {len(features)} images linked by distances up to {threshold:g}, expected at "
                f"most {_MOST_TOGETHER}: lower distance_threshold of Agglomerative, or choose 'JaccardDBSCAN'."
            )
        # With the images in the order of their components, each component is a square on the diagonal.
        order = np.argsort(component, kind="stable")
        ordered = graph[order][:, order]
        ends = np.cumsum(sizes)
        first_label = 0
        for start, end in zip(ends - sizes, ends):
            merged = self._merge(ordered[start:end][:, start:end], threshold)
            labels[order[start:end]] = first_label + merged
            first_label += merged.max() + 1
        return drop_small(labels, self.min_cluster_size)

    def _merge(self, distances: sparse.csr_array, threshold: float) -> np.ndarray:
        """Labels int (n,) of the images of a component."""
        if distances.shape[0] == 1:
            return np.zeros(1, np.int64)
        dense = np.ones(distances.shape, np.float32)
        stored = distances.tocoo()
        dense[stored.row, stored.col] = stored.data
        from sklearn import cluster

        engine = cluster.AgglomerativeClustering(
            n_clusters=None,
            metric="precomputed",
            linkage=self.linkage,
            distance_threshold=threshold,
        )
        return engine.fit_predict(dense)
