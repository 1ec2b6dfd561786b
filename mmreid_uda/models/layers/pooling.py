"""Pooling of a feature map to one vector per image: average, maximum, generalised mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmreid_uda.registry import MODELS

__all__ = ["GeM", "GlobalAvgPool", "GlobalMaxPool"]


@MODELS.register_module()
class GlobalAvgPool(nn.Module):
    """Mean over the map: (B, C, H, W) to (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map ``x`` (B, C, H, W) to (B, C).

        Args:
            x: float (B, C, H, W).

        Returns:
            float (B, C): ``1/HW · sum x``.
        """
        return x.mean(dim=(2, 3))


@MODELS.register_module()
class GlobalMaxPool(nn.Module):
    """Maximum over the map: (B, C, H, W) to (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map ``x`` (B, C, H, W) to (B, C).

        Args:
            x: float (B, C, H, W).

        Returns:
            float (B, C): ``max x``.
        """
        return x.amax(dim=(2, 3))


@MODELS.register_module()
class GeM(nn.Module):
    """Generalised mean ``mean(max(x, eps)^p)^(1/p)`` with one exponent for all channels.

    ``p = 1`` is the average of a non-negative map, ``p -> inf`` its maximum. The powers are taken in float32 whatever
    the precision of the map is: the cube of a half-precision activation overflows at 41.

    Source: Radenović et al., "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2019, eq. 3.

    Args:
        p: Exponent (start value if it is learned), > 0. Defaults to 3.
        learnable: Whether ``p`` is a parameter, or a fixed buffer. Defaults to True.
        eps: Lower clamp of the activations, > 0, so that the power has a gradient. Defaults to 1e-6.
    """

    p: Tensor

    def __init__(self, p: float = 3.0, learnable: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        exponent = torch.tensor([float(p)])
        if learnable:
            self.p = nn.Parameter(exponent)
        else:
            self.register_buffer("p", exponent)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map ``x`` (B, C, H, W) to (B, C), in the precision of ``x``.

        Args:
            x: float (B, C, H, W).

        Returns:
            float (B, C): ``(1/HW · sum x^p)^(1/p)``.
        """
        with torch.autocast(x.device.type, enabled=False):
            p = self.p.float()
            pooled = x.float().clamp(min=self.eps).pow(p).mean(dim=(2, 3)).pow(1.0 / p)
        return pooled.to(x.dtype)

    def extra_repr(self) -> str:
        """Show the present exponent."""
        return (
            f"p={self.p.item():.4g}, learnable={isinstance(self.p, nn.Parameter)}, eps={self.eps:g}"
        )
