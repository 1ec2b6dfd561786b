"""Global-local NCPLR: the whole image and its halves, with common neighbours, refine each other's labels.

Source: the released code of Cheng et al., arXiv 2211.16847, folder ``GL-NCPLR``.

The whole map and its upper and lower half each have a pooling, a neck, a memory and a classifier. Clusters and
neighbours come from a mix of their three Jaccard distances, and each soft label takes over from the others as far as
they say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from mmreid_uda.clustering import JaccardClusterer, dbscan
from mmreid_uda.models.encoders import EncoderOutput, ReIDEncoder
from mmreid_uda.models.heads import ClassifierHead
from mmreid_uda.neighbors import CameraNeighbors, Neighbors
from mmreid_uda.registry import CLUSTERERS, MODELS
from mmreid_uda.structures import Extract, PseudoLabelState, ReIDDataSample, TrainingImages
from mmreid_uda.utils import InputError, full_precision
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import Count, Fraction, OpenFraction, Positive

from .ncplr import NCPLR, refined_cross_entropy


@MODELS.register_module()
class GlobalLocalEncoder(ReIDEncoder):
    """Three branches of one map: the whole, its upper and its lower half, each with a pooling and a neck of its own.

    In training all three are given behind each other, (B, 3·D); tested is the whole alone. Arguments as for
    :class:`ReIDEncoder`.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        pool: dict[str, Any] | None = None,
        neck: dict[str, Any] | None = None,
        norm: dict[str, Any] | None = None,
        channels_last: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(backbone, pool, neck, None, channels_last, init_cfg)
        self.part_pools = nn.ModuleList(deepcopy(self.pool) for _ in range(2))
        self.part_necks = nn.ModuleList(deepcopy(self.neck) for _ in range(2))
        self.convert(norm)

    def whole_and_halves(self, x: Tensor) -> EncoderOutput:
        """Features of all branches: (B, 3·D) each, of images (B, 3, H, W)."""
        maps = self.backbone(x.contiguous(memory_format=self.memory_format))
        if not isinstance(maps, Tensor) or maps.dim() != 4:
            raise InputError(
                f"found {type(self.backbone).__name__} in a GlobalLocalEncoder, expected a backbone that gives one map "
                "(B, C, H, W), which has halves: change encoder.backbone, or set backbone.output='map'."
            )
        half = maps.shape[2] // 2
        shown = maps, maps[:, :, :half], maps[:, :, half:]
        pools, necks = (self.pool, *self.part_pools), (self.neck, *self.part_necks)
        pooled = [pool(part) for pool, part in zip(pools, shown)]
        embedded = [neck(part) for neck, part in zip(necks, pooled)]
        return EncoderOutput(torch.cat(pooled, 1), torch.cat(embedded, 1))

    def forward(self, x: Tensor) -> EncoderOutput:
        """All branches in training, the whole in evaluation; see the class."""
        return self.whole_and_halves(x) if self.training else super().forward(x)


