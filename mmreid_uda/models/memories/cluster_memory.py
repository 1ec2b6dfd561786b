"""Cluster-Contrast's memory: one centroid per cluster, and three rules to move it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import make_rng
from mmreid_uda.utils.values import FractionBelowOne

from .base_memory import BaseMemory

__all__ = ["ClusterMemory", "hard_update", "mean_update", "momentum_update"]


# No shape here follows from how many classes a batch has, or how often one occurs in it: to learn it, the host would
# wait for all that a GPU has to do. Where rows of one class are written several times, they are equal.


def _by_class(order: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sort a batch by class.

    Args:
        order: int64 (B,), the images in the order that those of one class shall have.
        labels: int64 (B,).

    Returns:
        int64 (B,) images sorted by class, and int64 (B,), for each place the first one of its class.
    """
    order = order[torch.argsort(labels[order], stable=True)]
    classes, places = labels[order], torch.arange(len(labels), device=labels.device)
    begins = torch.ones_like(classes, dtype=torch.bool)
    begins[1:] = classes[1:] != classes[:-1]
    return order, torch.where(begins, places, 0).cummax(0).values


def _blend(memory: Tensor, classes: Tensor, features: Tensor, momentum: float) -> Tensor:
    """Move the rows of ``classes`` towards ``features``: ``M_c <- L2(m M_c + (1 - m) x)``; equal classes, equal x."""
    rows = F.normalize(momentum * memory[classes] + (1 - momentum) * features, dim=1)
    return memory.index_copy(0, classes, rows)


def momentum_update(memory: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """Apply every sample in batch order, one after the other (Cluster-Contrast's "CM").

    Source: Dai et al., arXiv 2103.11568, released code.

    Samples of different classes do not touch each other, so the n-th samples of all classes are applied together: as
    many steps as the largest class has samples, instead of one per sample, with the same result. How many classes and
    steps there are is asked once.

    Args:
        memory: (K, D) unit rows.
        features: (B, D) unit rows.
        labels: int64 (B,) in ``0..K-1``.
        momentum: Share of the old row, 0 <= m < 1.

    Returns:
        A new (K, D) tensor; ``memory`` is left as it is.
    """
    places = torch.arange(len(labels), device=labels.device)
    order, first = _by_class(places, labels)
    turn, slot = places - first, (first == places).cumsum(0) - 1
    turns, slots = (torch.stack([turn.max(), slot[-1]]) + 1).tolist()
    # (turns, slots): the n-th sample of each class, or, where it has fewer, a row of zeros behind the last one.
    nobody = len(labels)
    table = torch.full((turns, slots), nobody, device=labels.device)
    table[turn, slot] = order
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    classes = labels[table[0]]
    rows = memory[classes]
    for samples in table:
        moved = F.normalize(momentum * rows + (1 - momentum) * padded[samples], dim=1)
        rows = torch.where((samples < nobody).unsqueeze(1), moved, rows)
    return memory.index_copy(0, classes, rows)


def hard_update(memory: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """Apply one sample per class: the one least similar to the old centroid (Cluster-Contrast, "hard").

    Source: Dai et al., arXiv 2103.11568, first version.

    Args:
        memory: (K, D) unit rows.
        features: (B, D) unit rows.
        labels: int64 (B,) in ``0..K-1``.
        momentum: Share of the old row, 0 <= m < 1.

    Returns:
        A new (K, D) tensor; ``memory`` is left as it is.
    """
    similarity = (features * memory[labels]).sum(1)
    # Sorted by similarity, then stably by class: the first of each class is its least similar sample.
    order, first = _by_class(torch.argsort(similarity, stable=True), labels)
    return _blend(memory, labels[order], features[order[first]], momentum)


def mean_update(memory: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """Apply the mean of the samples of each class (HHCL's "avg").

    Args:
        memory: (K, D) unit rows.
        features: (B, D) unit rows.
        labels: int64 (B,) in ``0..K-1``.
        momentum: Share of the old row, 0 <= m < 1.

    Returns:
        A new (K, D) tensor; ``memory`` is left as it is.
    """
    order, first = _by_class(torch.arange(len(labels), device=labels.device), labels)
    sums = torch.zeros_like(features).index_add(0, first, features[order])
    counts = features.new_zeros(len(labels)).index_add(0, first, features.new_ones(len(labels)))
    means = sums / counts.clamp(min=1).unsqueeze(1)
    return _blend(memory, labels[order], means[first], momentum)


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
        momentum: FractionBelowOne = 0.1,
        init: Literal["mean", "random"] = "mean",
    ) -> None:
        super().__init__()
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
