"""CAP: a cluster is several proxies, one for each camera that has seen it.

Source: Wang et al., "Camera-aware Proxies for Unsupervised Person Re-Identification", AAAI 2021.

A camera changes how people look, so one centroid stands badly for a cluster of several cameras. CAP keeps a centroid
for each camera of a cluster, a *proxy*. Within a camera, images are told apart by its proxies alone; after some epochs
they are also drawn to the proxies of their cluster in all cameras, away from the hardest others.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from mmreid_uda.datasets.samplers import DomainBatchSampler
from mmreid_uda.engine import unwrap
from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.memories import ClusterMemory
from mmreid_uda.registry import DATA_SAMPLERS, HOOKS, MODELS
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample
from mmreid_uda.utils import full_precision
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import Count, FractionBelowOne, Natural, NonNegative

# ---- proxies


def split_by_camera(
    labels: np.ndarray, cameras: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the pairs of cluster and camera that occur: cluster by cluster, cameras ascending within.

    Images of unknown camera are one more camera of their cluster.

    Args:
        labels: int64 (N,), -1 = outlier.
        cameras: int64 (N,), -1 = unknown.

    Returns:
        int64 (N,) proxy of each image, -1 = outlier; int64 (P,) cluster and int64 (P,) camera of each proxy.
    """
    kept = labels >= 0
    pairs, numbers = np.unique(
        np.stack([labels[kept], cameras[kept]], 1), axis=0, return_inverse=True
    )
    proxies = np.full(len(labels), -1)
    proxies[kept] = numbers.reshape(-1)
    return proxies, pairs[:, 0], pairs[:, 1]


