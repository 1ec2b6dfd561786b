"""NCPLR: an image's label is refined by what the classifier says of its neighbours in the batch.

Source: Cheng et al., "Neighbour Consistency Guided Pseudo-Label Refinement for Unsupervised Person Re-Identification",
arXiv 2211.16847, released code.

Beside Cluster-Contrast's memory stands a classifier with a row per cluster. Its target is a tenth the pseudo-label, and
nine tenths the mean of its own predictions of the images nearby in Jaccard distance, of other clusters, too.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from mmreid_uda.models.algorithms import ClusterContrast
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import ClassifierHead
from mmreid_uda.models.layers import ResizingBuffers
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample
from mmreid_uda.utils import full_precision
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import Fraction, NonNegative, Positive, PositiveFraction

# ---- neighbours in the batch


class NeighborTable(ResizingBuffers):
    """Distances between neighbours among all training images, looked up for the pairs of a batch."""

    num: Tensor
    pairs: Tensor
    distances: Tensor

    def __init__(self) -> None:
        super().__init__()
        # N; place i * N + j of each pair in the matrix, ascending; and its distance.
        self.register_buffer("num", torch.zeros((), dtype=torch.int64))
        self.register_buffer("pairs", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("distances", torch.zeros(0))

    def reset(self, graph: sparse.csr_array) -> None:
        """Take over a sparse float32 (N, N) matrix with sorted indices, of which all stored pairs are neighbours."""
        num = graph.shape[0]
        rows = np.repeat(np.arange(num, dtype=np.int64), np.diff(graph.indptr))
        device = self.pairs.device
        self.num.fill_(num)
        self.pairs = torch.from_numpy(rows * num + graph.indices).to(device)
        self.distances = torch.from_numpy(graph.data.astype(np.float32)).to(device)

    def among(self, index: Tensor) -> Tensor:
        """Distances to the neighbours in a batch: float32 (B, B) of int64 (B,) images, inf = no neighbour.

        Every image is its own neighbour, at distance 0. One that is there several times is so at its first place.
        """
        same = index.unsqueeze(1) == index
        wanted = index.unsqueeze(1) * self.num + index
        places = torch.searchsorted(self.pairs, wanted).clamp_(max=len(self.pairs) - 1)
        found = torch.where(self.pairs[places] == wanted, self.distances[places], torch.inf)
        again = same.tril(-1).any(1)
        return found.masked_fill(same, 0).masked_fill(again, torch.inf)


# ---- soft labels


@full_precision
def neighbor_weights(distances: Tensor, sign: int, temperature: float) -> Tensor:
    """``w_ij = softmax_j(sign J_ij / T)`` over the neighbours j of image i.

    Args:
        distances: float (B, B), inf where j is no neighbour of i; every row has one.
        sign: 0 = all weigh the same, 1 = farther ones weigh more, -1 = nearer ones do.
        temperature: T > 0.

    Returns:
        float32 (B, B), rows that sum to 1.
    """
    none = distances.isinf()
    scores = sign * distances.masked_fill(none, 0) / temperature
    return scores.masked_fill(none, -torch.inf).softmax(1)


@full_precision
def refined_cross_entropy(logits: Tensor, labels: Tensor, soft: Tensor, alpha: float) -> Tensor:
    """``L = -mean_i sum_c t_ic log softmax(z_i)_c`` with ``t = alpha onehot(y) + (1 - alpha) q``; none flows into q.

    Args:
        logits: z, float (B, K).
        labels: y, int64 (B,).
        soft: q, float (B, K), rows that sum to 1.
        alpha: Share of the pseudo-label, 0..1.

    Returns:
        A scalar, float32.
    """
    onehot = F.one_hot(labels, logits.shape[1])
    return F.cross_entropy(logits, alpha * onehot + (1 - alpha) * soft.detach())


# ---- the method


@MODELS.register_module()
class NCPLR(ClusterContrast):
    """``L = L_contrast + w L_refined``: Cluster-Contrast, and a classifier that its neighbours teach.

    ``q_i = sum_j w_ij softmax(z_j)`` over the images j of the global batch with ``J_ij <= max_distance``, image i
    itself among them, whatever their clusters; see :func:`neighbor_weights` and :func:`refined_cross_entropy`. The rows
    of the classifier start at every clustering from the unit centroids. The clusterer must have distances, as
    ``JaccardDBSCAN`` does.

    Args:
        *args: As for :class:`ClusterContrast`.
        max_distance: Largest Jaccard distance of neighbours, in (0, 1]. Defaults to 0.2.
        weigh: Which neighbours weigh more: the ``'farther'`` (default), as released; the ``'nearer'``, as the paper
            says in words; or ``'none'``.
        temperature: T of these weights, above 0. Defaults to 1.
        alpha: Share of the pseudo-label in the target. Defaults to 0.1.
        refined_weight: w, at least 0. Defaults to 1.
        **kwargs: As for :class:`ClusterContrast`.
    """

    required_hooks: ClassVar = dict(cluster=dict(needs_distances=True))
    _SIGNS: ClassVar = dict(none=0, farther=1, nearer=-1)

    def __init__(
        self,
        *args: Any,
        max_distance: PositiveFraction = 0.2,
        weigh: Literal["farther", "nearer", "none"] = "farther",
        temperature: Positive = 1.0,
        alpha: Fraction = 0.1,
        refined_weight: NonNegative = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.max_distance, self.sign, self.temperature = (
            max_distance,
            self._SIGNS[weigh],
            temperature,
        )
        self.alpha, self.refined_weight = alpha, refined_weight

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Beside encoder and memory, a classifier and what is known of neighbours."""
        super().build_networks(encoder, head)
        self.classifier = ClassifierHead(self.encoder.embed_dim)
        self.neighbors = NeighborTable()

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_contrast`` of the unit embedding, ``loss_refined`` of the embedding."""
        losses = super().loss_target(out, samples)
        y, logits = gather_batch(samples.gt_label), self.classifier(out).logits[0]
        q = self.weights(samples) @ logits.softmax(1)
        refined = refined_cross_entropy(logits, y, q, self.alpha)
        return losses | dict(loss_refined=self.refined_weight * refined)

    def weights(self, samples: ReIDDataSample) -> Tensor:
        """How much each image of the global batch says about each: float32 (B, B)."""
        distances = self.neighbors.among(gather_batch(samples.sample_idx))
        return neighbor_weights(distances, self.sign, self.temperature)

    def on_relabel(self, state: PseudoLabelState) -> None:
        """New memory, classifier rows and neighbours; how many there are is among the figures of the log."""
        super().on_relabel(state)
        self.classifier.on_relabel(state)
        graph = state.distances(self.max_distance)
        self.neighbors.reset(graph)
        state.statistics["neighbors"] = graph.nnz / graph.shape[0]
