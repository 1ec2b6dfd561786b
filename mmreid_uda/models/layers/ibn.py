"""IBN-a: instance normalisation of one half of the channels, batch normalisation of the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["IBN"]


class IBN(nn.Module):
    """``[IN(x[:, :C//2]) | BN(x[:, C//2:])]``, both with a learned scale and shift.

    The sub-modules are called ``IN`` and ``BN``, so that the public ``resnet50_ibn_a`` checkpoints load by name.

    Source: Pan et al., "Two at once: enhancing learning and generalization capacities via IBN-Net", ECCV 2018.

    Args:
        channels: Number of channels C, at least 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sizes = [channels // 2, channels - channels // 2]
        self.IN = nn.InstanceNorm2d(self.sizes[0], affine=True)
        self.BN = nn.BatchNorm2d(self.sizes[1])

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, C, H, W); the shape stays.

        Args:
            x: float (B, C, H, W).

        Returns:
            float (B, C, H, W).
        """
        instance, batch = x.split(self.sizes, dim=1)
        return torch.cat([self.IN(instance), self.BN(batch)], dim=1)
