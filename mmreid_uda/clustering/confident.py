"""Given labels, of which only those stay that a classifier believes: the rounds of FAT's teacher."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import check_vectors
from mmreid_uda.utils.values import Count, Natural, OpenFraction

from .labels import Clusterer

__all__ = ["ConfidentLabels", "confident"]


@CLUSTERERS.register_module()
class ConfidentLabels(Clusterer):
    """The annotated identities of the images whose label the network is sure of; the others become outliers.

    Training in rounds on what the last round has kept lets a classifier find wrong labels (Yuan et al., "In defense of
    the triplet loss again", CVPRW 2020). The paper does not say what confidence is: here it is the softmax probability
    of the given label.

    Args:
        threshold: Smallest probability of the given label that stays, in (0, 1). Defaults to 0.9.
        min_per_class: Of every class at least so many stay, the surest ones, >= 1: classes keep their numbers.
            Defaults to 2.
        first_epoch: Up to this epoch (0-based, exclusive) all labels stay: a network must have learnt something before
            it is asked. Defaults to 0.

    Raises:
        InputError: For values out of range.

    Example:
        >>> default_hooks = dict(cluster=dict(
        ...     type='ClusterHook', interval=5, clusterer=dict(type='ConfidentLabels', threshold=0.9, first_epoch=5)))
    """

    def __init__(
        self, threshold: OpenFraction = 0.9, min_per_class: Count = 2, first_epoch: Natural = 0
    ) -> None:
        super().__init__()
        self.threshold, self.min_per_class = threshold, min_per_class
        self.first_epoch = first_epoch

    @property
    def requires(self) -> tuple[str, ...]:
        """``true_labels``, int64 (N,), and ``probabilities``, float32 (N, K), of the model."""
        return ("true_labels", "probabilities")

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Return the given labels, -1 where the network is not sure."""
        labels = extras["true_labels"]
        if epoch < self.first_epoch:
            return labels
        probabilities = check_vectors(extras["probabilities"], "probabilities of the classes")
        confidence = np.take_along_axis(probabilities, np.maximum(labels, 0)[:, None], 1)[:, 0]
        kept = confident(labels, confidence, self.threshold, self.min_per_class)
        self.info = dict(mean_confidence=float(confidence.mean()))
        return np.where(kept, labels, -1)


def confident(
    labels: np.ndarray, confidence: np.ndarray, threshold: float, min_per_class: int
) -> np.ndarray:
    """Choose the images whose label is trusted.

    Args:
        labels: int64 (N,), negative = unknown, never chosen.
        confidence: float (N,), of the label.
        threshold: Smallest confidence.
        min_per_class: The most confident images of each class that are chosen whatever their confidence.

    Returns:
        bool (N,).
    """
    order = np.lexsort((-confidence, labels))
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - np.repeat(starts, counts)
    return (labels >= 0) & ((confidence >= threshold) | (rank < min_per_class))
