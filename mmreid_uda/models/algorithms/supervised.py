"""Training with labels: on a labelled source, stage 1 of domain adaptation; on pseudo-labels, the clustering baseline.

Both are a network with a classifier, label-smoothed cross-entropy and the softmax-triplet loss. They are what MMT, ABMT
and their successors start from, and what they are compared with.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.models.layers import latent_cells
from mmreid_uda.models.losses import cross_entropy, softmax_triplet
from mmreid_uda.models.teacher import ReIDNetwork
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import FractionBelowOne

from .base import BaseReID

__all__ = ["ClusterBaseline", "Supervised"]


class _Classification(BaseReID):
    """One network with a ``ClassifierHead``, whose output losses are given: ``L = CE_ls(z, y) + ST_hard(f, y)``.

    Args:
        *args: As for :class:`BaseReID`.
        ce_weight: Of CE_ls. Defaults to 1.
        triplet_weight: Of ST_hard. Defaults to 1. A term of weight 0 is not computed.
        label_smoothing: epsilon of CE_ls. Defaults to 0.1.
        **kwargs: As for :class:`BaseReID`.
    """

    def __init__(
        self,
        *args: Any,
        ce_weight: float = 1.0,
        triplet_weight: float = 1.0,
        label_smoothing: FractionBelowOne = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.ce_weight, self.triplet_weight = ce_weight, triplet_weight
        self.cross_entropy = partial(cross_entropy, label_smoothing=label_smoothing)

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Make the encoder, and the head that fits it."""
        network = ReIDNetwork(encoder, head or {})
        self.encoder, self.head = network.encoder, network.head

    def outputs(self, features: EncoderOutput, inputs: Tensor) -> Any:
        """Pooled features and logits of the global batch."""
        return self.head(features)

    def hard_losses(self, out: BranchOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce`` and ``loss_triplet``.

        Args:
            out: Of the global batch.
            samples: Annotations of this rank's images.

        Returns:
            Scalars by name; a term of weight 0 is left out.
        """
        (f, z), y, losses = out, gather_batch(samples.gt_label), {}
        if self.ce_weight:
            losses["loss_ce"] = self.ce_weight * self.cross_entropy(z, y)
        if self.triplet_weight:
            losses["loss_triplet"] = self.triplet_weight * softmax_triplet(f, y)
        return losses


@MODELS.register_module()
class Supervised(_Classification):
    """``L = CE_ls(z, y) + ST_hard(f, y)`` on labelled source images (stage 1 of MMT and ABMT).

    Source: the released code of MMT (Ge et al., ICLR 2020) and ABMT (Chen et al., WACV 2021).

    If the configuration has a ``target``, every iteration a batch of it is forwarded as well, in train mode and without
    a loss, *after* the source: the running statistics of batch normalisation then mix both domains. ``target=None``
    leaves it out. An encoder with the cells of PTL takes no target: its images would overwrite what the cells remember
    of the source.

    Raises:
        InputError: At the first batch, for a target and an encoder with cells.
    """

    required_hooks: ClassVar = dict(source_classes=dict(type="SourceClassesHook"))

    def on_source(self, num_classes: int, seed: int = 0) -> None:
        """Give the classifier the identities of all sources; ``SourceClassesHook`` calls it.

        Args:
            num_classes: Number of identities K.
            seed: Its rows are drawn from it.
        """
        self.head.set_num_classes(num_classes, seed)

    def loss(self, inputs: Tensor, data_samples: ReIDDataSample) -> dict[str, Tensor]:
        """Losses of the source part of a ``[source | target]`` batch; the target is only looked at.

        Args:
            inputs: float (B, 3, H, W), normalised; source images first.
            data_samples: Annotations of the B images.

        Returns:
            Scalars by name, of the source.

        Raises:
            InputError: For target images and an encoder with cells.
        """
        num_source = data_samples.count_source()
        num_target = len(inputs) - num_source
        if num_target and any(True for _ in latent_cells(self.encoder)):
            raise InputError(
                f"found {num_target} target images beside {num_source} of the source in a batch, expected none where "
                "the encoder has cells, which would remember the target in place of the source; set target=None."
            )
        source = inputs[:num_source]
        out = self.outputs(self.encode(self.encoder, source, num_source), source)
        if num_target:
            with torch.no_grad():
                self.encode(self.encoder, inputs[num_source:])
        return self.loss_source(out, data_samples[:num_source])

    def loss_source(self, out: BranchOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce`` and ``loss_triplet``."""
        return self.hard_losses(out, samples)


@MODELS.register_module()
class ClusterBaseline(_Classification):
    """The same losses on pseudo-labels that come from the network itself: no teacher (MMT's ``base_train``).

    After every clustering the classifier starts from the centroids. Source: the released code of MMT (Ge et al., ICLR
    2020).
    """

    required_hooks: ClassVar = dict(
        # As released: the first epochs train on the few clusters there are.
        cluster=dict(type="ClusterHook", max_outlier_ratio=1.0),
        # A new Adam for the new classifier.
        optimizer_reset=dict(type="OptimizerResetHook", optional=True),
    )

    def loss_target(self, out: BranchOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce`` and ``loss_triplet``."""
        return self.hard_losses(out, samples)
