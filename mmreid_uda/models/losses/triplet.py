"""Batch-hard triplets: with a margin, and the softmax-triplets of MMT, against a label or against a teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.utils import InputError, full_precision

from .branches import mean_over_branches

__all__ = [
    "hard_triplet",
    "hardest_pairs",
    "pairwise_distances",
    "soft_softmax_triplet",
    "softmax_triplet",
]

# Lower clamp of squared distances: the square root has no gradient at zero.
_TINY = 1e-12


@full_precision
def pairwise_distances(features: Tensor) -> Tensor:
    """Euclidean distances between all rows, ``sqrt(max(|x|² + |y|² - 2 x·y, 1e-12))``.

    In half precision the difference of squares of 2048-d features, which are 10 to 40 apart, would lose all its digits:
    everything is float32, outside autocast.

    Args:
        features: (B, D), not normalised.

    Returns:
        float32 (B, B).
    """
    squares = features.square().sum(1)
    squared = squares.unsqueeze(1) + squares - 2 * features @ features.t()
    return squared.clamp(min=_TINY).sqrt()


def _require_negatives(labels: Tensor) -> None:
    """Make sure that labels are of several classes; asked once of each batch, as the host waits for the answer."""
    if getattr(labels, "has_negatives", False):
        return
    if bool((labels == labels[0]).all()):
        raise InputError(
            f"found a single identity among the {len(labels)} images of a batch, expected at least two for a triplet "
            "loss; raise global_batch_size or lower num_instances."
        )
    labels.has_negatives = True  # type: ignore[attr-defined]


def hardest_pairs(distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the farthest image of the same class and of the nearest image of another class.

    Args:
        distances: (B, B).
        labels: int64 (B,).

    Returns:
        int64 (B,) positives (the anchor itself if its class has no other image) and int64 (B,) negatives.

    Raises:
        InputError: If all images are of one class, so that there are no negatives.
    """
    _require_negatives(labels)
    same = labels.unsqueeze(1) == labels
    positives = distances.masked_fill(~same, float("-inf")).argmax(1)
    negatives = distances.masked_fill(same, float("inf")).argmin(1)
    return positives, negatives


def _margins(distances: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """``d_an - d_ap`` (B,): the logit of T = exp(d_an) / (exp(d_ap) + exp(d_an))."""
    return (
        distances.gather(1, negatives.unsqueeze(1)) - distances.gather(1, positives.unsqueeze(1))
    ).squeeze(1)


@mean_over_branches
def hard_triplet(features: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """``mean_i [d(f_i, p_i) - d(f_i, n_i) + m]_+`` with the hardest positive and negative of the batch, in float32.

    Source: Hermans et al., "In defense of the triplet loss for person re-identification", 2017.

    Args:
        features: f, (B, D) or (branches, B, D), not normalised.
        labels: int64 (B,).
        margin: m > 0, in units of the distance.

    Returns:
        A scalar, float32.

    Raises:
        InputError: If the batch has a single class.
    """
    distances = pairwise_distances(features)
    gaps = -_margins(distances, *hardest_pairs(distances.detach(), labels))
    return (gaps + margin).clamp(min=0).mean()


@mean_over_branches
def softmax_triplet(features: Tensor, labels: Tensor, *, margin: float = 0.0) -> Tensor:
    """ST_hard: the batch-hard softmax-triplet loss (MMT, Ge et al., ICLR 2020).

    With p and n the hardest positive and negative of each anchor in the batch::

        T_i = exp(d_in) / (exp(d_ip) + exp(d_in))
        L   = mean_i [ -m log(1 - T_i) - (1 - m) log T_i ]

    in float32, with ``log T = -softplus(d_ip - d_in)``: no exponential of a distance is ever taken.

    Args:
        features: f, (B, D) or (branches, B, D), before the neck, not normalised.
        labels: int64 (B,).
        margin: m in 0..1, which the released code calls a margin, but which is a soft *label*; 0 in all released
            scripts.

    Returns:
        A scalar, float32.

    Raises:
        InputError: If the batch has a single class.
    """
    distances = pairwise_distances(features)
    margins = _margins(distances, *hardest_pairs(distances.detach(), labels))
    return ((1 - margin) * F.softplus(-margins) + margin * F.softplus(margins)).mean()


@mean_over_branches
@full_precision
def soft_softmax_triplet(features: Tensor, teacher_features: Tensor, labels: Tensor) -> Tensor:
    """ST_soft: the softmax-triplet loss against a teacher (MMT, Ge et al., ICLR 2020).

    The student mines the hardest pairs by its own distances, the teacher is asked about the same pairs::

        L = mean_i [ -(1 - T^t_i) log(1 - T_i) - T^t_i log T_i ]

    the binary cross-entropy between their T, in float32; no gradient flows into the teacher.

    Args:
        features: The student's f, (B, D) or (branches, B, D), before the neck, not normalised.
        teacher_features: u, (B, D') or (branches, B, D') of the same images.
        labels: int64 (B,).

    Returns:
        A scalar, float32.

    Raises:
        InputError: If the batch has a single class.
    """
    distances = pairwise_distances(features)
    pairs = hardest_pairs(distances.detach(), labels)
    target = _margins(pairwise_distances(teacher_features.detach()), *pairs).sigmoid()
    return F.binary_cross_entropy_with_logits(_margins(distances, *pairs), target)
