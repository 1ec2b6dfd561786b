"""MMT (Ge et al., "Mutual Mean-Teaching: Pseudo Label Refinery for Unsupervised Domain Adaptation", ICLR 2020).

Two networks, pre-trained on the source with two seeds, see two views of every target image. Each learns from the
pseudo-label, which may be wrong, and from the *moving average of the other network*, whose soft label corrects it.
Every epoch: extract all target images with both averages, cluster the mean of their features, start the classifiers of
all four networks from the clusters' centroids.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from mmreid_uda.models.losses import (
    cross_entropy,
    mean_of,
    soft_cross_entropy,
    soft_softmax_triplet,
    softmax_triplet,
)
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import Fraction, FractionBelowOne

from .mean_teacher import MeanTeacher, MeanTeacherOutput, mean_distance

__all__ = ["MMT"]


@MODELS.register_module()
class MMT(MeanTeacher):
    """Mutual mean-teaching (Ge et al., ICLR 2020), summed over the networks i.

    ::

        L = (1-a) CE_ls(z_i, y) + (1-b) ST_hard(f_i, y) + a SCE(z_i | t_j) + b ST_soft(f_i | u_j)

    with logits z and pooled features f of a student, t and u of the other network's teacher j; of more than two
    networks, the mean over all others (without the authority of MEB-Net); with ``num_students=1`` it is the own teacher
    (the ablation "without theta_2").

    Args:
        encoder: As for :class:`MeanTeacher`.
        head: As for :class:`MeanTeacher`.
        soft_ce_weight: a in 0..1. Defaults to 0.5.
        soft_triplet_weight: b in 0..1. Defaults to 0.8. A term of weight 0 is not computed.
        label_smoothing: epsilon of CE_ls. Defaults to 0.1.
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
        label_smoothing: FractionBelowOne = 0.1,
        num_students: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, num_students, **kwargs)
        self.soft_ce_weight, self.soft_triplet_weight = soft_ce_weight, soft_triplet_weight
        self.cross_entropy = partial(cross_entropy, label_smoothing=label_smoothing)

    def loss_target(self, out: MeanTeacherOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce_1``, ``loss_soft_ce_1``, ... of student 1, and so on."""
        y, a, b = gather_batch(samples.gt_label), self.soft_ce_weight, self.soft_triplet_weight
        losses, taught = {}, []
        for i, (f, z) in enumerate(out.students):
            others = out.teachers[:i] + out.teachers[i + 1 :] or out.teachers
            if a < 1:
                losses[f"loss_ce_{i + 1}"] = (1 - a) * self.cross_entropy(z, y)
            if b < 1:
                losses[f"loss_triplet_{i + 1}"] = (1 - b) * softmax_triplet(f, y)
            if a > 0:
                soft_ce = mean_of(soft_cross_entropy(z, t) for _, t in others)
                losses[f"loss_soft_ce_{i + 1}"] = a * soft_ce
            if b > 0:
                soft_triplet = mean_of(soft_softmax_triplet(f, u, y) for u, _ in others)
                losses[f"loss_soft_triplet_{i + 1}"] = b * soft_triplet
            taught += [(f, u) for u, _ in others]
        losses["diversity_supervision"] = mean_distance(taught)
        return losses
