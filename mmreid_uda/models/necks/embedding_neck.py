"""A fully connected embedding of another dimension than the backbone's."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmreid_uda.registry import MODELS

__all__ = ["EmbeddingNeck"]


@MODELS.register_module()
class EmbeddingNeck(BaseModule):
    """``b = dropout(leaky_relu(BN(W f + a)))``, the 512-d layer before FAT's classifier.

    The linear layer starts Kaiming-normal (fan-out) with bias 0, the batch normalisation with scale N(1, 0.02).

    Source: Yuan et al., "In defense of the triplet loss again: learning robust person re-identification with
    fast approximated triplet loss and label distillation", CVPRW 2020, official code.

    Args:
        in_channels: Dimension of ``f``; :class:`~mmreid_uda.models.ReIDEncoder` fills it in.
        embed_dim: Dimension of ``b``. Defaults to 512.
        negative_slope: Slope of the leaky ReLU. Defaults to 0.1.
        dropout: Probability of dropping an entry, 0..1. Defaults to 0.5.
        init_cfg: mmengine's initialisation config. Defaults to None.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int = 512,
        negative_slope: float = 0.1,
        dropout: float = 0.5,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = embed_dim
        self.fc = nn.Linear(in_channels, embed_dim)
        self.bn = nn.BatchNorm1d(embed_dim)
        self.act = nn.LeakyReLU(negative_slope)
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_normal_(self.fc.weight, mode="fan_out")
        nn.init.zeros_(self.fc.bias)
        nn.init.normal_(self.bn.weight, 1.0, 0.02)

    def forward(self, f: Tensor) -> Tensor:
        """Map pooled features to embeddings.

        Args:
            f: (B, in_channels).

        Returns:
            (B, embed_dim).
        """
        return self.dropout(self.act(self.bn(self.fc(f))))
