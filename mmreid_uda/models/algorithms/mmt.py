"""MMT (Ge et al., "Mutual Mean-Teaching: Pseudo Label Refinery for Unsupervised Domain Adaptation", ICLR 2020).

Two networks, pre-trained on the source with two seeds, see two views of every target image. Each learns from the
pseudo-label, which may be wrong, and from the *moving average of the other network*, whose soft opinion corrects it.
Every epoch: extract all target images with both averages, cluster the mean of their features, start the classifiers of
all four networks from the clusters' centroids.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.registry import MODELS
from mmreid_uda.utils.values import Fraction

from .mean_teacher import MeanTeacher

__all__ = ["MMT"]


@MODELS.register_module()
class MMT(MeanTeacher):
    """Mutual mean-teaching, summed over the networks i.

    ::

        L = (1-a) CE_ls(z_i, y) + (1-b) ST_hard(f_i, y) + a SCE(z_i | t_j) + b ST_soft(f_i | u_j)

    where j is the other network's teacher; of more than two networks, the mean over all others (without the authority
    of MEB-Net); with ``num_students=1`` it is the own teacher (the ablation "without theta_2").

    Args:
        encoder: As for :class:`MeanTeacher`.
        head: As for :class:`MeanTeacher`, without the four weights.
        soft_ce_weight: a in 0..1. Defaults to 0.5.
        soft_triplet_weight: b in 0..1. Defaults to 0.8.
        num_students: Defaults to 2.
        **kwargs: As for :class:`MeanTeacher`.

    Raises:
        InputError: If a or b is outside 0..1.
    """

    required_hooks: ClassVar = dict(every_teacher=dict(type="EveryTeacherHook", optional=True))

    def __init__(
        self,
        encoder: dict[str, Any] | list[dict[str, Any]],
        head: dict[str, Any],
        soft_ce_weight: Fraction = 0.5,
        soft_triplet_weight: Fraction = 0.8,
        num_students: int = 2,
        **kwargs: Any,
    ) -> None:
        weights = dict(
            ce_weight=1 - soft_ce_weight,
            triplet_weight=1 - soft_triplet_weight,
            soft_ce_weight=soft_ce_weight,
            soft_triplet_weight=soft_triplet_weight,
        )
        super().__init__(encoder, {**head, **weights}, num_students, **kwargs)

    def supervisors(self, teachers: list[BranchOutput]) -> list[list[BranchOutput]]:
        """The teachers of all other students; of a single student, its own."""
        if len(teachers) == 1:
            return [teachers]
        return [teachers[:own] + teachers[own + 1 :] for own in range(len(teachers))]

    def loss_with_teachers(
        self, students: list[BranchOutput], teachers: list[BranchOutput], labels: Tensor
    ) -> dict[str, Tensor]:
        """``loss_ce_1``, ``loss_soft_ce_1``, ... of student 1, and so on."""
        losses = {}
        everyone = zip(self.students, students, self.supervisors(teachers))
        for number, (network, student, others) in enumerate(everyone, 1):
            opinions = [network.head.loss(student, labels, other) for other in others]
            for name in opinions[0]:
                mean = sum(opinion[name] for opinion in opinions) / len(opinions)
                losses[f"{name}_{number}"] = mean
        return losses
