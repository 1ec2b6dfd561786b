"""FAT's class centroids: means of the features of the whole training set, constants of an epoch."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, class_means

from .base_memory import BaseMemory

__all__ = ["CENTROID_KINDS", "ClassCentroids", "class_centroids"]

CentroidKind = Literal["mean", "mean_unit", "unit_mean", "unit_mean_unit"]
CENTROID_KINDS: tuple[CentroidKind, ...] = get_args(CentroidKind)
"""The four centroids of the paper, in its order: mean(f); mean(L2 f); L2(mean f); L2(mean(L2 f))."""


def class_centroids(
    features: Tensor, labels: Tensor, num_classes: int, kind: str = "mean"
) -> Tensor:
    """One centroid per class, in one of the paper's four definitions.

    Args:
        features: float32 (N, D), not normalised.
        labels: int64 (N,) in ``-1..num_classes-1``; images of label -1 are left out.
        num_classes: K.
        kind: One of :data:`CENTROID_KINDS`.

    Returns:
        float32 (K, D); zero for a class without images.
    """
    if kind in ("mean_unit", "unit_mean_unit"):
        features = F.normalize(features, dim=1)
    means = class_means(features, labels, num_classes)
    return F.normalize(means, dim=1) if kind in ("unit_mean", "unit_mean_unit") else means


@MODELS.register_module()
class ClassCentroids(BaseMemory):
    """One centroid per class for features as they are, and one for unit features; there is no update within an epoch.

    Source: Yuan et al., "In defense of the triplet loss again", CVPRW 2020; the released code keeps the first kind for
    plain terms and the fourth, the best according to the authors, for normalised ones.

    Args:
        kind: One of :data:`CENTROID_KINDS`, for the plain terms of the loss. Defaults to ``'mean'``.
        unit_kind: For the normalised terms. Defaults to ``'unit_mean_unit'``.

    Raises:
        InputError: For an unknown kind.

    Example:
        >>> head = dict(type='FATHead', centroids=dict(type='ClassCentroids', unit_kind='mean_unit'))
    """

    plain: Tensor
    unit: Tensor

    def __init__(
        self, kind: CentroidKind = "mean", unit_kind: CentroidKind = "unit_mean_unit"
    ) -> None:
        super().__init__()
        self.kind, self.unit_kind = kind, unit_kind
        self.register_buffer("plain", torch.zeros(0, 0))
        self.register_buffer("unit", torch.zeros(0, 0))

    def reset(self, state: PseudoLabelState) -> None:
        """Compute both sets anew; images of label -1 belong to no centroid."""
        for name, kind in (("plain", self.kind), ("unit", self.unit_kind)):
            centroids = class_centroids(state.features, state.labels, state.num_clusters, kind)
            setattr(self, name, centroids.to(self.plain.device))

    @property
    def prototypes(self) -> Tensor:
        """float32 (K, D): the centroids of features as they are."""
        return self.plain
