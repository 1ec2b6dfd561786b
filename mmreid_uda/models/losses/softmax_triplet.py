"""The softmax-triplet loss of MMT: batch-hard triplets without a margin, against a label or against a teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError, full_precision
from mmreid_uda.utils.values import Fraction

__all__ = ["SoftSoftmaxTripletLoss", "SoftmaxTripletLoss", "hardest_pairs", "pairwise_distances"]

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


@MODELS.register_module()
class SoftmaxTripletLoss(nn.Module):
    """Batch-hard softmax-triplet loss (MMT, Ge et al., ICLR 2020).

    With p and n the hardest positive and negative of each anchor in the batch::

        T_i = exp(d_in) / (exp(d_ip) + exp(d_in))
        L   = mean_i [ -m log(1 - T_i) - (1 - m) log T_i ]

    in float32, with ``log T = -softplus(d_ip - d_in)``: no exponential of a distance is ever taken.

    Args:
        margin: m in 0..1, which the released code calls a margin, but which is a soft *label*. Defaults to 0, as in all
            released scripts.

    Raises:
        InputError: If ``margin`` is outside 0..1; at a call, if the batch has a single class.
    """

    def __init__(self, margin: Fraction = 0.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            features: (B, D), before the neck, not normalised.
            labels: int64 (B,).

        Returns:
            A scalar, float32.
        """
        distances = pairwise_distances(features)
        margins = _margins(distances, *hardest_pairs(distances.detach(), labels))
        return ((1 - self.margin) * F.softplus(-margins) + self.margin * F.softplus(margins)).mean()


@MODELS.register_module()
class SoftSoftmaxTripletLoss(nn.Module):
    """Softmax-triplet loss against a teacher (MMT, Ge et al., ICLR 2020): binary cross-entropy between their T.

    The student mines the hardest pairs by its own distances, the teacher is asked about the same pairs::

        L = mean_i [ -(1 - T^t_i) log(1 - T_i) - T^t_i log T_i ]

    in float32; no gradient flows into the teacher.
    """

    @full_precision
    def forward(self, features: Tensor, teacher_features: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            features: The student's, (B, D), before the neck, not normalised.
            teacher_features: (B, D') of the same images.
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
