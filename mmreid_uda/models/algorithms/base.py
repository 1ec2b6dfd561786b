"""What every re-ID algorithm shares: one encoder, a loss per domain, features for clustering and testing."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmreid_uda.models.encoder import EncoderOutput
from mmreid_uda.models.layers import domain_split, row_parameters
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample
from mmreid_uda.utils import InputError

__all__ = ["BaseReID"]


class BaseReID(BaseModel):
    """An encoder and, by sub-class, a loss on source images, on target images, or on both.

    A sub-class overrides at most :meth:`loss_source`, :meth:`loss_target` and :meth:`on_relabel`.

    Args:
        encoder: Config of the encoder, normally a ``ReIDEncoder``.
        head: Config of the head; ``None`` for algorithms without one.
        test_cfg: ``flip=True`` adds the features of the mirrored image; ``feature`` is ``'embedding'`` (after the
            BN neck, default) or ``'pooled'`` (before it). Clustering uses the same features as testing.
        data_preprocessor: Config of the preprocessor. Defaults to ``dict(type='ReIDDataPreprocessor')``.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        encoder: dict[str, Any],
        head: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            MODELS.build(data_preprocessor or dict(type="ReIDDataPreprocessor")), init_cfg
        )
        self.build_networks(encoder, head)
        self.flip, self.feature = self._read_test_cfg(**(test_cfg or {}))

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Make ``self.encoder`` and ``self.head``; algorithms whose head depends on the encoder override it."""
        self.encoder: Any = MODELS.build(encoder)
        self.head: Any = MODELS.build(head) if head is not None else None

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """Parameters that ``DistributedDataParallel``, which asks for them by this name, leaves alone."""
        return [name for name, _, _ in row_parameters(self)]

    def tested_encoders(self) -> list[nn.Module]:
        """The encoders whose features :meth:`extract_feat` gives: all that a deployment needs."""
        return [self.encoder]

    @staticmethod
    def _read_test_cfg(flip: bool = False, feature: str = "embedding") -> tuple[bool, str]:
        if feature not in EncoderOutput._fields:
            raise InputError(
                f"found model.test_cfg.feature={feature!r}, expected one of {list(EncoderOutput._fields)}."
            )
        return flip, feature

    def forward(
        self,
        inputs: Tensor,
        data_samples: ReIDDataSample | None = None,
        mode: Literal["tensor", "predict", "loss"] = "tensor",
    ) -> Any:
        """Run the model as mmengine's loops ask for it.

        Args:
            inputs: float (B, 3, H, W), normalised; in ``mode='loss'`` possibly a tuple of such views.
            data_samples: Annotations; needed for ``'predict'`` and ``'loss'``.
            mode: ``'tensor'`` gives test features, ``'predict'`` the samples with their features, ``'loss'`` losses.

        Returns:
            float32 (B, D) unit rows; or a list with one :class:`ReIDDataSample`; or a dict of scalars.
        """
        if mode == "tensor":
            return self.extract_feat(inputs)
        if data_samples is None:
            raise ValueError(f"mode={mode!r} needs data_samples")
        if mode == "predict":
            data_samples.features = self.extract_feat(inputs)
            return [data_samples]
        if mode == "loss":
            return self.loss(inputs, data_samples)
        raise ValueError(f"found mode={mode!r}, expected 'tensor', 'predict' or 'loss'")

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Features for clustering and testing: float32 (B, D), unit rows; the sum over both flips with ``flip``."""
        features = getattr(self.encoder(inputs), self.feature)
        if self.flip:
            features = features + getattr(self.encoder(inputs.flip(-1)), self.feature)
        return F.normalize(features.float(), dim=1)

    def loss(self, inputs: Tensor, data_samples: ReIDDataSample) -> dict[str, Tensor]:
        """Encode the ``[source | target]`` batch once and add the losses of the domains that are in it."""
        num_source = int((data_samples.domain == 0).sum())
        with domain_split(self.encoder, num_source):
            out = self.encoder(inputs)
        losses: dict[str, Tensor] = {}
        for part, loss in (
            (slice(num_source), self.loss_source),
            (slice(num_source, None), self.loss_target),
        ):
            if len(data_samples[part]):
                losses.update(
                    loss(EncoderOutput(*(value[part] for value in out)), data_samples[part])
                )
        return losses

    def loss_source(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """Losses of the labelled source images; keys start with ``loss``."""
        raise InputError(
            f"{type(self).__name__} does not train on a labelled source; remove `source` from the config."
        )

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """Losses of the target images with their pseudo-labels; keys start with ``loss``."""
        raise InputError(
            f"{type(self).__name__} does not train on a target; remove `target` from the config."
        )

    @torch.no_grad()
    def on_relabel(self, state: PseudoLabelState) -> None:
        """Take over new pseudo-labels: rebuild memories, classifier rows, soft-label tables."""
        if self.head is not None:
            self.head.on_relabel(state)
