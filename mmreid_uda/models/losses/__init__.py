"""Losses: pure functions, one formula each; weights and sums are the algorithms'."""

from .branches import mean_of, mean_over_branches
from .cross_entropy import cross_entropy, distillation, soft_cross_entropy
from .label_preserving_loss import LabelPreservingLoss
from .point_to_set import NEGATIVE_SETS, NegativeSet, compactness, point_to_set_hinge
from .proxies import (
    association_similarities,
    intra_camera_loss,
    offline_loss,
    online_loss,
    online_positives,
    proxy_contrast,
    sum_over_cameras,
)
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
    "association_similarities",
    "compactness",
    "cross_entropy",
    "distillation",
    "hard_triplet",
    "hardest_pairs",
    "intra_camera_loss",
    "mean_of",
    "mean_over_branches",
    "offline_loss",
    "online_loss",
    "online_positives",
    "pairwise_distances",
    "point_to_set_hinge",
    "proxy_contrast",
    "soft_cross_entropy",
    "soft_softmax_triplet",
    "softmax_triplet",
    "sum_over_cameras",
]
