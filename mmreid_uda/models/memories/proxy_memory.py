"""The memory of camera proxies: a row for each camera of a cluster, of one vector or of one for each part."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, split_by_camera
from mmreid_uda.utils.values import Count, FractionBelowOne

from .cluster_memory import ClusterMemory

__all__ = ["ProxyMemory"]


@MODELS.register_module()
class ProxyMemory(ClusterMemory):
    """A :class:`ClusterMemory` of finer labels, made anew at every clustering step: the cameras of each cluster.

    Source: Wang et al., "Camera-aware Proxies for Unsupervised Person Re-Identification", AAAI 2021.

    A proxy starts from the mean of its images, and each image of a batch moves it: ``M_p <- L2(m M_p + (1 - m) x)``.
    Where features have parts, each part of a proxy is a vector of its own, of unit norm. Images of unknown camera are
    one more camera of their cluster. If all images are of one camera, proxies are clusters, and a warning says so.

    Args:
        momentum: Share m of the old vector in an update, 0 <= m < 1. Defaults to 0.2.
        num_parts: Parts of a feature, n, equally wide and one behind the other. Defaults to 1.
        **kwargs: As for :class:`ClusterMemory`.

    Attributes:
        proxies: int64 (N,), the proxy of each training image of the target, -1 = outlier.
        clusters: int64 (P,), the cluster of each proxy.
        cameras: int64 (P,), the camera of each proxy, -1 = unknown.

    Example:
        >>> head = dict(type='ClusterMemoryHead', temperature=0.07, memory=dict(type='ProxyMemory'))
    """

    proxies: Tensor
    clusters: Tensor
    cameras: Tensor

    def __init__(
        self, momentum: FractionBelowOne = 0.2, num_parts: Count = 1, **kwargs: Any
    ) -> None:
        super().__init__(momentum=momentum, **kwargs)
        self.num_parts = num_parts
        for name in ("proxies", "clusters", "cameras"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    @property
    def parts(self) -> Tensor:
        """float32 (n, P, D / n), unit rows: the vectors of each part; ``prototypes`` has one part below the other."""
        return self.centroids.unflatten(0, (self.num_parts, -1))

    def reset(self, state: PseudoLabelState) -> None:
        """Split the clusters by camera, and start from the mean feature of each proxy.

        Args:
            state: Labels int64 (N,), -1 = outlier, features float32 (N, D), and evidence, of which the cameras are
                read. Among its figures comes ``proxies``, their number.
        """
        labels = state.labels.cpu().numpy()
        unknown = np.full(len(labels), -1)
        cameras = unknown if state.evidence is None else state.evidence.cameras
        split = [torch.from_numpy(part) for part in split_by_camera(labels, cameras)]
        self.proxies, self.clusters, self.cameras = (part.to(self.proxies.device) for part in split)
        state.statistics["proxies"] = len(self.clusters)
        features, proxies = self._by_part(state.features, split[0].to(state.features.device))
        super().reset(replace(state, labels=proxies, features=features))
        if len(np.unique(split[2])) == 1:
            print_log(
                "All images in clusters are of one camera, or of unknown ones: proxies are clusters, and a method on "
                "camera proxies gains nothing. The target's dataset says where cameras are read (docs/data.md).",
                "current",
                logging.WARNING,
            )

    def update(self, features: Tensor, labels: Tensor, sample_idx: Tensor) -> None:
        """Move the proxies of the images of a global batch.

        Args:
            features: (B, D), of which each part is of unit norm.
            labels: int64 (B,), the cluster of each row.
            sample_idx: int64 (B,), position of each image in the full list.
        """
        super().update(*self._by_part(features, self.proxies[sample_idx]), sample_idx)

    def _by_part(self, features: Tensor, proxies: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, D) and proxies (N,) as a memory of n P rows knows them: (n N, D / n) and (n N,)."""
        first = len(self.clusters) * torch.arange(self.num_parts, device=proxies.device)
        rows = torch.where(proxies < 0, -1, proxies + first.unsqueeze(1))
        return features.unflatten(1, (self.num_parts, -1)).transpose(0, 1).flatten(
            0, 1
        ), rows.flatten()
