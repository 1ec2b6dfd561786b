"""The BN-neck: batch normalisation between the metric feature and the classified feature."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmreid_uda.registry import MODELS

__all__ = ["BNNeck"]


@MODELS.register_module()
class BNNeck(BaseModule):
    """``b = BN(f)`` with scale 1 and shift 0 at the start; the shift is frozen at 0.

    Source: Luo et al., "Bag of tricks and a strong baseline for deep person re-identification", CVPRW 2019.

    Args:
        in_channels: Dimension D of ``f``; :class:`~mmreid_uda.models.ReIDEncoder` fills it in.
        freeze_bias: Whether the shift stays 0. Defaults to True.
        init_cfg: mmengine's initialisation config. Defaults to None.
    """

    def __init__(
        self, in_channels: int, freeze_bias: bool = True, init_cfg: dict | list[dict] | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = in_channels
        self.bn = nn.BatchNorm1d(in_channels)
        self.bn.bias.requires_grad_(not freeze_bias)

    def forward(self, f: Tensor) -> Tensor:
        """Map pooled features to embeddings.

        Args:
            f: (B, D).

        Returns:
            (B, D).
        """
        return self.bn(f)
