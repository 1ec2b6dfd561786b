"""The encoder every algorithm shares: backbone, pooling, neck."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.models.layers import convert_norm, probe
from mmreid_uda.models.weights import PretrainedModule
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

__all__ = ["EncoderOutput", "ReIDEncoder"]


class EncoderOutput(NamedTuple):
    """The two features of a batch."""

    pooled: Tensor
    """(B, feat_dim): the feature ``f`` before the neck, not normalised; triplet losses use it."""
    embedding: Tensor
    """(B, embed_dim): the feature ``b`` after the neck, not normalised; classifiers use it."""

    @property
    def normalized(self) -> Tensor:
        """(B, embed_dim): ``L2(b)``; memories, clustering and retrieval use it."""
        return F.normalize(self.embedding, dim=1)


@MODELS.register_module()
class ReIDEncoder(PretrainedModule):
    """Images to features: ``f = pool(backbone(x))``, ``b = neck(f)``.

    A backbone of another package (``dict(type='mmpretrain.ResNet', ...)``) may return a tuple, of which the last entry
    is taken, and may return vectors (B, D), which are not pooled.

    Attributes:
        num_branches (int): 1; encoders with several concatenate their features.
        feat_dim (int): Dimension of ``f``.
        embed_dim (int): Dimension of ``b``; equal to ``feat_dim`` for the BN-neck.

    Args:
        backbone: Config of a backbone. Its own ``init_cfg`` loads ImageNet weights.
        pool: Config of ``GlobalAvgPool``, ``GlobalMaxPool`` or ``GeM``. Defaults to the average.
        neck: Config of ``BNNeck`` or ``EmbeddingNeck``; ``in_channels`` is filled in, from the backbone's ``feat_dim``
            or from one forward of a blank image. Defaults to the BN-neck.
        norm: Replacement of every batch normalisation of backbone and neck, see
            :func:`~mmreid_uda.models.layers.convert_norm`: ``dict(type='GhostBN', samples_per_group=64)``,
            ``dict(type='DomainBN')``; ``keep_frozen=False`` in it lets a frozen neck bias learn. Defaults to None.
        channels_last: Compute with NHWC memory: faster for mixed precision on GPUs, and for MobileNets on CPUs.
            Defaults to False.
        init_cfg: Weights of the whole encoder, for instance of a source model; ``dict(type='Pretrained',
            checkpoint=..., prefix=...)`` finds them under any prefix, see :class:`PretrainedModule`. Defaults to None.

    Raises:
        InputError: The backbone is not registered, or its package cannot be imported; the dimension of its output
            cannot be found; its output is neither map nor vector.

    Example:
        >>> encoder = dict(type='ReIDEncoder', backbone=dict(type='ResNet', depth=50), pool=dict(type='GeM'),
        ...                norm=dict(type='GhostBN', samples_per_group=64))
    """

    num_branches = 1

    def __init__(
        self,
        backbone: dict,
        pool: dict | None = None,
        neck: dict | None = None,
        norm: dict[str, Any] | None = None,
        channels_last: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone: Any = MODELS.build(backbone)
        self.pool: nn.Module = MODELS.build(pool or {"type": "GlobalAvgPool"})
        neck = dict(neck or {"type": "BNNeck"})
        if "in_channels" not in neck:
            neck["in_channels"] = getattr(self.backbone, "feat_dim", None) or self._measure()
        self.feat_dim: int = neck["in_channels"]
        self.neck: nn.Module = MODELS.build(neck)
        self.embed_dim: int = self.neck.out_channels
        self.convert(norm)

    def convert(self, norm: dict[str, Any] | None) -> None:
        """Replace the batch normalisations, if ``norm`` says so, and set the memory format: building ends with it.

        Args:
            norm: As for the class; None changes no layer.
        """
        if norm is not None:
            convert_norm(self, norm)
        self.to(memory_format=self.memory_format)

    def _measure(self) -> int:
        """Dimension of the pooled feature, found by a blank image."""
        try:
            return probe(self, self.pooled, 256, 128).shape[1]
        except InputError:
            raise
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"The dimension of {type(self.backbone).__name__}'s output could not be found with a blank image of "
                f"256×128 ({reason}): change backbone to take this size, or set neck.in_channels."
            ) from error

    def pooled(self, x: Tensor) -> Tensor:
        """Map images to the feature ``f``.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, feat_dim), not normalised.

        Raises:
            InputError: If the backbone gives neither maps nor vectors.
        """
        out = self.backbone(x.contiguous(memory_format=self.memory_format))
        if isinstance(out, (tuple, list)):
            out = out[-1]
        if out.dim() == 4:
            return self.pool(out)
        if out.dim() == 2:
            return out
        raise InputError(
            f"{type(self.backbone).__name__} returned a tensor of shape {tuple(out.shape)}, expected a map "
            "(B, C, H, W) or vectors (B, D): change the output type in backbone."
        )

    def forward(self, x: Tensor) -> EncoderOutput:
        """Map images to both features.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            Pooled features (B, feat_dim) and embeddings (B, embed_dim).
        """
        f = self.pooled(x)
        return EncoderOutput(pooled=f, embedding=self.neck(f))
