"""ExampleProject: ClusterContrast, and features that stay short."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmreid_uda.models.algorithms import ClusterContrast
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample


@MODELS.register_module()
class ExampleProject(ClusterContrast):
    """ClusterContrast plus ``weight`` times the mean squared length of the pooled features.

    Args:
        *args: As for :class:`ClusterContrast`.
        weight: Of the new loss, at least 0. Defaults to 0.01.
        **kwargs: As for :class:`ClusterContrast`.
    """

    def __init__(self, *args: Any, weight: float = 0.01, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weight = weight

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """The losses of ClusterContrast, and ``loss_norm``."""
        losses = super().loss_target(out, samples)
        losses["loss_norm"] = self.weight * out.pooled.square().sum(-1).mean()
        return losses

    # Beside the losses a method may say which networks there are (build_networks), which features are clustered
    # (cluster_features), what follows from new labels (on_relabel) and which hooks it needs (required_hooks). It
    # overrides nothing else: projects/README.md has the arguments, and what can be registered instead.
