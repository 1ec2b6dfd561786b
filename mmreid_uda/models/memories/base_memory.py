"""What all memory banks share: a buffer that is replaced, never written in place, and that resizes on load."""

from __future__ import annotations

from torch import Tensor

from mmreid_uda.models.layers import ResizingBuffers
from mmreid_uda.structures import PseudoLabelState

__all__ = ["BaseMemory"]


class BaseMemory(ResizingBuffers):
    """A bank of unit vectors beside the network, kept as buffers so that checkpoints carry it, of any size.

    An update *replaces* the tensor: the loss of the running iteration keeps the old one in its graph, so its gradient
    is that of the memory before the update (as in Cluster-Contrast), and no custom autograd function is needed.

    Sub-classes implement :meth:`reset`, :attr:`prototypes` and :meth:`update`.
    """

    def reset(self, state: PseudoLabelState) -> None:
        """Build the bank anew from the labels and features of a clustering step.

        Args:
            state: Labels int64 (N,), -1 = outlier, and features float32 (N, D) of all training images.
        """
        raise NotImplementedError

    @property
    def prototypes(self) -> Tensor:
        """float32 (K, D): one vector per class, what features are compared with."""
        raise NotImplementedError

    def update(self, features: Tensor, labels: Tensor, sample_idx: Tensor) -> None:
        """Write a global batch into the bank.

        Args:
            features: (B, D) unit rows.
            labels: int64 (B,), class of each row.
            sample_idx: int64 (B,), position of each image in the full list.
        """
        raise NotImplementedError
