"""FAT's terms: the triplet loss bounded by distances to class centroids, which is linear in the number of images.

For an anchor a, a positive p and a negative n, with the centroids ``c_a, c_n`` and radii ``r_a, r_n`` of their classes,
the triangle inequality gives::

    [d(a, p) - d(a, n) + m]_+  <=  [d(a, c_a) - d(a, c_n) + m]_+  +  r_a + r_n

FAT minimises the right side: a hinge between a point and sets, and a penalty on the extent of the classes. Source: Yuan
et al., "In defense of the triplet loss again: learning robust person re-identification with fast approximated triplet
loss and label distillation", CVPRW 2020.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.utils import InputError, full_precision

from .triplet import pairwise_distances

__all__ = ["NEGATIVE_SETS", "NegativeSet", "compactness", "point_to_set_hinge"]

NegativeSet = Literal["ctrdAll", "ctrdAvg", "ctrdHM", "batchNeg"]
NEGATIVE_SETS: tuple[NegativeSet, ...] = get_args(NegativeSet)
"""What an anchor is kept away from: every other centroid, their mean, the hardest of them, or images of the batch."""

# Added to every difference of coordinates before the norm, as torch's triplet loss does: no gradient is infinite.
_EPS = 1e-6


@full_precision
def compactness(
    features: Tensor,
    labels: Tensor,
    centroids: Tensor,
    *,
    extent: Literal["mean", "radius"] = "mean",
) -> Tensor:
    """How far images are from the centroid of their class.

    ``mean_i d(f_i, c_{y_i})`` (as released), or ``max_i d(f_i, c_{y_i})``, the paper's radius R, within the global
    batch. No gradient flows into the centroids, constants of an epoch.

    Args:
        features: f, (B, D).
        labels: int64 (B,) in ``0..K-1``.
        centroids: c, float32 (K, D).
        extent: ``'mean'`` or ``'radius'``.

    Returns:
        A scalar, float32.
    """
    own = _distances(features, centroids[labels])
    return own.mean() if extent == "mean" else own.max()


@full_precision
def point_to_set_hinge(
    features: Tensor,
    labels: Tensor,
    centroids: Tensor,
    *,
    margin: float,
    negatives: NegativeSet = "batchNeg",
    num_negatives: int = 5,
    own_centroid: bool = False,
) -> Tensor:
    """``(1/n) Σ_k mean_i [ d(f_i, c_{y_i}) - d(f_i, neg_k(i)) + m ]_+``.

    The negatives of an anchor are

    * ``'ctrdAll'``: the centroids of all other classes. The released code includes the own one, whose hinge is the
      margin whatever the features are: ``own_centroid=True`` restores it;
    * ``'ctrdAvg'``: the mean of the other classes' centroids;
    * ``'ctrdHM'``: the ``num_negatives`` centroids nearest to the own centroid;
    * ``'batchNeg'`` (default of the released code): the ``num_negatives`` nearest images of other classes within the
      batch, without gradient; fewer where an anchor of the batch has fewer, and a hinge of 0 where one has none.

    Args:
        features: f, (B, D).
        labels: int64 (B,) in ``0..K-1``.
        centroids: c, float32 (K, D), without gradient.
        margin: m.
        negatives: One of :data:`NEGATIVE_SETS`.
        num_negatives: Largest number of negatives of ``'ctrdHM'`` and ``'batchNeg'``, >= 1.
        own_centroid: Count the own centroid among ``'ctrdAll'``.

    Returns:
        A scalar, float32.

    Raises:
        InputError: If there is a single centroid to keep images away from.
    """
    own = _distances(features, centroids[labels]).unsqueeze(1)
    if negatives == "batchNeg":
        images, count = _nearest_images(features.detach(), labels, num_negatives)
        others = _distances(features.unsqueeze(1), images)
        return _mean_of_first(F.relu(own - others + margin), count)
    if len(centroids) < 2:
        raise InputError(
            f"found {len(centroids)} class for FAT, expected at least 2; check the labels of the target."
        )
    if negatives == "ctrdAvg":
        mean = (centroids.sum(0) - centroids[labels]) / (len(centroids) - 1)
        others = _distances(features, mean).unsqueeze(1)
    elif negatives == "ctrdHM":
        others = _distances(
            features.unsqueeze(1), _nearest_centroids(labels, centroids, num_negatives)
        )
    else:
        # All of them: by products, since (B, K, D) would not fit.
        others = torch.cdist(features + _EPS, centroids)
        if not own_centroid:
            classes = torch.arange(len(centroids) - 1, device=labels.device)
            others = others.gather(1, classes + (classes >= labels.unsqueeze(1)))
    return F.relu(own - others + margin).mean()


def _distances(points: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances along the last dimension of tensors that broadcast."""
    return (points - others + _EPS).norm(dim=-1)


def _nearest_centroids(labels: Tensor, centroids: Tensor, count: int) -> Tensor:
    """The other centroids nearest to the own one, (B, n, D)."""
    between = torch.cdist(centroids[labels], centroids)
    between.scatter_(1, labels.unsqueeze(1), float("inf"))
    count = min(count, len(centroids) - 1)
    return centroids[between.topk(count, dim=1, largest=False).indices]


def _nearest_images(points: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest images of other classes, (B, n, D), and how many of them every anchor has."""
    same = labels.unsqueeze(1) == labels
    count = min(count, len(points) - 1)
    distances = pairwise_distances(points).masked_fill(same, float("inf"))
    nearest = distances.topk(count, dim=1, largest=False).indices
    return points[nearest], (~same).sum(1).amin().clamp(max=count)


def _mean_of_first(values: Tensor, count: Tensor) -> Tensor:
    """Mean over the first ``count`` columns of (B, n); 0 of none, as a single class has nothing to keep apart."""
    columns = torch.arange(values.shape[1], device=values.device)
    kept = torch.where(columns < count, values, 0)
    return kept.sum() / (len(values) * count).clamp(min=1)
