"""Losses: one formula per class, close ones side by side in a file."""

from .cross_entropy import LabelSmoothCrossEntropy, SoftCrossEntropy
from .label_preserving_loss import LabelPreservingLoss
from .softmax_triplet import (
    SoftmaxTripletLoss,
    SoftSoftmaxTripletLoss,
    hardest_pairs,
    pairwise_distances,
)

__all__ = [
    "LabelPreservingLoss",
    "LabelSmoothCrossEntropy",
    "SoftCrossEntropy",
    "SoftSoftmaxTripletLoss",
    "SoftmaxTripletLoss",
    "hardest_pairs",
    "pairwise_distances",
]
