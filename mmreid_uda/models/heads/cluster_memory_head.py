"""The contrastive head of Cluster-Contrast: InfoNCE between features and a memory of cluster centroids."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample
from mmreid_uda.utils import full_precision
from mmreid_uda.utils.dist import gather_batch, gather_live
from mmreid_uda.utils.values import Positive

__all__ = ["ClusterMemoryHead"]


@MODELS.register_module()
class ClusterMemoryHead(BaseModule):
    """``L = CE(x · M^T / tau, y)`` against a memory that is updated after the loss used it (Cluster-Contrast, Eq. 3).

    Under several ranks the head works on the *global* batch, gathered in rank order: all ranks compute the same loss
    and hold the same memory, and W ranks equal one rank.

    Args:
        memory: Config of the memory bank. Defaults to ``dict(type='ClusterMemory')``: ``update`` is ``'momentum'``,
            ``'hard'`` or ``'mean'``, ``init`` is ``'mean'`` or ``'random'``.
        temperature: tau > 0. Defaults to 0.05.

    Example:
        >>> head = dict(type='ClusterMemoryHead', temperature=0.05,
        ...             memory=dict(type='ClusterMemory', update='hard', momentum=0.2))
    """

    def __init__(
        self,
        memory: dict[str, Any] | None = None,
        temperature: Positive = 0.05,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.memory = MODELS.build(memory or dict(type="ClusterMemory"))
        self.temperature = temperature

    def on_relabel(self, state: PseudoLabelState) -> None:
        """Rebuild the memory from the new clusters."""
        self.memory.reset(state)

    @full_precision
    def gather(self, features: Tensor, samples: ReIDDataSample) -> tuple[Tensor, Tensor, Tensor]:
        """Join features, labels and image indices of all ranks.

        Args:
            features: (B, D) of this rank.
            samples: Annotations of this rank's batch.

        Returns:
            float32 features (W·B, D) with the gradient of this rank's part, labels and ``sample_idx`` (W·B,).
        """
        return (
            gather_live(features),
            gather_batch(samples.gt_label),
            gather_batch(samples.sample_idx),
        )

    @full_precision
    def contrast(self, features: Tensor, labels: Tensor) -> Tensor:
        """InfoNCE of unit features (B, D) and labels (B,) against the memory: a scalar, in float32.

        Autocast is left here: at ``tau = 0.05`` logits reach ±20, where half precision steps by 1/64.
        """
        logits = features @ self.memory.prototypes.t() / self.temperature
        return F.cross_entropy(logits, labels)

    def loss(self, features: Tensor, samples: ReIDDataSample) -> dict[str, Tensor]:
        """Loss of a batch of unit features (B, D); the memory is updated afterwards."""
        features, labels, sample_idx = self.gather(features, samples)
        loss = self.contrast(features, labels)
        self.memory.update(features, labels, sample_idx)
        return dict(loss_contrast=loss)
