"""Training with labels: on a labelled source, stage 1 of domain adaptation; on pseudo-labels, the clustering baseline.

Both are a network with a classifier, label-smoothed cross-entropy and the softmax-triplet loss. They are what MMT, ABMT
and their successors start from, and what they are compared with.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.layers import latent_cells
from mmreid_uda.models.teacher import ReIDNetwork
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import gather_batch

from .base import BaseReID

__all__ = ["ClusterBaseline", "Supervised"]


class _Classification(BaseReID):
    """One network with a ``ClassifierHead``."""

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Make the encoder, and the head that fits it."""
        network = ReIDNetwork(encoder, head or {})
        self.encoder, self.head = network.encoder, network.head

    def classify(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """Hard losses of a batch with its labels: ``loss_ce``, ``loss_triplet``."""
        return self.head.loss(self.head(out), gather_batch(samples.gt_label))


@MODELS.register_module()
class Supervised(_Classification):
    """``L = CE_ls(z, y) + ST_hard(f, y)`` on labelled source images (stage 1 of MMT and ABMT).

    If the configuration has a ``target``, every iteration a batch of it is forwarded as well, in train mode and without
    a loss, *after* the source: the running statistics of batch normalisation then mix both domains. ``target=None``
    leaves it out. An encoder with the cells of PTL takes no target: its images would overwrite what the cells remember
    of the source.

    Raises:
        InputError: At the first batch, for a target and an encoder with cells.
    """

    required_hooks: ClassVar = dict(source_classes=dict(type="SourceClassesHook"))

    def on_source(self, num_classes: int, seed: int = 0) -> None:
        """Give the classifier the identities of all sources, its rows from ``seed``; ``SourceClassesHook`` calls it."""
        self.head.activate(num_classes, seed)

    def loss(self, inputs: Tensor, data_samples: ReIDDataSample) -> dict[str, Tensor]:
        """Losses of the source part of a ``[source | target]`` batch; the target is only looked at."""
        num_source = data_samples.count_source()
        num_target = len(inputs) - num_source
        if num_target and any(True for _ in latent_cells(self.encoder)):
            raise InputError(
                f"found {num_target} target images beside {num_source} of the source in a batch, expected none where "
                "the encoder has cells, which would remember the target in place of the source; set target=None."
            )
        out = self.encode(self.encoder, inputs[:num_source], num_source)
        losses = self.loss_source(out, data_samples[:num_source])
        if num_target:
            with torch.no_grad():
                self.encode(self.encoder, inputs[num_source:])
        return losses

    def loss_source(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce`` and ``loss_triplet``."""
        return self.classify(out, samples)


@MODELS.register_module()
class ClusterBaseline(_Classification):
    """The same losses on pseudo-labels that come from the network itself: no teacher (MMT's ``base_train``).

    After every clustering the classifier starts from the centroids.
    """

    required_hooks: ClassVar = dict(
        # As released: the first epochs train on the few clusters there are.
        cluster=dict(type="ClusterHook", max_outlier_ratio=1.0),
        # A new Adam for the new classifier.
        optimizer_reset=dict(type="OptimizerResetHook", optional=True),
    )

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce`` and ``loss_triplet``."""
        return self.classify(out, samples)
