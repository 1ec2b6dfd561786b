"""SpCL: self-paced clusters and a hybrid memory, with a labelled source or without.

Source: Ge et al., "Self-paced Contrastive Learning with Hybrid Memory for Domain Adaptive Object Re-ID", NeurIPS 2020.

One network learns from three kinds of classes at once, in one label space: the people of a labelled source, the
clusters of the target, and every target image that no cluster may keep, as a class of its own. So no image is thrown
away. The memory lives through the whole training, and before every epoch it is the memory that is clustered, not the
network's features of the day. Without a source the same is fully unsupervised.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.clustering import JaccardClusterer, dbscan
from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.memories import InstanceMemory, momentum_update
from mmreid_uda.registry import CLUSTERERS, MODELS
from mmreid_uda.structures import Extract, PseudoLabelState, ReIDDataSample, TrainingImages
from mmreid_uda.utils import InputError, full_precision
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import Count, Fraction, OpenFraction

# ---- self-paced clusters


def with_singletons(labels: np.ndarray) -> np.ndarray:
    """Give every outlier a cluster of its own, in the order of the images.

    Args:
        labels: int64 (N,), negative = outlier.

    Returns:
        int64 (N,), none negative.
    """
    outliers = np.flatnonzero(labels < 0)
    labels = labels.copy()
    labels[outliers] = labels.max(initial=-1) + 1 + np.arange(len(outliers))
    return labels


def overlap_distance(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How much the cluster of each image changes from one clustering to another (SpCL, Eq. 4 and 5).

    ``R(i) = 1 - |A(i) ∩ B(i)| / |A(i) ∪ B(i)|`` with A(i), B(i) the images that share image i's label here and there:
    with a wider radius in ``others`` this is R_indep, with a narrower one R_comp. It is counted from the table of
    pairs of labels that occur, so memory grows with N alone.

    Args:
        labels: int64 (N,), none negative.
        others: int64 (N,), none negative.

    Returns:
        float64 (N,) in 0..1, 0 = the same images.
    """
    pair = labels * (others.max() + 1) + others
    _, number, counts = np.unique(pair, return_inverse=True, return_counts=True)
    shared = counts[number]
    union = np.bincount(labels)[labels] + np.bincount(others)[others] - shared
    return 1 - shared / union


