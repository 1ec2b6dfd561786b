"""Losses: one formula per class, close ones side by side in a file."""

from .cross_entropy import LabelSmoothCrossEntropy, SoftCrossEntropy
from .distillation import DistillationLoss
from .fat_loss import NEGATIVE_SETS, FATLoss
from .label_preserving_loss import LabelPreservingLoss
from .softmax_triplet import (
    SoftmaxTripletLoss,
    SoftSoftmaxTripletLoss,
    hardest_pairs,
    pairwise_distances,
)
from .triplet import HardTripletLoss

__all__ = [
    "NEGATIVE_SETS",
    "DistillationLoss",
    "FATLoss",
    "HardTripletLoss",
    "LabelPreservingLoss",
    "LabelSmoothCrossEntropy",
    "SoftCrossEntropy",
    "SoftSoftmaxTripletLoss",
    "SoftmaxTripletLoss",
    "hardest_pairs",
    "pairwise_distances",
]
