"""FAT: the triplet loss bounded by distances to class centroids, which is linear in the number of images.

For an anchor a, a positive p and a negative n, with the centroids ``c_a, c_n`` and radii ``r_a, r_n`` of their classes,
the triangle inequality gives::

    [d(a, p) - d(a, n) + m]_+  <=  [d(a, c_a) - d(a, c_n) + m]_+  +  r_a + r_n

FAT minimises the right side: a hinge between a point and sets, and a penalty on the extent of the classes. Source: Yuan
et al., "In defense of the triplet loss again: learning robust person re-identification with fast approximated triplet
loss and label distillation", CVPRW 2020.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError, full_precision
from mmreid_uda.utils.values import Count

from .softmax_triplet import pairwise_distances

__all__ = ["NEGATIVE_SETS", "FATLoss"]

NegativeSet = Literal["ctrdAll", "ctrdAvg", "ctrdHM", "batchNeg"]
NEGATIVE_SETS: tuple[NegativeSet, ...] = get_args(NegativeSet)
"""What an anchor is kept away from: every other centroid, their mean, the hardest of them, or images of the batch."""

# What a part of a loss name stands for: plain terms, and terms of features of unit norm.
_PARTS = {
    "XE": ("xe",),
    "tri": ("tri",),
    "triNorm": ("tri_norm",),
    "doubleTri": ("tri", "tri_norm"),
    "mg": ("mg",),
    "mgNorm": ("mg_norm",),
    "doubleMG": ("mg", "mg_norm"),
}
_GROUPS = (("XE",), ("tri", "triNorm", "doubleTri"), ("mg", "mgNorm", "doubleMG"))
# Added to every difference of coordinates before the norm, as torch's triplet loss does: no gradient is infinite.
_EPS = 1e-6


def _distances(points: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances along the last dimension of tensors that broadcast."""
    return (points - others + _EPS).norm(dim=-1)


