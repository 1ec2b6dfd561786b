"""FAT (Yuan et al., "In defense of the triplet loss again", CVPR workshops 2020): images against class centroids.

The triplet loss compares images with images, cubically many. FAT compares images with the centroids of the classes: a
bound of the triplet loss that is linear in the data set, beside the cross-entropy of a classifier. Before every epoch:
extract all training images, and take one centroid per annotated identity. Every iteration: cross-entropy, a hinge
between the own centroid and negatives, and the distance to the own centroid.

Where labels are wrong, a teacher is trained in rounds on the images whose label it believes, and its softmax takes the
place of the labels (label distillation). The teacher is this class, too, with ``head.loss.name='XE'`` and the
clusterer ``ConfidentLabels``; the student has ``head.soft_labels``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils.dist import gather_batch

from .base import BaseReID

__all__ = ["FAT"]

# Images classified at once: a block of probabilities stays small beside the features.
_BLOCK = 8192


@MODELS.register_module()
class FAT(BaseReID):
    """``L = XE + point-to-set hinge + weight · compactness``, as the name of the head's loss says.

    The pooled feature f is what centroids, hinge and retrieval use (``test_cfg.feature='pooled'``); the neck's
    embedding is classified. Everything that varies is a key of the head.
    """

    _plain = False

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Make the encoder, and the head that fits its embedding."""
        self.encoder = MODELS.build(encoder)
        self.head = MODELS.build(
            {"type": "FATHead", "in_channels": self.encoder.embed_dim, **(head or {})}
        )

    @contextmanager
    def plain_features(self) -> Iterator[None]:
        """Within this context :meth:`extract_feat` gives f itself: unmirrored, not normalised."""
        self._plain = True
        try:
            yield
        finally:
            self._plain = False

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Features for testing, unit rows; within :meth:`plain_features` those that centroids are made of."""
        if self._plain:
            return self.encode(self.encoder, inputs).pooled
        return super().extract_feat(inputs)

    @torch.no_grad()
    def class_probabilities(self, features: Tensor) -> Tensor:
        """What the classifier says about images whose features were extracted before.

        Args:
            features: float32 (N, D), pooled, not normalised.

        Returns:
            float32 (N, K), softmax in evaluation mode.
        """
        neck = self.encoder.neck
        was_training = neck.training
        neck.eval()
        blocks = [self.head.probabilities(neck(block)) for block in features.split(_BLOCK)]
        neck.train(was_training)
        return torch.cat(blocks)

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """The terms of the loss: ``loss_xe``, ``loss_tri``, ``loss_mg``, ..."""
        return self.head.loss(
            self.head(out), gather_batch(samples.gt_label), gather_batch(samples.sample_idx)
        )
