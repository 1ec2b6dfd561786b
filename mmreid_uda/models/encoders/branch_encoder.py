"""ABMT's encoder: one trunk, a plain branch and a deeper one."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmcv.cnn.resnet import Bottleneck
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

from .reid_encoder import EncoderOutput, ReIDEncoder

__all__ = ["AsymmetricBranchEncoder"]


@MODELS.register_module()
class AsymmetricBranchEncoder(ReIDEncoder):
    """Two branches behind a shared trunk, different in depth and pooling (ABMT, Chen et al., WACV 2021).

    * Branch g: the backbone's last stage, average pooling, neck. This is the plain encoder.
    * Branch m: a *copy* of the last stage with the same pre-trained weights, an extra bottleneck block
      (D -> D/4 -> D), max pooling, a neck of its own.

    Both features are concatenations ``[g | m]``, (B, 2D); the test feature is the embedding scaled to unit norm as a
    whole. ResNet-50 has 42,943,552 parameters this way.

    Attributes:
        num_branches (int): 2; a head takes the features apart again.

    Args:
        backbone: Config of a backbone with ``trunk`` and ``last_stage``: ``ResNet`` or ``MobileNetV2``.
        pool: Pooling of branch g. Defaults to the average.
        second_pool: Pooling of branch m. Defaults to the maximum.
        extra_blocks: Number of extra blocks of branch m. Defaults to 1; 0 gives two branches of equal depth.
        neck: Config of the neck of each branch. Defaults to the BN-neck.
        norm: As for :class:`ReIDEncoder`.
        channels_last: As for :class:`ReIDEncoder`.
        init_cfg: As for :class:`ReIDEncoder`.

    Raises:
        InputError: If the backbone cannot be branched.

    Example:
        >>> encoder = dict(type='AsymmetricBranchEncoder', backbone=dict(type='ResNet', depth=50, stem_relu=False))
    """

    num_branches = 2

    def __init__(
        self,
        backbone: dict[str, Any],
        pool: dict[str, Any] | None = None,
        second_pool: dict[str, Any] | None = None,
        extra_blocks: int = 1,
        neck: dict[str, Any] | None = None,
        norm: dict[str, Any] | None = None,
        channels_last: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(backbone, pool, neck, None, channels_last, init_cfg)
        if not hasattr(self.backbone, "last_stage"):
            raise InputError(
                f"found the backbone {type(self.backbone).__name__} in an AsymmetricBranchEncoder, expected ResNet or "
                "MobileNetV2, or a backbone of your own with `trunk` and `last_stage`: change encoder.backbone."
            )
        dimension = self.feat_dim
        self.second_stage = copy.deepcopy(self.backbone.last_stage())
        self.extra = nn.Sequential(*(_extra_block(dimension) for _ in range(extra_blocks)))
        self.second_pool: nn.Module = MODELS.build(second_pool or {"type": "GlobalMaxPool"})
        self.second_neck: nn.Module = MODELS.build(
            {"in_channels": dimension, **(neck or {"type": "BNNeck"})}
        )
        self.feat_dim, self.embed_dim = 2 * dimension, 2 * self.embed_dim
        self.convert(norm)

    def init_weights(self) -> None:
        """Load the backbone, copy its last stage to branch m, then what is left (an ``init_cfg`` of the whole)."""
        if self.is_init:
            return
        self.backbone.init_weights()
        self.second_stage.load_state_dict(self.backbone.last_stage().state_dict())
        super().init_weights()

    def forward(self, x: Tensor) -> EncoderOutput:
        """Map images to the features of both branches, ``[g | m]``.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            Pooled features (B, feat_dim) and embeddings (B, embed_dim), of which each branch has a half.
        """
        shared = self.backbone.trunk(x.contiguous(memory_format=self.memory_format))
        g = self.pool(self.backbone.last_stage()(shared))
        m = self.second_pool(self.extra(self.second_stage(shared)))
        return EncoderOutput(
            pooled=torch.cat([g, m], dim=1),
            embedding=torch.cat([self.neck(g), self.second_neck(m)], dim=1),
        )


def _extra_block(channels: int) -> nn.Module:
    """A bottleneck block that keeps the width; convolutions start Kaiming-normal (fan-in), scales N(1, 0.02)."""
    block = Bottleneck(channels, channels // Bottleneck.expansion)
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return block
