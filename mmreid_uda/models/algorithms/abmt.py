"""ABMT (Chen, Lagadec, Bremond, "Enhancing Diversity in Teacher-Student Networks via Asymmetric branches", WACV 2021).

A mean teacher grows so like its student that it has nothing left to teach. ABMT gives the network two branches of
different depth and pooling, and lets each branch of the student learn from the *other* branch of the teacher. Every
epoch: extract all target images with the teacher (both branches, concatenated), cluster them, start both classifiers
from the halves of the centroids. With a labelled source, its images enter the distance that is clustered; without one
(ImageNet weights instead of source pre-training) the method is fully unsupervised.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.registry import MODELS

from .mean_teacher import MeanTeacher

__all__ = ["ABMT"]


@MODELS.register_module()
class ABMT(MeanTeacher):
    """Asymmetric-branched mean teaching; every term is the mean over the branches g and m.

    ::

        L = ½ [CE_ls(z, y) + SCE(z | t')] + ST_soft(x | u')

    where t', u' are the logits and pooled features of the teacher's other branch. The weights are the head's.

    Args:
        cross: Whether a branch learns from the teacher's other branch; False takes the same one (the ablation
            "without cross-branch"). Defaults to True; of a single-branch encoder there is no other.
        **kwargs: As for :class:`MeanTeacher`.
    """

    def __init__(self, *args: Any, cross: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cross = cross

    def supervisors(self, teachers: list[BranchOutput]) -> list[list[BranchOutput]]:
        """The teacher with its branches exchanged."""
        return [[teacher.crossed() if self.cross else teacher] for teacher in teachers]

    def loss_with_teachers(
        self, students: list[BranchOutput], teachers: list[BranchOutput], labels: Tensor
    ) -> dict[str, Tensor]:
        """``loss_ce``, ``loss_soft_ce`` and ``loss_soft_triplet``."""
        [[teacher]] = self.supervisors(teachers)
        return self.head.loss(students[0], labels, teacher)
