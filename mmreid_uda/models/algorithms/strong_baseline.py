"""The UDA strong baseline: hard pseudo-labels from a mean teacher, done carefully.

Source: the code that came with Zheng et al., "Exploiting Sample Uncertainty for Domain Adaptive Person
Re-Identification" (AAAI 2021) and "Group-aware Label Transfer for Domain Adaptive Person Re-identification" (CVPR
2021).

GeM pooling, a batch normalisation per domain, source images in every batch for the sake of the shared statistics only,
cross-entropy and softmax-triplet on the target. The teacher gives the features that are clustered and tested, and
teaches nothing. Uncertainty and label transfer, the papers' own parts, are not here.
"""

from __future__ import annotations

from torch import Tensor

from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.registry import MODELS

from .mean_teacher import MeanTeacher

__all__ = ["StrongBaseline"]


@MODELS.register_module()
class StrongBaseline(MeanTeacher):
    """``L = CE(z, y) + ST_hard(f, y)`` of the target images; arguments as for :class:`MeanTeacher`."""

    def loss_with_teachers(
        self, students: list[BranchOutput], teachers: list[BranchOutput], labels: Tensor
    ) -> dict[str, Tensor]:
        """``loss_ce`` and ``loss_triplet``."""
        return self.head.loss(students[0], labels)
