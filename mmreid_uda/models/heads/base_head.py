"""What all heads share: features of a network in, what losses compare out."""

from __future__ import annotations

from typing import Any, NamedTuple

from mmengine.model import BaseModule
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.layers import keep_active_rows
from mmreid_uda.structures import PseudoLabelState

__all__ = ["BaseHead", "BranchOutput"]


class BranchOutput(NamedTuple):
    """What a network says about the *global* batch, branch by branch (most networks have one)."""

    pooled: Tensor
    """float32 (branches, B, D): features before the neck, not normalised."""
    logits: Tensor
    """float32 (branches, B, K)."""

    @classmethod
    def of(cls, pooled: Tensor, logits: Tensor) -> BranchOutput:
        """Join both, so that a loss of the pooled features alone gives neck and classifier a gradient, of zero.

        ``DistributedDataParallel`` waits for the gradient of each parameter.

        Args:
            pooled: float32 (branches, B, D).
            logits: float32 (branches, B, K).

        Returns:
            Both, with equal values.
        """
        return cls(pooled + 0 * logits.sum(), logits)


class BaseHead(BaseModule):
    """The state on top of a network: classifiers, memories, centroids. Equations and their weights are the algorithms'.

    Under several ranks a head works on the *global* batch, gathered in rank order: all ranks compute the same losses.
    """

    @property
    def num_classes(self) -> int:
        """K, what labels are below."""
        raise NotImplementedError

    def forward(self, out: EncoderOutput) -> Any:
        """Join the batches of all ranks, and compare them with every class.

        Args:
            out: Features of this rank's images.

        Returns:
            A named tuple of features and logits of all W·B images, with the gradient of this rank's part.
        """
        raise NotImplementedError

    def on_relabel(self, state: PseudoLabelState) -> None:
        """Take over new pseudo-labels.

        Args:
            state: Labels of all N training images, -1 for outliers, and the features they come from.
        """
        raise NotImplementedError

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        keep_active_rows(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