@DATA_SAMPLERS.register_module()
class ProxyBalancedSampler(DomainBatchSampler):
    """K images of each proxy of the target, whatever its size; different ones if it has as many.

    Arguments as for :class:`DomainBatchSampler`, whose ``use_cameras`` and ``distinct`` have no effect here.
    """

    def draw_pass(
        self, domain: int, labels: np.ndarray, camids: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Go once over the proxies in a new random order; arguments as in :class:`DomainBatchSampler`."""
        num = self.num_instances[domain]
        if domain == 0 or num == 0:
            return super().draw_pass(domain, labels, camids, rng)
        # Not `camids`, in which each image of unknown camera has a camera of its own.
        cameras = self.sampler.dataset.target.evidence.cameras
        proxies, clusters, _ = split_by_camera(labels, cameras)
        by_proxy = np.argsort(proxies, kind="stable")
        starts = np.searchsorted(proxies[by_proxy], np.arange(len(clusters)))
        # As released: of fewer than K images each is there K times, and K are drawn of these.
        members = (
            own if len(own) >= num else np.tile(own, num) for own in np.split(by_proxy, starts)[1:]
        )
        drawn = np.array([rng.choice(own, num, replace=False) for own in members])
        return rng.permutation(drawn).reshape(-1)


@MODELS.register_module()
class ProxyMemory(ClusterMemory):
    """One unit vector for each proxy, made anew at every clustering step: mean of its images, then moved by each.

    ``M_p <- L2(m M_p + (1 - m) x)``, image after image.

    Args:
        momentum: Share m of the old vector in an update, 0 <= m < 1. Defaults to 0.2.
        **kwargs: As for :class:`ClusterMemory`.

    Attributes:
        proxies: int64 (N,), the proxy of each training image of the target, -1 = outlier.
        clusters: int64 (P,), the cluster of each proxy.
        cameras: int64 (P,), the camera of each proxy, -1 = unknown.
    """

    proxies: Tensor
    clusters: Tensor
    cameras: Tensor

    def __init__(self, momentum: FractionBelowOne = 0.2, **kwargs: Any) -> None:
        super().__init__(momentum=momentum, **kwargs)
        for name in ("proxies", "clusters", "cameras"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    def reset(self, state: PseudoLabelState) -> None:
        """Split the clusters by camera, and start from the mean feature of each proxy."""
        labels = state.labels.cpu().numpy()
        unknown = np.full(len(labels), -1)
        cameras = unknown if state.evidence is None else state.evidence.cameras
        split = [torch.from_numpy(part) for part in split_by_camera(labels, cameras)]
        super().reset(replace(state, labels=split[0]))
        self.proxies, self.clusters, self.cameras = (part.to(self.proxies.device) for part in split)

    def update(self, features: Tensor, labels: Tensor, sample_idx: Tensor) -> None:
        """Move the proxies of the images of a global batch; arguments as in :class:`ClusterMemory`."""
        super().update(features, self.proxies[sample_idx], sample_idx)


# ---- losses, with logits z_i = x_i M^T / tau


@full_precision
def intra_camera_loss(logits: Tensor, proxies: Tensor, cameras: Tensor) -> Tensor:
    """``-log softmax(z_i)_p`` over the proxies of the camera of p, for images i of proxies p.

    Args:
        logits: float (B, P).
        proxies: int64 (B,).
        cameras: int64 (P,).

    Returns:
        float32 (B,).
    """
    elsewhere = cameras != cameras[proxies].unsqueeze(1)
    return F.cross_entropy(logits.masked_fill(elsewhere, -torch.inf), proxies, reduction="none")


@full_precision
def inter_camera_loss(
    logits: Tensor, proxies: Tensor, clusters: Tensor, num_negatives: int
) -> Tensor:
    """``-1/|Q| sum_{q in Q} log softmax(z_i)_q`` over Q and H, for images i of proxies p.

    Q are all proxies of the cluster of p, its own among them; H are the ``num_negatives`` others of the largest logits,
    or all of them if there are fewer.

    Args:
        logits: float (B, P).
        proxies: int64 (B,).
        clusters: int64 (P,).
        num_negatives: |H|.

    Returns:
        float32 (B,).
    """
    positive = clusters == clusters[proxies].unsqueeze(1)
    negatives = logits.masked_fill(positive, -torch.inf)
    hardest = negatives.topk(min(num_negatives, logits.shape[1]), dim=1).values
    among = torch.cat([logits.masked_fill(~positive, -torch.inf), hardest], dim=1)
    mean_positive = logits.masked_fill(~positive, 0).sum(1) / positive.sum(1)
    return among.logsumexp(1) - mean_positive


def sum_over_cameras(values: Tensor, cameras: Tensor) -> Tensor:
    """Sum over cameras of the mean of each: a scalar of float (B,) values by int64 (B,) cameras."""
    counts = (cameras.unsqueeze(1) == cameras).sum(1)
    return (values / counts).sum()


# ---- the method


@HOOKS.register_module()
class InterCameraHook(Hook):
    """Set ``model.inter_camera`` before every epoch: whether cameras are compared with each other yet.

    Args:
        start: The first epoch in which they are, 0-based. Defaults to 5.
    """

    def __init__(self, start: Natural = 5) -> None:
        self.start = start

    def before_train_epoch(self, runner: Runner) -> None:
        """Also right after a resume, since it asks for the epoch alone."""
        unwrap(runner.model).inter_camera = runner.epoch >= self.start


@MODELS.register_module()
class CAP(BaseReID):
    """``L = sum_c (mean_{i in c} L_intra(i) + w mean_{i in c} L_inter(i))`` over the cameras c of the global batch.

    The second term is there as soon as :class:`InterCameraHook` says so (``default_hooks.inter_camera.start``). Both
    compare with the memory as it was before the step. As a sum it grows with the number of cameras in a batch.

    The head is a ``ClusterMemoryHead`` with a :class:`ProxyMemory`, and the batches are those of
    :class:`ProxyBalancedSampler`.

    Args:
        *args: As for :class:`BaseReID`.
        inter_weight: w, at least 0. Defaults to 0.5.
        num_negatives: Hardest proxies of other clusters in L_inter. Defaults to 50.
        **kwargs: As for :class:`BaseReID`.
    """

    required_hooks: ClassVar = dict(
        # As released, no share of outliers is too large.
        cluster=dict(type="ClusterHook", max_outlier_ratio=1.0),
        inter_camera=dict(type="InterCameraHook"),
    )

    def __init__(
        self,
        *args: Any,
        inter_weight: NonNegative = 0.5,
        num_negatives: Count = 50,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.inter_weight, self.num_negatives = inter_weight, num_negatives
        self.inter_camera = False

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_intra`` and, in later epochs, ``loss_inter`` of the L2-normalised embedding."""
        memory = self.head.memory
        (x, logits), index = self.head(out), gather_batch(samples.sample_idx)
        proxies = memory.proxies[index]
        cameras = memory.cameras[proxies]
        intra = intra_camera_loss(logits, proxies, memory.cameras)
        losses = dict(loss_intra=sum_over_cameras(intra, cameras))
        if self.inter_camera:
            inter = inter_camera_loss(logits, proxies, memory.clusters, self.num_negatives)
            losses["loss_inter"] = self.inter_weight * sum_over_cameras(inter, cameras)
        self.remember(memory.update, x, gather_batch(samples.gt_label), index)
        return losses

    def on_relabel(self, state: PseudoLabelState) -> None:
        """A new memory; the number of proxies is among the figures of the log, and a single camera is a warning."""
        super().on_relabel(state)
        state.statistics["proxies"] = self.head.num_classes
        if len(self.head.memory.cameras.unique()) == 1:
            print_log(
                "All images in clusters are of one camera, or of unknown ones: proxies are clusters, and CAP gains "
                "nothing over Cluster-Contrast. The target's data set says where cameras are read (docs/data.md).",
                "current",
                logging.WARNING,
            )
