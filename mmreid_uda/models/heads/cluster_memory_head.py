"""The contrastive head of Cluster-Contrast: features against a memory of cluster centroids."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import full_precision
from mmreid_uda.utils.dist import all_gather_with_grad
from mmreid_uda.utils.values import Positive

from .base_head import BaseHead

__all__ = ["ClusterMemoryHead", "MemoryOutput"]


class MemoryOutput(NamedTuple):
    """What a memory says about the *global* batch."""

    features: Tensor
    """x, float32 (B, D): L2-normalised embeddings."""
    logits: Tensor
    """x · M^T / tau, float32 (B, K)."""


@MODELS.register_module()
class ClusterMemoryHead(BaseHead):
    """Similarities ``x · M^T / tau`` to a memory, which is updated after all losses used it (Cluster-Contrast, Eq. 3).

    Source: Dai et al., arXiv 2103.11568, ACCV 2022.

    Under several ranks all hold the same memory, and W ranks equal one rank.

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

    @property
    def num_classes(self) -> int:
        """K, the number of prototypes."""
        return len(self.memory.prototypes)

    def on_relabel(self, state: PseudoLabelState) -> None:
        """Rebuild the memory from the new clusters."""
        self.memory.reset(state)

    @full_precision
    def forward(self, out: EncoderOutput) -> MemoryOutput:
        """Join the batches of all ranks and compare them with the memory.

        Args:
            out: Features of this rank's images, (B, D).

        Returns:
            Unit features and logits of all W·B images, with the gradient of this rank's part.
        """
        features = all_gather_with_grad(out.normalized)
        return MemoryOutput(features, self.compare(features))

    @full_precision
    def compare(self, features: Tensor) -> Tensor:
        """Logits of unit features: similarities to all prototypes, divided by tau.

        Autocast is left here: at ``tau = 0.05`` logits reach ±20, where half precision steps by 1/64.

        Args:
            features: (B, D) unit rows.

        Returns:
            float32 (B, K), within ±1/tau.
        """
        return features @ self.memory.prototypes.t() / self.temperature
