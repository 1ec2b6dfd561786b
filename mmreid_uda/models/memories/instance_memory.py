"""An instance memory: one vector per image, compared with by the mean of a class's rows."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, class_means
from mmreid_uda.utils.values import FractionBelowOne

from .base_memory import BaseMemory
from .cluster_memory import momentum_update

__all__ = ["InstanceMemory"]


@MODELS.register_module()
class InstanceMemory(BaseMemory):
    """One unit vector per training image; a class is the mean of its rows, not normalised again.

    The baseline that Cluster-Contrast compares itself with: SpCL's memory
    without its self-paced choice of clusters. The rows are rebuilt at every clustering step.

    Args:
        momentum: Share of the old row in an update, 0 <= m < 1. Defaults to 0.2 (SpCL, NeurIPS 2020, Eq. 6).
    """

    rows: Tensor
    labels: Tensor

    def __init__(self, momentum: FractionBelowOne = 0.2) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("rows", torch.zeros(0, 0))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.long))
        self._num_classes: int | None = None

    def reset(self, state: PseudoLabelState) -> None:
        """Store the features of all images; outliers keep a row that belongs to no class."""
        self.rows = F.normalize(state.features, dim=1).to(self.rows.device)
        self.labels = state.labels.to(self.rows.device)
        self._num_classes = None

    @property
    def prototypes(self) -> Tensor:
        """float32 (K, D): mean of each class's rows."""
        if self._num_classes is None:  # counted once for all iterations between two clusterings
            self._num_classes = int(self.labels.max()) + 1 if len(self.labels) else 0
        return class_means(self.rows, self.labels, self._num_classes)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._num_classes = None

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, sample_idx: Tensor) -> None:
        """Move the rows of a global batch; an image that was drawn twice moves its row twice, in batch order."""
        del labels  # an image's row is found by its index
        self.rows = momentum_update(self.rows, features.detach().float(), sample_idx, self.momentum)
