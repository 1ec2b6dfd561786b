"""ABMT (Chen, Lagadec, Bremond, "Enhancing Diversity in Teacher-Student Networks via Asymmetric branches", WACV 2021).

A mean teacher grows so like its student that it has nothing left to teach. ABMT gives the network two branches of
different depth and pooling, and lets each branch of the student learn from the *other* branch of the teacher. Every
epoch: extract all target images with the teacher (both branches, concatenated), cluster them, start both classifiers
from the halves of the centroids. With a labelled source, its images enter the distance that is clustered; without one
(ImageNet weights instead of source pre-training) the method is fully unsupervised.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from mmreid_uda.models.losses import cross_entropy, soft_cross_entropy, soft_softmax_triplet
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import FractionBelowOne

from .mean_teacher import MeanTeacher, MeanTeacherOutput, mean_distance

__all__ = ["ABMT"]


@MODELS.register_module()
class ABMT(MeanTeacher):
    """Asymmetric-branched mean teaching (Chen et al., WACV 2021); every term is the mean over the branches g and m.

    ::

        L = ½ [CE_ls(z, y) + SCE(z | t)] + ST_soft(x | u)

    with logits z and pooled features x of a branch of the student, t and u those of the teacher's other branch.

    Args:
        *args: As for :class:`MeanTeacher`.
        cross: Whether a branch learns from the teacher's other branch; False takes the same one (the ablation
            "without cross-branch"). Defaults to True; of a single-branch encoder there is no other.
        ce_weight: Of CE_ls. Defaults to 0.5.
        soft_ce_weight: Of SCE. Defaults to 0.5.
        soft_triplet_weight: Of ST_soft. Defaults to 1.
        label_smoothing: epsilon of CE_ls. Defaults to 0.1.
        **kwargs: As for :class:`MeanTeacher`.
    """

    def __init__(
        self,
        *args: Any,
        cross: bool = True,
        ce_weight: float = 0.5,
        soft_ce_weight: float = 0.5,
        soft_triplet_weight: float = 1.0,
        label_smoothing: FractionBelowOne = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.cross = cross
        self.ce_weight, self.soft_ce_weight = ce_weight, soft_ce_weight
        self.soft_triplet_weight = soft_triplet_weight
        self.cross_entropy = partial(cross_entropy, label_smoothing=label_smoothing)

    def loss_target(self, out: MeanTeacherOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce``, ``loss_soft_ce`` and ``loss_soft_triplet``."""
        [(x, z)], [(u, t)] = out
        y = gather_batch(samples.gt_label)
        if self.cross:
            u, t = u.flip(0), t.flip(0)
        return dict(
            loss_ce=self.ce_weight * self.cross_entropy(z, y),
            loss_soft_ce=self.soft_ce_weight * soft_cross_entropy(z, t),
            loss_soft_triplet=self.soft_triplet_weight * soft_softmax_triplet(x, u, y),
            diversity_supervision=mean_distance([(x, u)]),
        )