@CLUSTERERS.register_module()
class GlobalLocalDBSCAN(JaccardClusterer):
    """DBSCAN on ``(1 - 2 w) J + w J_upper + w J_lower``, the Jaccard distances of the whole and of its halves.

    Args:
        eps: Radius, 0 < eps < 1. Defaults to 0.5.
        min_samples: Neighbours of a core image, itself included. Defaults to 4.
        part_weight: w, in [0, 0.5]. Defaults to 0.2.
        **kwargs: As for :class:`JaccardClusterer`.

    Raises:
        InputError: If a parameter is out of range.
    """

    honors_constraints = True
    per_image = ("upper_features", "lower_features")

    def __init__(
        self,
        eps: OpenFraction = 0.5,
        min_samples: Count = 4,
        part_weight: Fraction = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if part_weight > 0.5:
            raise InputError(
                f"found part_weight={part_weight} for GlobalLocalDBSCAN, expected at most 0.5: lower it."
            )
        self.eps, self.min_samples, self.part_weight = eps, min_samples, part_weight

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; nothing here is random. ``eps_scale`` multiplies the radius, which stays below 1."""
        eps = min(self.eps * eps_scale, 1 - 1e-6)
        graph = self.graph(features, eps, seed, epoch=epoch, **extras)
        self.info["eps"] = eps
        return dbscan(graph, eps, self.min_samples, extras.get("constraints"))

    @property
    def requires(self) -> tuple[str, ...]:
        """Unit features of both halves, float32 (N, D)."""
        return self.per_image

    def graph(
        self,
        features: np.ndarray,
        max_distance: float,
        seed: int,
        neighbors: Neighbors | CameraNeighbors | None = None,
        *,
        epoch: int = 1,
        **extras: Any,
    ) -> sparse.csr_array:
        """The mixed distances up to a limit; as in :meth:`JaccardClusterer.graph`."""
        branches = [(1 - 2 * self.part_weight, features, neighbors)]
        for name in self.requires:
            with self.aside():
                found = self.prepare(extras[name], cameras=extras.get("cameras")) or {}
            branches.append((self.part_weight, extras[name], found.get("neighbors")))
        similar = None
        for share, rows, nearest in branches:
            if not share:
                continue
            # A pair that is farther apart in one of them cannot be within the limit in the sum.
            reach = min(1.0, max_distance / share)
            one = super().graph(rows, reach, seed, nearest, epoch=epoch)
            one.data = np.float32(share) * (1 - one.data)
            similar = one if similar is None else similar + one
        assert similar is not None
        # What is not stored in one of them has no neighbour in common there, distance 1, or is out of reach.
        pairs = similar.tocoo()
        distances = np.maximum(1 - pairs.data, 0)
        near = distances <= max_distance
        graph = sparse.csr_array(
            (distances[near], (pairs.row[near], pairs.col[near])), shape=similar.shape
        )
        graph.sort_indices()
        return graph


# ---- the method


@full_precision
def mix_labels(soft: Tensor, temperature: float) -> Tensor:
    """Let the soft labels of an image and its parts learn of each other, the more the more alike they are.

    ``q' = (q + sum_p e_p q_p) / (1 + sum_p e_p)`` with ``e_p = exp(-KL(q || q_p) / T)`` for the whole, and for each
    part ``q_p' = (q_p + f_p q) / (1 + f_p)`` with ``f_p = exp(-KL(q_p || q) / T)``.

    Args:
        soft: float (1 + parts, B, K), q of the whole first; rows that sum to 1.
        temperature: T > 0.

    Returns:
        float32 (1 + parts, B, K).
    """
    whole, parts = soft[:1], soft[1:]
    log = soft.clamp_min(torch.finfo(torch.float32).tiny).log()
    difference = log[:1] - log[1:]
    e = torch.exp(-(whole * difference).sum(2, keepdim=True) / temperature)
    f = torch.exp((parts * difference).sum(2, keepdim=True) / temperature)
    mixed = (whole + (e * parts).sum(0, keepdim=True)) / (1 + e.sum(0, keepdim=True))
    return torch.cat([mixed, (parts + f * whole) / (1 + f)])


@MODELS.register_module()
class GlobalLocalNCPLR(NCPLR):
    """NCPLR of the whole image and of both halves: ``L = sum_b s_b (L_contrast,b + w L_refined,b)``.

    Each branch has its memory and its classifier; neighbours are those of the mixed distance for all of them, and their
    soft labels are mixed, see :func:`mix_labels`. The encoder is a :class:`GlobalLocalEncoder`, the clusterer a
    :class:`GlobalLocalDBSCAN`.

    Args:
        *args: As for :class:`NCPLR`.
        part_weight: s of each half, in [0, 1]; the whole has 1 minus it, so all sum to more than 1, as released.
            Defaults to 0.2.
        part_alpha: As ``alpha``, of the halves. Defaults to 0.3.
        mix_temperature: T of :func:`mix_labels`, above 0. Defaults to 5.
        **kwargs: As for :class:`NCPLR`.
    """

    BRANCHES: ClassVar = ("whole", "upper", "lower")

    def __init__(
        self,
        *args: Any,
        part_weight: Fraction = 0.2,
        part_alpha: Fraction = 0.3,
        mix_temperature: Positive = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.shares = 1 - part_weight, part_weight, part_weight
        self.alphas = self.alpha, part_alpha, part_alpha
        self.mix_temperature = mix_temperature
        # Features (N, 3, D) of all branches, from cluster_features to on_relabel.
        self._rows: Tensor | None = None

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """A memory and a classifier for each branch."""
        super().build_networks(encoder, head)
        self.part_heads = nn.ModuleList(MODELS.build(head) for _ in range(2))
        self.part_classifiers = nn.ModuleList(
            ClassifierHead(self.encoder.embed_dim) for _ in range(2)
        )

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_contrast_whole``, ``loss_refined_whole``, and those of ``upper`` and ``lower``."""
        y, index = gather_batch(samples.gt_label), gather_batch(samples.sample_idx)
        branches = [
            EncoderOutput(*branch)
            for branch in zip(out.pooled.chunk(3, 1), out.embedding.chunk(3, 1))
        ]
        classifiers: Sequence[Any] = (self.classifier, *self.part_classifiers)
        z = torch.stack([one(branch).logits[0] for one, branch in zip(classifiers, branches)])
        q = mix_labels(self.weights(samples) @ z.detach().softmax(2), self.mix_temperature)
        losses = {}
        heads: Sequence[Any] = (self.head, *self.part_heads)
        for b, (name, branch, head) in enumerate(zip(self.BRANCHES, branches, heads)):
            x, logits = head(branch)
            self.remember(head.memory.update, x, y, index)
            refined = refined_cross_entropy(z[b], y, q[b], self.alphas[b])
            losses[f"loss_contrast_{name}"] = self.shares[b] * F.cross_entropy(logits, y)
            losses[f"loss_refined_{name}"] = self.shares[b] * self.refined_weight * refined
        return losses

    def cluster_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """Unit features of the whole; those of the halves are kept, of one pass over the images."""

        def all_branches(inputs: Tensor) -> Tensor:
            features = self.features_of(self.encoder.whole_and_halves, inputs)
            return F.normalize(features.unflatten(1, (3, -1)), dim=2).flatten(1)

        self._rows = extract(all_branches, images.target).unflatten(1, (3, -1))
        return self._rows[:, 0].contiguous()

    def upper_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """What the clusterer requires: float32 (N, D) of the upper halves."""
        assert self._rows is not None
        return self._rows[:, 1].contiguous()

    def lower_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """What the clusterer requires: float32 (N, D) of the lower halves."""
        assert self._rows is not None
        return self._rows[:, 2].contiguous()

    def on_relabel(self, state: PseudoLabelState) -> None:
        """New memories, classifiers and neighbours, of the features of each branch."""
        assert self._rows is not None
        super().on_relabel(state)
        for number, parts in enumerate(zip(self.part_heads, self.part_classifiers), 1):
            of_part = replace(state, features=self._rows[:, number])
            for part in parts:
                part.on_relabel(of_part)
        self._rows = None
