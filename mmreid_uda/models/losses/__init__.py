"""Losses: pure functions, one formula each; weights and sums are the algorithms'."""

from .branches import mean_of, mean_over_branches
from .cross_entropy import cross_entropy, distillation, soft_cross_entropy
from .label_preserving_loss import LabelPreservingLoss
from .point_to_set import NEGATIVE_SETS, NegativeSet, compactness, point_to_set_hinge
from .triplet import (
    hard_triplet,
    hardest_pairs,
    pairwise_distances,
    soft_softmax_triplet,
    softmax_triplet,
)

__all__ = [
    "NEGATIVE_SETS",
    "LabelPreservingLoss",
    "NegativeSet",
    "compactness",
    "cross_entropy",
    "distillation",
    "hard_triplet",
    "hardest_pairs",
    "mean_of",
    "mean_over_branches",
    "pairwise_distances",
    "point_to_set_hinge",
    "soft_cross_entropy",
    "soft_softmax_triplet",
    "softmax_triplet",
]
