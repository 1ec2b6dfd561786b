"""Cluster-Contrast (Dai et al., arXiv 2103.11568, ACCV 2022): contrast every image with the centroids of all clusters.

Every epoch: extract all target images, cluster them (Jaccard + DBSCAN, or InfoMap), start one memory row per cluster
from its mean feature. Every iteration: InfoNCE of the batch against the memory, then move the memory towards the batch.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils.dist import gather_batch

from .base import BaseReID

__all__ = ["ClusterContrast"]


@MODELS.register_module()
class ClusterContrast(BaseReID):
    """One network, one cluster memory: ``L = CE(x · M^T / tau, y)`` (Dai et al., arXiv 2103.11568, ACCV 2022).

    Everything else is configuration.

    Variants: ``head.memory.update`` is ``'momentum'``, ``'hard'`` or ``'mean'``; ``head.memory.init`` is ``'mean'`` or
    ``'random'``; ``head.memory.type='InstanceMemory'`` is the instance baseline; pooling is the encoder's ``pool``; the
    sampler's ``use_cameras=False`` drops the camera rule; the clusterer is the cluster hook's.
    """

    # As released: the first epochs train on the few clusters there are.
    required_hooks: ClassVar = dict(cluster=dict(type="ClusterHook", max_outlier_ratio=1.0))

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_contrast`` of the L2-normalised embedding."""
        x, logits = self.head(out)
        y, sample_idx = gather_batch(samples.gt_label), gather_batch(samples.sample_idx)
        self.remember(self.head.memory.update, x, y, sample_idx)
        return dict(loss_contrast=F.cross_entropy(logits, y))
