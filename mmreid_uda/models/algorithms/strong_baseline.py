"""The UDA strong baseline: hard pseudo-labels from a mean teacher, done carefully.

Source: the code that came with Zheng et al., "Exploiting Sample Uncertainty for Domain Adaptive Person
Re-Identification" (AAAI 2021) and "Group-aware Label Transfer for Domain Adaptive Person Re-identification" (CVPR
2021).

GeM pooling, a batch normalisation per domain, source images in every batch for the sake of the shared statistics only,
cross-entropy and softmax-triplet on the target. The teacher gives the features that are clustered and tested, and
teaches nothing. Uncertainty and label transfer, the papers' own parts, are not here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from mmreid_uda.models.losses import cross_entropy, softmax_triplet
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import FractionBelowOne

from .mean_teacher import MeanTeacher, MeanTeacherOutput

__all__ = ["StrongBaseline"]


@MODELS.register_module()
class StrongBaseline(MeanTeacher):
    """``L = CE(z, y) + ST_hard(f, y)`` of the target images, with logits z and pooled features f of the student.

    Source: the code that came with Zheng et al., AAAI 2021 and CVPR 2021.

    Args:
        *args: As for :class:`MeanTeacher`.
        ce_weight: Defaults to 1.
        triplet_weight: Defaults to 1.
        label_smoothing: epsilon of the cross-entropy. Defaults to 0.
        **kwargs: As for :class:`MeanTeacher`.
    """

    def __init__(
        self,
        *args: Any,
        ce_weight: float = 1.0,
        triplet_weight: float = 1.0,
        label_smoothing: FractionBelowOne = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.ce_weight, self.triplet_weight = ce_weight, triplet_weight
        self.cross_entropy = partial(cross_entropy, label_smoothing=label_smoothing)

    def loss_target(self, out: MeanTeacherOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce`` and ``loss_triplet``."""
        [(f, z)], y = out.students, gather_batch(samples.gt_label)
        return dict(
            loss_ce=self.ce_weight * self.cross_entropy(z, y),
            loss_triplet=self.triplet_weight * softmax_triplet(f, y),
        )