def smallest_of_cluster(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Least value within each cluster: float64 (K,) of int64 (N,) contiguous labels and float64 (N,) values."""
    smallest = np.full(labels.max() + 1, np.inf)
    np.minimum.at(smallest, labels, values)
    return smallest


@CLUSTERERS.register_module()
class SelfPacedDBSCAN(JaccardClusterer):
    """Three DBSCANs of one Jaccard graph; only what all three agree on stays together (SpCL, §3.2).

    A cluster is kept if it is *independent*: hardly larger with a wider radius. An image stays in it if the cluster is
    *compact* around it: hardly smaller with a narrower radius. All other images become clusters of their own. How
    independent is enough is measured once, at the first epoch.

    :attr:`info` has ``groups`` (clusters of more than one image), ``singletons``, ``max_independence`` (the
    threshold; smaller is stricter) and ``eps``.

    Args:
        eps: Radius, 0 < eps < 1. Defaults to 0.6.
        eps_gap: What the wider radius adds and the narrower one takes off. Defaults to 0.02.
        min_samples: Neighbours of a core image, itself included. Defaults to 4.
        share: Share of the first epoch's clusters that count as independent, 0..1. Defaults to 0.9.
        **kwargs: As for :class:`JaccardClusterer`.

    Raises:
        InputError: If a parameter is out of range.
    """

    def __init__(
        self,
        eps: OpenFraction = 0.6,
        eps_gap: OpenFraction = 0.02,
        min_samples: Count = 4,
        share: Fraction = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not eps_gap < eps < 1 - eps_gap:
            raise InputError(
                f"found eps={eps} and eps_gap={eps_gap} for SelfPacedDBSCAN, expected 0 < eps - eps_gap and "
                "eps + eps_gap < 1: lower eps_gap."
            )
        self.eps, self.eps_gap, self.min_samples, self.share = eps, eps_gap, min_samples, share
        self.threshold: float | None = None
        self.measured_at: int | None = None

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; nothing here is random. ``eps_scale`` multiplies the radii, which stay below 1."""
        middle = min(self.eps * eps_scale, 1 - 2 * self.eps_gap)
        radii = (middle, middle - self.eps_gap, middle + self.eps_gap)
        graph = self.graph(features, max(radii), seed, extras.get("neighbors"))
        labels, tight, loose = (
            with_singletons(dbscan(graph, radius, self.min_samples)) for radius in radii
        )
        refined = with_singletons(np.where(self.stays(labels, tight, loose, epoch), labels, -1))
        sizes = np.bincount(refined)
        self.info.update(
            groups=float((sizes > 1).sum()), singletons=float((sizes == 1).sum()), eps=middle
        )
        if self.threshold is not None:
            self.info["max_independence"] = self.threshold
        return refined

    def stays(
        self, labels: np.ndarray, tight: np.ndarray, loose: np.ndarray, epoch: int
    ) -> np.ndarray:
        """Which images may stay in their cluster: bool (N,).

        Args:
            labels: int64 (N,), none negative.
            tight: The same with the narrower radius.
            loose: The same with the wider radius.
            epoch: Epoch that is about to be trained, 0-based.
        """
        compactness, independence = overlap_distance(labels, tight), overlap_distance(labels, loose)
        of_cluster = smallest_of_cluster(labels, independence)
        # An epoch may be clustered again with another radius: the last attempt counts.
        if self.threshold is None or epoch == self.measured_at:
            self._measure(of_cluster[np.bincount(labels) > 1], epoch)
        if self.threshold is None:  # there are only single images
            return np.zeros(len(labels), bool)
        return (of_cluster[labels] <= self.threshold) & (
            compactness <= smallest_of_cluster(labels, compactness)[labels]
        )

    def _measure(self, independence: np.ndarray, epoch: int) -> None:
        """Take the threshold from the clusters of more than one image, if there are any."""
        if len(independence):
            last = min(len(independence) - 1, round(self.share * len(independence)))
            self.threshold, self.measured_at = float(np.sort(independence)[last]), epoch

    def state_dict(self) -> dict[str, Any]:
        """The threshold and the epoch it was measured at; and of the search."""
        own = dict(threshold=self.threshold, measured_at=self.measured_at)
        return dict(own, **super().state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it over."""
        super().load_state_dict(state)
        self.threshold, self.measured_at = state["threshold"], state["measured_at"]


# ---- hybrid memory


@MODELS.register_module()
class HybridMemory(InstanceMemory):
    """A unit vector per source class and one per target image (SpCL, §3.1).

    The vector of a target class is the mean of its images' vectors, not normalised again. After a relabelling the rows
    are the features that were clustered; of :class:`SpCL` these are the rows themselves.

    Args:
        momentum: Share of the old vector in an update, 0 <= m < 1. Defaults to 0.2 (Eq. 2 and 3).
    """

    centroids: Tensor

    def __init__(self, momentum: float = 0.2) -> None:
        super().__init__(momentum)
        self.register_buffer("centroids", torch.zeros(0, 0))

    @property
    def num_source(self) -> int:
        """Number of source classes S."""
        return len(self.centroids)

    def reset_source(self, features: Tensor, labels: Tensor) -> None:
        """Start the source classes from the mean of float32 (M, D) features by int64 (M,) labels without gaps."""
        means = PseudoLabelState(0, labels, features).centroids()
        self.centroids = F.normalize(means, dim=1).to(self.centroids.device)

    def forget_source(self) -> None:
        """Have no source class."""
        self.centroids = self.centroids.new_zeros(0, 0)

    @property
    def prototypes(self) -> Tensor:
        """float32 (S + K, D): the source classes, then the clusters."""
        clusters = super().prototypes
        return torch.cat([self.centroids, clusters]) if self.num_source else clusters

    @torch.no_grad()
    def update_source(self, features: Tensor, labels: Tensor) -> None:
        """Move the source classes of a global batch, one image after the other."""
        self.centroids = momentum_update(
            self.centroids, features.detach().float(), labels, self.momentum
        )


@full_precision
def guarded_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """``-log(p_c + 1e-6)``, p the softmax of logits (B, K) at labels c (B,) (SpCL, Eq. 1): a scalar, in float32.

    The released code guards the logarithm so, which also stops pulling at images far from their class.
    """
    own = logits.softmax(1).gather(1, labels.unsqueeze(1))
    return -(own + 1e-6).log().mean()


# ---- the method


@MODELS.register_module()
class SpCL(BaseReID):
    """``L = L_source + L_target`` against one memory of source classes, clusters and single images, Eq. 1 of each.

    The head is a ``ClusterMemoryHead`` with a ``HybridMemory``, which compares both domains with the memory as it was,
    and then moves it. In the released code the gradient, not the value, of the source loss sees rows that the target
    has moved already, which follows from the order of autograd; not so here.

    With a source, the encoder has domain-specific batch normalisation
    (``norm=dict(type='DomainBN', keep_frozen=False)``). Arguments as for :class:`BaseReID`.
    """

    required_hooks: ClassVar = dict(cluster=dict(type="ClusterHook"))

    def loss_source(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_source`` of the L2-normalised embedding."""
        memory = self.head.memory
        (x, logits), y = self.head(out), gather_batch(samples.gt_label)
        self.remember(memory.update_source, x, y)
        return dict(loss_source=guarded_cross_entropy(logits, y))

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_target`` of the L2-normalised embedding."""
        memory = self.head.memory
        (x, logits), y = self.head(out), gather_batch(samples.gt_label)
        self.remember(memory.update, x, y, gather_batch(samples.sample_idx))
        return dict(loss_target=guarded_cross_entropy(logits, y + memory.num_source))

    def cluster_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """The memory's rows of the target; the network fills the memory once, before the first epoch."""
        memory = self.head.memory
        if images.epoch > 0:
            return memory.rows
        if images.sources:
            sources = [extract(self, source) for source in images.sources]
            memory.reset_source(torch.cat(sources), images.source_labels)
        else:  # the weights may be those of a run with a source
            memory.forget_source()
        return extract(self, images.target)
