"""Batches of camera proxies: as many images of each camera of a cluster."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.logging import print_log

from mmreid_uda.registry import DATA_SAMPLERS
from mmreid_uda.structures import split_by_camera
from mmreid_uda.utils.values import Count

from .domain_batch_sampler import DomainBatchSampler
from .identity import distinct_plan

__all__ = ["ProxyBalancedSampler"]

# Images of a batch that methods on camera proxies were tuned for: eight proxies of four.
_TUNED_FOR = 32


@DATA_SAMPLERS.register_module()
class ProxyBalancedSampler(DomainBatchSampler):
    """K images of each camera proxy of the target, whatever its size; different ones if it has as many.

    Source: Wang et al., "Camera-aware Proxies for Unsupervised Person Re-Identification", AAAI 2021. As released, of a
    proxy with fewer than K images each is there K times, and K are drawn of these.

    A batch of more than twice, or less than half, of the released 32 images is a warning: users of O2CAP report
    abnormally low figures with 256.

    Args:
        sampler: As for :class:`DomainBatchSampler`.
        batch_size: As for :class:`DomainBatchSampler`.
        **kwargs: As for :class:`DomainBatchSampler`; ``use_cameras`` and ``distinct`` have no effect on the target.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: Count, **kwargs: Any) -> None:
        super().__init__(sampler, batch_size, **kwargs)
        if not _TUNED_FOR / 2 <= self.global_batch_size <= 2 * _TUNED_FOR:
            print_log(
                f"found batches of {self.global_batch_size} images, expected about {_TUNED_FOR}, for which methods on "
                "camera proxies were tuned: users of O2CAP report abnormally low figures with 256. Set "
                f"global_batch_size={_TUNED_FOR}.",
                "current",
                logging.WARNING,
            )

    def draw_pass(
        self, domain: int, labels: np.ndarray, camids: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Go once over the proxies in a new random order; arguments as in :class:`DomainBatchSampler`."""
        instances = self.num_instances[domain]
        if domain == 0 or instances == 0:
            return super().draw_pass(domain, labels, camids, rng)
        # Not `camids`, in which each image of unknown camera has a camera of its own.
        cameras = self.sampler.dataset.target.evidence.cameras
        return distinct_plan(split_by_camera(labels, cameras)[0], instances, rng)
