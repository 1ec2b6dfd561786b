"""What all memory banks share: a buffer that is replaced, never written in place, and that resizes on load."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmreid_uda.structures import PseudoLabelState

__all__ = ["BaseMemory"]


class BaseMemory(nn.Module):
    """A bank of unit vectors beside the network, kept as buffers so that checkpoints carry it.

    An update *replaces* the tensor: the loss of the running iteration keeps the old one in its graph, so its gradient
    is that of the memory before the update (as in Cluster-Contrast), and no custom autograd function is needed.

    Sub-classes implement :meth:`reset`, :attr:`prototypes` and :meth:`update`.
    """

    def reset(self, state: PseudoLabelState) -> None:
        """Build the bank anew from the labels and features of a clustering step."""
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

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # The number of classes is the checkpoint's, not this object's: take over its shape before torch compares them.
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if buffer is not None and saved is not None and saved.shape != buffer.shape:
                self._buffers[name] = torch.empty(
                    saved.shape, dtype=buffer.dtype, device=buffer.device
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
