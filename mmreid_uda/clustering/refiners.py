"""Refiners: labels and features in, better labels out; applied in order after the clusterer."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt

from mmreid_uda.neighbors.knn import unit_rows
from mmreid_uda.registry import REFINERS
from mmreid_uda.structures import class_means

from .labels import drop_small, renumber

__all__ = ["AssignOutliers", "DropLooseMembers", "DropSmallClusters"]

# Rows that are compared with centroids together.
_BLOCK_SIZE = 2048


@REFINERS.register_module()
class DropSmallClusters:
    """Turn the members of small clusters into outliers.

    DBSCAN leaves clusters below ``min_samples`` when an earlier cluster takes their border images; an
    identity with fewer images than the sampler draws is repeated within a batch.

    Args:
        min_size: Smallest cluster that stays, >= 2.

    Raises:
        InputError: If ``min_size < 2``.

    Example:
        >>> refiners = [dict(type='DropSmallClusters', min_size=4)]
    """

    def __init__(self, min_size: Annotated[int, Ge(2)]) -> None:
        self.min_size = min_size

    def __call__(self, labels: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Refine.

        Args:
            labels: int64 (N,), contiguous, -1 = outlier.
            features: float (N, D), not used.

        Returns:
            int64 (N,), contiguous, -1 = outlier.
        """
        return renumber(drop_small(labels, self.min_size))


@REFINERS.register_module()
class DropLooseMembers:
    """Turn images that look little like their cluster into outliers.

    The cosine of an image to the centroid of its cluster measures how sure its label is. The centroids are those of the
    labels as they come in, so the result does not depend on the order of the images.

    Args:
        min_similarity: Smallest cosine to the own centroid that stays, in (-1, 1).

    Raises:
        InputError: If ``min_similarity`` is out of range.

    Example:
        >>> refiners = [dict(type='DropLooseMembers', min_similarity=0.4),
        ...             dict(type='DropSmallClusters', min_size=4)]
    """

    def __init__(self, min_similarity: Annotated[float, Gt(-1), Lt(1)]) -> None:
        self.min_similarity = min_similarity

    def __call__(self, labels: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Refine.

        Args:
            labels: int64 (N,), contiguous, -1 = outlier.
            features: float (N, D), no zero rows.

        Returns:
            int64 (N,), contiguous, -1 = outlier.
        """
        features = unit_rows(features)
        centroids, inliers = _unit_centroids(labels, features), np.flatnonzero(labels >= 0)
        refined = labels.copy()
        for start in range(0, len(inliers), _BLOCK_SIZE):
            rows = inliers[start : start + _BLOCK_SIZE]
            similarities = np.einsum("nd,nd->n", features[rows], centroids[labels[rows]])
            refined[rows[similarities < self.min_similarity]] = -1
        return renumber(refined)


@REFINERS.register_module()
class AssignOutliers:
    """Give every outlier to the nearest cluster, if it is near enough.

    Centroids are those of the clusters as they come in: an outlier that joins does not move its cluster.

    Args:
        min_similarity: Smallest cosine to a centroid at which an outlier joins, in (-1, 1).

    Raises:
        InputError: If ``min_similarity`` is out of range.

    Example:
        >>> refiners = [dict(type='AssignOutliers', min_similarity=0.6)]
    """

    def __init__(self, min_similarity: Annotated[float, Gt(-1), Lt(1)]) -> None:
        self.min_similarity = min_similarity

    def __call__(self, labels: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Refine.

        Args:
            labels: int64 (N,), contiguous, -1 = outlier.
            features: float (N, D), no zero rows.

        Returns:
            int64 (N,), contiguous, -1 = outlier; of equally near clusters the lower number.
        """
        features = unit_rows(features)
        centroids = _unit_centroids(labels, features)
        refined = labels.copy()
        outliers = np.flatnonzero(labels < 0)
        if not len(centroids):
            return refined
        for start in range(0, len(outliers), _BLOCK_SIZE):
            rows = outliers[start : start + _BLOCK_SIZE]
            similarities = features[rows] @ centroids.T
            nearest = similarities.argmax(1)
            near = similarities[np.arange(len(rows)), nearest] >= self.min_similarity
            refined[rows[near]] = nearest[near]
        return refined


def _unit_centroids(labels: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Mean feature float32 (K, D) of every cluster, scaled to unit norm; a mean of zero stays zero."""
    num_clusters = int(labels.max(initial=-1)) + 1
    means = class_means(torch.from_numpy(features), torch.from_numpy(labels), num_clusters)
    return F.normalize(means, dim=1).numpy()