@MODELS.register_module()
class FATLoss(nn.Module):
    """Sum of the weighted terms that its name lists, in float32.

    ::

        tri = (1/n) Σ_k mean_i [ d(f_i, c_{y_i}) - d(f_i, neg_k(i)) + margin ]_+
        mg  = mean_i d(f_i, c_{y_i})                                             (compactness='mean', released code)
        mg  = max_i  d(f_i, c_{y_i})                     (compactness='radius': the paper's R, within the global batch)

    ``triNorm`` and ``mgNorm`` are the same of ``L2(f)`` and the unit centroids. Centroids are constants of an epoch: no
    gradient flows into them.

    The negatives of an anchor are

    * ``'ctrdAll'``: the centroids of all other classes. The released code includes the own one, whose hinge is the
      margin whatever the features are: ``own_centroid=True`` restores it;
    * ``'ctrdAvg'``: the mean of the other classes' centroids;
    * ``'ctrdHM'``: the ``num_negatives`` centroids nearest to the own centroid;
    * ``'batchNeg'`` (default of the released code): the ``num_negatives`` nearest images of other classes within the
      batch, without gradient; fewer where an anchor of the batch has fewer, and a hinge of 0 where one has none.

    Args:
        name: Parts joined by ``-``: ``XE``; ``tri``, ``triNorm`` or ``doubleTri`` (both); ``mg``, ``mgNorm`` or
            ``doubleMG`` (both). Defaults to ``'XE-tri-mg'``. The names ``XE-doubleTri-mg`` and ``XE-doubleTri-mgNorm``,
            which raise in the released code, mean what they say.
        negatives: One of :data:`NEGATIVE_SETS`. Defaults to ``'batchNeg'``.
        num_negatives: Largest number of negatives of ``'ctrdHM'`` and ``'batchNeg'``, >= 1. Defaults to 5.
        own_centroid: Count the own centroid among ``'ctrdAll'``. Defaults to False.
        compactness: ``'mean'`` (default) or ``'radius'``.
        margin: Of ``tri``. Defaults to 1.
        margin_norm: Of ``triNorm``. Defaults to 0.1.
        xe_weight: Weight of the cross-entropy. Defaults to 1.
        tri_weight: Weight of ``tri`` and ``triNorm``. Defaults to 1.
        mg_weight: Weight of ``mg``. Defaults to 0.1.
        mg_norm_weight: Weight of ``mgNorm``. Defaults to 1.

    Raises:
        InputError: For an unknown name, negative set or compactness; at a call, if there is a single centroid.

    Example:
        >>> head = dict(type='FATHead', loss=dict(type='FATLoss', name='XE-triNorm-mgNorm', negatives='ctrdHM'))
    """

    def __init__(
        self,
        name: str = "XE-tri-mg",
        negatives: NegativeSet = "batchNeg",
        num_negatives: Count = 5,
        own_centroid: bool = False,
        compactness: Literal["mean", "radius"] = "mean",
        margin: float = 1.0,
        margin_norm: float = 0.1,
        xe_weight: float = 1.0,
        tri_weight: float = 1.0,
        mg_weight: float = 0.1,
        mg_norm_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.terms = _terms(name)
        self.negatives, self.num_negatives = negatives, num_negatives
        self.own_centroid, self.compactness = own_centroid, compactness
        self.margins = dict(tri=margin, tri_norm=margin_norm)
        self.weights = dict(
            xe=xe_weight,
            tri=tri_weight,
            tri_norm=tri_weight,
            mg=mg_weight,
            mg_norm=mg_norm_weight,
        )

    @full_precision
    def forward(
        self,
        features: Tensor,
        labels: Tensor,
        centroids: Tensor,
        unit_centroids: Tensor,
        logits: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the weighted terms of a global batch.

        Args:
            features: (B, D), before the neck, not normalised.
            labels: int64 (B,) in ``0..K-1``, classes of the point-to-set terms.
            centroids: float32 (K, D), of features as they are.
            unit_centroids: float32 (K, D), of the terms of unit features.
            logits: (B, K'), needed if the name has ``XE``.
            targets: Of the cross-entropy: int64 (B,) or probabilities, float (B, K'). Defaults to ``labels``.

        Returns:
            Scalars ``loss_xe``, ``loss_tri``, ``loss_tri_norm``, ``loss_mg``, ``loss_mg_norm``: those that the name
            has.

        Raises:
            InputError: If there is a single centroid to keep images away from.
        """
        sets = {
            "": (features, centroids),
            "_norm": (F.normalize(features, dim=1), unit_centroids),
        }
        losses = {}
        for term in self.terms:
            kind, _, norm = term.partition("_")
            if kind == "xe":
                assert logits is not None
                loss = F.cross_entropy(logits, labels if targets is None else targets)
            else:
                points, centres = sets["_norm" if norm else ""]
                own = _distances(points, centres[labels])
                if kind == "mg":
                    loss = own.mean() if self.compactness == "mean" else own.max()
                else:
                    others, counts = self.negative_distances(points, labels, centres)
                    hinges = F.relu(own.unsqueeze(1) - others + self.margins[term])
                    loss = _mean_of_first(hinges, counts)
            losses[f"loss_{term}"] = self.weights[term] * loss
        return losses

    def negative_distances(
        self, points: Tensor, labels: Tensor, centroids: Tensor
    ) -> tuple[Tensor, Tensor | int]:
        """Distances of the anchors to their negatives.

        Args:
            points: float32 (B, D).
            labels: int64 (B,).
            centroids: float32 (K, D).

        Returns:
            float32 (B, n), n = K - 1 (K with ``own_centroid``), 1, or at most ``num_negatives``; and how many of its
            columns count, the first ones: a number, or a tensor where labels decide.
        """
        if self.negatives == "batchNeg":
            images, count = self._nearest_images(points.detach(), labels)
            return _distances(points.unsqueeze(1), images), count
        if len(centroids) < 2:
            raise InputError(
                f"found {len(centroids)} class for FATLoss, expected at least 2; check the labels of the target."
            )
        own = centroids[labels]
        if self.negatives == "ctrdAvg":
            others = (centroids.sum(0) - own) / (len(centroids) - 1)
            return _distances(points, others).unsqueeze(1), 1
        classes = torch.arange(len(centroids), device=labels.device)
        if self.negatives == "ctrdHM":
            between = torch.cdist(own, centroids)
            between = between.masked_fill(labels.unsqueeze(1) == classes, float("inf"))
            hardest = min(self.num_negatives, len(centroids) - 1)
            nearest = between.topk(hardest, dim=1, largest=False).indices
            return _distances(points.unsqueeze(1), centroids[nearest]), hardest
        # All of them: by products, since (B, K, D) would not fit.
        distances = torch.cdist(points + _EPS, centroids)
        if not self.own_centroid:
            others = classes[:-1] + (classes[:-1] >= labels.unsqueeze(1))
            distances = distances.gather(1, others)
        return distances, distances.shape[1]

    def _nearest_images(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest images of other classes, (B, n, D), and how many of them every anchor has."""
        same = labels.unsqueeze(1) == labels
        count = min(self.num_negatives, len(points) - 1)
        distances = pairwise_distances(points).masked_fill(same, float("inf"))
        nearest = distances.topk(count, dim=1, largest=False).indices
        return points[nearest], (~same).sum(1).amin().clamp(max=count)


def _mean_of_first(values: Tensor, count: Tensor | int) -> Tensor:
    """Mean over the first ``count`` columns of (B, n); 0 of none, as a single class has nothing to keep apart."""
    if isinstance(count, int):
        return values.mean()
    columns = torch.arange(values.shape[1], device=values.device)
    kept = torch.where(columns < count, values, 0)
    return kept.sum() / (len(values) * count).clamp(min=1)


def _terms(name: str) -> tuple[str, ...]:
    """The terms of a loss name."""
    parts = name.split("-")
    known = all(part in _PARTS for part in parts)
    places = [place for part in parts for place, group in enumerate(_GROUPS) if part in group]
    # Each group once, in order; extent alone would be least where all features are one point.
    if not known or places != sorted(set(places)) or places == [2]:
        raise InputError(
            f"FATLoss: found name={name!r}, expected XE, then tri, triNorm or doubleTri, then mg, mgNorm or doubleMG, "
            "joined by '-', such as 'XE-tri-mg' (each part can be left out, not the first two both)."
        )
    return tuple(term for part in parts for term in _PARTS[part])
