"""CAP and O2CAP: a cluster is several proxies, one for each camera that has seen it.

Sources: Wang et al., "Camera-aware Proxies for Unsupervised Person Re-Identification", AAAI 2021; Wang et al.,
"Offline-Online Associated Camera-Aware Proxies for Unsupervised Person Re-Identification", TIP 2022.

A camera changes how people look, so one centroid stands badly for a cluster of several cameras. A *proxy* is the
centroid of one camera of a cluster. CAP tells images apart within a camera by its proxies alone; after some epochs it
also draws them to the proxies of their cluster in all cameras, away from the hardest others. O2CAP leaves the first
out, and draws images as well to what looks like them most in each camera, whatever the clusters say.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmreid_uda.engine import unwrap
from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.losses import (
    association_similarities,
    intra_camera_loss,
    offline_loss,
    online_loss,
    sum_over_cameras,
)
from mmreid_uda.registry import HOOKS, MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import Count, Fraction, Natural, NonNegative


@HOOKS.register_module()
class InterCameraHook(Hook):
    """Set ``model.inter_camera`` before every epoch: whether cameras are compared with each other yet.

    Args:
        start: The first epoch in which they are, 0-based. Defaults to 5.
    """

    def __init__(self, start: Natural = 5) -> None:
        self.start = start

    def before_train(self, runner: Runner) -> None:
        """Refuse epochs without any loss."""
        if self.start and not unwrap(runner.model).intra_weight:
            raise InputError(
                f"found default_hooks.inter_camera.start={self.start} with model.intra_weight=0, expected a loss in "
                "the epochs before: set start=0 or a larger weight."
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Also right after a resume, since it asks for the epoch alone."""
        unwrap(runner.model).inter_camera = runner.epoch >= self.start


@MODELS.register_module()
class CAP(BaseReID):
    """``L = sum_c mean_{i in c} (v L_intra(i) + w L_off(i) + u L_on(i))`` over the cameras c of the global batch.

    * L_intra tells an image apart from the proxies of its camera.
    * L_off, offline association: towards all proxies of its cluster, away from the hardest others.
    * L_on, online association: towards the most similar proxy of each of the most similar cameras, at this moment.

    The last two are there as soon as :class:`InterCameraHook` says so (``default_hooks.inter_camera.start``). All
    compare with the memory as it was before the step. The head is a ``ClusterMemoryHead`` with a ``ProxyMemory``, and
    the batches are those of ``ProxyBalancedSampler``.

    Args:
        *args: As for :class:`BaseReID`.
        intra_weight: v, at least 0. Defaults to 1.
        offline_weight: w, at least 0. Defaults to 0.5.
        online_weight: u, at least 0. Defaults to 0.
        num_negatives: Hardest other proxies in L_off and L_on. Defaults to 50.
        num_positives: Cameras of which L_on takes the most similar proxy. Defaults to 3.
        fill_positives: Where there are fewer cameras, take other proxies as well, as the released code does. Defaults
            to False.
        image_weight: Share of the image's own similarities, beside those of its proxy, by which L_on chooses; in 0..1.
            Defaults to 0.15.
        per_camera: False takes the mean over all images of the batch in place of the sum over cameras.
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
        intra_weight: NonNegative = 1.0,
        offline_weight: NonNegative = 0.5,
        online_weight: NonNegative = 0.0,
        num_negatives: Count = 50,
        num_positives: Count = 3,
        fill_positives: bool = False,
        image_weight: Fraction = 0.15,
        per_camera: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.intra_weight = intra_weight
        self.offline_weight, self.online_weight = offline_weight, online_weight
        self.num_negatives, self.num_positives = num_negatives, num_positives
        self.fill_positives, self.image_weight = fill_positives, image_weight
        self.per_camera = per_camera
        self.inter_camera = True

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_intra`` and, in later epochs, ``loss_offline`` and ``loss_online`` of the L2-normalised embedding.

        Those of weight 0 are left out.
        """
        memory = self.head.memory
        (x, logits), index = self.head(out), gather_batch(samples.sample_idx)
        proxies = memory.proxies[index]
        cameras = memory.cameras[proxies]
        join = partial(sum_over_cameras, cameras=cameras) if self.per_camera else torch.mean
        losses = {}
        if self.intra_weight:
            values = intra_camera_loss(logits, proxies, memory.cameras)
            losses["loss_intra"] = self.intra_weight * join(values)
        if self.inter_camera and self.offline_weight:
            values = offline_loss(logits, proxies, memory.clusters, self.num_negatives)
            losses["loss_offline"] = self.offline_weight * join(values)
        if self.inter_camera and self.online_weight:
            similarities = association_similarities(
                logits * self.head.temperature, memory.prototypes, proxies, self.image_weight
            )
            values = online_loss(
                logits,
                similarities,
                memory.cameras,
                self.num_positives,
                self.num_negatives,
                self.fill_positives,
            )
            losses["loss_online"] = self.online_weight * join(values)
        self.remember(memory.update, x, gather_batch(samples.gt_label), index)
        return losses


@MODELS.register_module()
class O2CAP(CAP):
    """``L = sum_c mean_{i in c} (L_off(i) + L_on(i))`` from the first epoch on: :class:`CAP` of other weights.

    As released; a term within cameras, which the paper has, can be added by ``intra_weight``.

    Args:
        *args: As for :class:`CAP`.
        intra_weight: As for :class:`CAP`. Defaults to 0.
        offline_weight: As for :class:`CAP`. Defaults to 1.
        online_weight: As for :class:`CAP`. Defaults to 1.
        **kwargs: As for :class:`CAP`.
    """

    required_hooks: ClassVar = dict(inter_camera=dict(type="InterCameraHook", start=0))

    def __init__(
        self,
        *args: Any,
        intra_weight: NonNegative = 0.0,
        offline_weight: NonNegative = 1.0,
        online_weight: NonNegative = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            intra_weight=intra_weight,
            offline_weight=offline_weight,
            online_weight=online_weight,
            **kwargs,
        )
