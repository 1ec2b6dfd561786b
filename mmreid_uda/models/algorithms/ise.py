"""ISE (Zhang et al., "Implicit Sample Extension for Unsupervised Person Re-Identification", CVPR 2022).

Cluster-Contrast, and between clusters ISE makes up what the camera did not see: for every image a *support sample*,
moved from the own centroid towards the nearest other cluster, further as training goes on. Supports train and update
the memory like images (they join what DBSCAN has split), and the label-preserving loss keeps them with their class
(so that nothing merges which should not).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.layers import support_samples
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils.dist import gather_batch

from .cluster_contrast import ClusterContrast

__all__ = ["ISE"]


@MODELS.register_module()
class ISE(ClusterContrast):
    """``L = L_SE + beta · L_LP`` (Zhang et al., CVPR 2022); the terms are in :meth:`loss_target`.

    Args:
        *args: As for :class:`ClusterContrast`.
        num_neighbors: k, support samples per image, one per nearest cluster. Defaults to 1.
        supports_in_loss: Contrast supports as well as images. False is the row "LP only" of the paper's ablation.
        supports_in_memory: Let supports update the memory, images first (as released).
        lp_weight: beta. Defaults to 0.1 (Market-1501); 0 switches the label-preserving loss off.
        lp_loss: Config of the label-preserving loss. Defaults to ``dict(type='LabelPreservingLoss')``.
        **kwargs: As for :class:`ClusterContrast`.

    Attributes:
        support_scale: lambda_t, how far supports move; set before every iteration by the ``ProgressiveLambdaHook`` of
            the configuration (its ``schedule`` has the paper's logarithm, a line and a constant).
    """

    required_hooks: ClassVar = dict(
        progressive=dict(
            type="ProgressiveLambdaHook", attribute="support_scale", base=1.0, schedule="log"
        )
    )

    def __init__(
        self,
        *args: Any,
        num_neighbors: int = 1,
        supports_in_loss: bool = True,
        supports_in_memory: bool = True,
        lp_weight: float = 0.1,
        lp_loss: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.num_neighbors = num_neighbors
        self.supports_in_loss = supports_in_loss
        self.supports_in_memory = supports_in_memory
        self.lp_weight = lp_weight
        self.lp_loss = MODELS.build(lp_loss or dict(type="LabelPreservingLoss"))
        self.support_scale = 0.0

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_contrast`` (L_SE) and ``loss_lp`` of the L2-normalised embedding."""
        x, logits = self.head(out)
        y, sample_idx = gather_batch(samples.gt_label), gather_batch(samples.sample_idx)
        k = self.num_neighbors
        supports = support_samples(x, y, self.head.memory.prototypes, self.support_scale, k)
        support_y, support_idx = y.repeat_interleave(k), sample_idx.repeat_interleave(k)
        all_x, all_y = torch.cat([x, supports]), torch.cat([y, support_y])

        if self.supports_in_loss:
            losses = dict(loss_contrast=F.cross_entropy(self.head.compare(all_x), all_y))
        else:
            losses = dict(loss_contrast=F.cross_entropy(logits, y))
        if self.lp_weight:
            losses["loss_lp"] = self.lp_weight * self.lp_loss(x, y, supports, support_y)

        if self.supports_in_memory:
            all_idx = torch.cat([sample_idx, support_idx])
            self.remember(self.head.memory.update, all_x, all_y, all_idx)
        else:
            self.remember(self.head.memory.update, x, y, sample_idx)
        return losses
