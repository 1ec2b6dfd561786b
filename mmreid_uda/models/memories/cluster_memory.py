"""Cluster-Contrast's memory: one centroid per cluster, and three rules to move it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import InputError, make_rng

from .base_memory import BaseMemory

__all__ = ["ClusterMemory", "hard_update", "mean_update", "momentum_update"]


def _blend(memory: Tensor, classes: Tensor, features: Tensor, momentum: float) -> Tensor:
    """Move the rows of distinct ``classes`` towards ``features``: ``M_c <- L2(m M_c + (1 - m) x)``."""
    rows = F.normalize(momentum * memory[classes] + (1 - momentum) * features, dim=1)
    return memory.index_copy(0, classes, rows)


def momentum_update(memory: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """Apply every sample in batch order, one after the other (Cluster-Contrast, "CM").

    Samples of different classes do not touch each other, so the n-th samples of all classes are applied together: as
    many steps as the largest class has samples, instead of one per sample, with the same result.

    Args:
        memory: (K, D) unit rows.
        features: (B, D) unit rows.
        labels: int64 (B,) in ``0..K-1``.
        momentum: Share of the old row, 0 <= m < 1.

    Returns:
        A new (K, D) tensor; ``memory`` is left as it is.
    """
    order = torch.argsort(labels, stable=True)
    classes, counts = torch.unique_consecutive(labels[order], return_counts=True)
    starts = torch.cumsum(counts, 0) - counts
    for turn in range(int(counts.max())):
        active = counts > turn
        memory = _blend(memory, classes[active], features[order[starts[active] + turn]], momentum)
    return memory


def hard_update(memory: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """Apply one sample per class: the one least similar to the old centroid (Cluster-Contrast, "hard").

    Arguments and result as in :func:`momentum_update`.
    """
    similarity = (features * memory[labels]).sum(1)
    # Sort by similarity, then stably by class: the first of each class is its least similar sample.
    order = torch.argsort(similarity, stable=True)
    order = order[torch.argsort(labels[order], stable=True)]
    classes, counts = torch.unique_consecutive(labels[order], return_counts=True)
    hardest = order[torch.cumsum(counts, 0) - counts]
    return _blend(memory, classes, features[hardest], momentum)


def mean_update(memory: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """Apply the mean of the samples of each class (HHCL's "avg").

    Arguments and result as in :func:`momentum_update`.
    """
    classes, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    sums = features.new_zeros(len(classes), features.shape[1]).index_add(0, inverse, features)
    return _blend(memory, classes, sums / counts.unsqueeze(1), momentum)


_RULES = {"momentum": momentum_update, "hard": hard_update, "mean": mean_update}


@MODELS.register_module()
class ClusterMemory(BaseMemory):
    """One unit vector per cluster, rebuilt at every clustering step (Cluster-Contrast, arXiv 2103.11568, §3.3).

    Args:
        update: ``'momentum'`` (default of the released code), ``'hard'`` (the rule of the paper's first version, and
            ISE's on Market-1501) or ``'mean'`` (HHCL's average).
        momentum: Share of the old centroid in an update, 0 <= m < 1. Defaults to 0.1.
        init: ``'mean'`` of the cluster's features, or one ``'random'`` instance of it (first versions of the paper).

    Raises:
        InputError: For an unknown rule.

    Example:
        >>> memory = dict(type='ClusterMemory', update='hard', momentum=0.2)
    """

    centroids: Tensor

    def __init__(
        self,
        update: Literal["momentum", "hard", "mean"] = "momentum",
        momentum: float = 0.1,
        init: Literal["mean", "random"] = "mean",
    ) -> None:
        super().__init__()
        if update not in _RULES:
            raise InputError(
                f"ClusterMemory: found update={update!r}, expected one of {sorted(_RULES)}."
            )
        if init not in ("mean", "random"):
            raise InputError(f"ClusterMemory: found init={init!r}, expected 'mean' or 'random'.")
        if not 0 <= momentum < 1:
            raise InputError(
                f"ClusterMemory: found momentum={momentum}, expected 0 <= momentum < 1."
            )
        self.rule, self.momentum, self.init = _RULES[update], momentum, init
        self.register_buffer("centroids", torch.zeros(0, 0))

    def reset(self, state: PseudoLabelState) -> None:
        """Start from the clusters' mean features, or from a random instance of each; rows have unit norm."""
        if self.init == "mean":
            rows = state.centroids()
        else:
            labels = state.labels.cpu()
            shuffled = torch.from_numpy(
                make_rng(state.seed, state.epoch, "memory").permutation(len(labels))
            )
            shuffled = shuffled[labels[shuffled] >= 0]
            chosen = torch.empty(state.num_clusters, dtype=torch.long)
            chosen[labels[shuffled]] = shuffled  # the last write of each class stays
            rows = state.features[chosen]
        self.centroids = F.normalize(rows, dim=1).to(self.centroids.device)

    @property
    def prototypes(self) -> Tensor:
        """float32 (K, D), unit rows."""
        return self.centroids

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, sample_idx: Tensor) -> None:
        """Move the centroids of the classes in a global batch; arguments as in :class:`BaseMemory`."""
        del sample_idx  # a centroid does not know single images
        self.centroids = self.rule(self.centroids, features.detach().float(), labels, self.momentum)
