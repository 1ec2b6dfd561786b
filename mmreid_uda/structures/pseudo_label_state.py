"""The outcome of one clustering step, as every consumer of it sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from scipy import sparse
from torch import Tensor

from .class_means import class_means
from .evidence import Evidence

__all__ = ["PseudoLabelState"]


def _not_clustered(features: Tensor) -> Tensor:
    raise RuntimeError("this state was made by hand: nothing clusters other features for it")


def _no_distances(max_distance: float) -> sparse.csr_array:
    raise RuntimeError("this state was made by hand: it comes from no distances")


@dataclass
class PseudoLabelState:
    """Pseudo-labels of one epoch with the features they were made from.

    Indices always refer to the full list of the target's training images, outliers included.

    Args:
        epoch: Epoch that is about to be trained, 0-based.
        labels: int64 (N,), ``0..num_clusters-1``, -1 = outlier; every class has at least one member.
        features: float32 (N, D), what was clustered, as ``cluster_features`` gave it: mostly of unit norm.
        seed: Seed for draws that depend on the labels (for instance a random instance per cluster).
        statistics: Figures for the log: clusters, outliers, quality, seconds.
        cluster: Clusters other features of the same images, float32 (N, D), with the same clusterer, seed and epoch,
            and gives int64 (N,) as ``labels``. All ranks call it together; rank 0 does the work. No limit is put on
            the result, and the clusterer's own state stays.
        distances: The distances that the labels were made from, up to a limit in (0, 1], between the images: a sparse
            float32 (N, N) matrix, see :meth:`~mmreid_uda.clustering.Clusterer.graph`. They know of cameras, tracklets
            and sources what the clusterer does. Computed when called, by all ranks together, on rank 0 for all; an
            ``InputError`` where the clusterer, such as k-means, has none.
        evidence: What is known of the images beside features: cameras, times, tracklets, links; None for a state made
            by hand.
    """

    epoch: int
    labels: Tensor
    features: Tensor
    seed: int = 0
    statistics: dict[str, float] = field(default_factory=dict)
    cluster: Callable[[Tensor], Tensor] = field(default=_not_clustered, repr=False)
    distances: Callable[[float], sparse.csr_array] = field(default=_no_distances, repr=False)
    evidence: Evidence | None = field(default=None, repr=False)

    @property
    def num_clusters(self) -> int:
        """Number of classes, outliers not counted."""
        return int(self.labels.max()) + 1 if self.labels.numel() else 0

    @property
    def num_outliers(self) -> int:
        """Number of images without a class."""
        return int((self.labels < 0).sum())

    def centroids(self) -> Tensor:
        """Mean feature of each class, not normalised.

        Returns:
            float32 (num_clusters, D).
        """
        return class_means(self.features, self.labels, self.num_clusters)
