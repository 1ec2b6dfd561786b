"""TransReID-SSL and PASS: Cluster-Contrast on vision transformers that were pre-trained on people.

Sources: Luo et al., "Self-Supervised Pre-Training for Transformer-Based Person Re-Identification", arXiv 2111.12084;
Zhu et al., "PASS: Part-Aware Self-Supervised Pre-Training for Person Re-Identification", ECCV 2022; released code.

Method, backbones and weights are the package's, and the recipes are configs. Here is what is left: the neck of those
recipes of PASS that normalise each token by itself.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmreid_uda.models.necks import BNNeck
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count


@MODELS.register_module()
class TokenNeck(BaseModule):
    """A BN-neck and a unit norm for each token, then one feature of all: PASS's multi-neck.

    Of ``[c, p1, ..., pP]``, with ``^ = L2(BN(.))`` by a neck of its own and p the mean of all p̂: ``'cat'`` gives
    ``[ĉ, p]``, 2D, as from MSMT17 to Market-1501; ``'mean'`` gives ``(ĉ + p) / 2``, D, as the other way. Neither is of
    unit norm.

    Args:
        in_channels: (1 + P) · D, of a ``ReIDViT`` with ``output='parts'``; the encoder fills it in.
        fusion: ``'cat'`` or ``'mean'``. Defaults to ``'cat'``.
        num_parts: P, tokens beside the class token. Defaults to 3.
        freeze_bias: As for :class:`BNNeck`.
        init_cfg: As in mmengine.

    Raises:
        InputError: The feature does not consist of so many tokens.
    """

    def __init__(
        self,
        in_channels: int,
        fusion: Literal["cat", "mean"] = "cat",
        num_parts: Count = 3,
        freeze_bias: bool = True,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        width, rest = divmod(in_channels, 1 + num_parts)
        if rest:
            raise InputError(
                f"found features of {in_channels} numbers in a TokenNeck, expected {1 + num_parts} tokens of equal "
                "width: set encoder.backbone.output='parts', or neck.num_parts."
            )
        self.necks = nn.ModuleList(BNNeck(width, freeze_bias) for _ in range(1 + num_parts))
        self.fusion = fusion
        self.out_channels = 2 * width if fusion == "cat" else width

    def forward(self, f: Tensor) -> Tensor:
        """Map tokens behind each other to one embedding.

        Args:
            f: (B, (1 + P) · D).

        Returns:
            (B, 2D) or (B, D).
        """
        tokens = f.chunk(len(self.necks), 1)
        whole, *parts = (F.normalize(neck(token), dim=1) for neck, token in zip(self.necks, tokens))
        mean = torch.stack(parts).mean(0)
        return torch.cat([whole, mean], 1) if self.fusion == "cat" else (whole + mean) / 2
