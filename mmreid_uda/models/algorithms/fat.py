"""FAT (Yuan et al., "In defense of the triplet loss again", CVPR workshops 2020): images against class centroids.

The triplet loss compares images with images, cubically many. FAT compares images with the centroids of the classes: a
bound of the triplet loss that is linear in the dataset, beside the cross-entropy of a classifier. Before every epoch:
extract all training images, and take one centroid per annotated identity. Every iteration: cross-entropy, a hinge
between the own centroid and negatives, and the distance to the own centroid.

Where labels are wrong, a teacher is trained in rounds on the images whose label it believes, and its softmax takes the
place of the labels (label distillation). The teacher is this class, too, with ``terms='XE'`` and the
clusterer ``ConfidentLabels``; the student has ``head.soft_labels``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.losses import NegativeSet, compactness, point_to_set_hinge
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import Extract, ReIDDataSample, TrainingImages
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import Count

from .base import BaseReID

__all__ = ["FAT"]

# Images classified at once: a block of probabilities stays small beside the features.
_BLOCK = 8192
# The terms that a part of a released name stands for: of features as they are, and of unit features.
_PARTS = {
    "XE": ["xe"],
    "tri": ["tri"],
    "triNorm": ["tri_norm"],
    "doubleTri": ["tri", "tri_norm"],
    "mg": ["mg"],
    "mgNorm": ["mg_norm"],
    "doubleMG": ["mg", "mg_norm"],
}


def parse_terms(name: str) -> set[str]:
    """Terms of a released loss name.

    Args:
        name: Parts joined by ``-``, such as ``'XE-tri-mg'``.

    Returns:
        Some of ``xe``, ``tri``, ``tri_norm``, ``mg``, ``mg_norm``: ``{'xe', 'tri', 'mg'}`` for the name above.

    Raises:
        InputError: For an unknown name.
    """
    parts = name.split("-")
    kinds = [_PARTS.get(part, ["?"])[0].partition("_")[0] for part in parts]
    # Each kind once, in order; extent alone would be least where all features are one point.
    if kinds != [kind for kind in ("xe", "tri", "mg") if kind in kinds] or kinds == ["mg"]:
        raise InputError(
            f"found terms={name!r} for FAT, expected XE, then tri, triNorm or doubleTri, then mg, mgNorm or doubleMG, "
            "joined by '-', such as 'XE-tri-mg' (each part can be left out, not the first two both)."
        )
    return {term for part in parts for term in _PARTS[part]}


@MODELS.register_module()
class FAT(BaseReID):
    """``L = XE + hinge + weight · compactness``: the terms that a released name lists.

    ::

        XE  = CE(z, q)
        tri = (1/n) Σ_k mean_i [ d(f_i, c_{y_i}) - d(f_i, neg_k(i)) + margin ]_+      (:func:`point_to_set_hinge`)
        mg  = mean_i d(f_i, c_{y_i}), or the paper's radius R = max_i                  (:func:`compactness`)

    with the logits z of the neck's embedding, pooled features f, which retrieval uses, too
    (``test_cfg.feature='pooled'``), centroids c, and the labels y and q, the same unless the head has soft ones.
    ``triNorm`` and ``mgNorm`` are tri and mg of ``L2(f)`` and the unit centroids.

    Args:
        *args: As for :class:`BaseReID`; the head is a ``FATHead``.
        terms: Released name, parts joined by ``-``: ``XE``; ``tri``, ``triNorm`` or ``doubleTri`` (both); ``mg``,
            ``mgNorm`` or ``doubleMG`` (both). Defaults to ``'XE-tri-mg'``. The names ``XE-doubleTri-mg`` and
            ``XE-doubleTri-mgNorm``, which raise in the released code, mean what they say.
        negatives: What an image is kept away from: ``'ctrdAll'``, ``'ctrdAvg'``, ``'ctrdHM'`` or ``'batchNeg'``
            (default), see :func:`point_to_set_hinge`.
        num_negatives: As for :func:`point_to_set_hinge`. Defaults to 5.
        own_centroid: Count the own centroid among ``'ctrdAll'``, as released. Defaults to False.
        extent: ``'mean'`` (default, as released) or ``'radius'``: compactness.
        margin: Of ``tri``. Defaults to 1.
        margin_norm: Of ``triNorm``. Defaults to 0.1.
        xe_weight: Defaults to 1.
        tri_weight: Of ``tri`` and ``triNorm``. Defaults to 1.
        mg_weight: Defaults to 0.1.
        mg_norm_weight: Defaults to 1.
        **kwargs: As for :class:`BaseReID`.

    Raises:
        InputError: For an unknown name, negative set or extent; at a step, if there is a single centroid.

    Example:
        >>> model = dict(type='FAT', terms='XE-triNorm-mgNorm', negatives='ctrdHM', head=dict(type='FATHead'))
    """

    required_hooks: ClassVar = dict(
        # Annotated labels have no radius that could be too small, and a selection of them is meant, however small.
        cluster=dict(type="ClusterHook", max_outlier_ratio=1.0, policy="raise"),
        soft_labels=dict(type="SoftLabelsHook"),
    )

    def __init__(
        self,
        *args: Any,
        terms: str = "XE-tri-mg",
        negatives: NegativeSet = "batchNeg",
        num_negatives: Count = 5,
        own_centroid: bool = False,
        extent: Literal["mean", "radius"] = "mean",
        margin: float = 1.0,
        margin_norm: float = 0.1,
        xe_weight: float = 1.0,
        tri_weight: float = 1.0,
        mg_weight: float = 0.1,
        mg_norm_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.terms = parse_terms(terms)
        hinge = partial(
            point_to_set_hinge,
            negatives=negatives,
            num_negatives=num_negatives,
            own_centroid=own_centroid,
        )
        self.hinge = partial(hinge, margin=margin)
        self.hinge_norm = partial(hinge, margin=margin_norm)
        self.compactness = partial(compactness, extent=extent)
        self.xe_weight, self.tri_weight = xe_weight, tri_weight
        self.mg_weight, self.mg_norm_weight = mg_weight, mg_norm_weight

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Make the encoder, and the head that fits its embedding."""
        self.encoder = MODELS.build(encoder)
        self.head = MODELS.build(
            {"type": "FATHead", "in_channels": self.encoder.embed_dim, **(head or {})}
        )

    def cluster_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """The pooled feature as it is, of the unmirrored image: its length belongs to the centroids."""
        return extract(lambda inputs: self.encode(self.encoder, inputs).pooled, images.target)

    def probabilities(self, extract: Extract, images: TrainingImages) -> Tensor:
        """What the classifier says about the target, for ``ConfidentLabels``.

        Args:
            extract: Not needed.
            images: With the features of :meth:`cluster_features`.

        Returns:
            float32 (N, K), softmax in evaluation mode.
        """
        assert images.features is not None
        neck, device = self.encoder.neck, next(self.parameters()).device
        was_training = neck.training
        neck.eval()
        blocks = images.features.split(_BLOCK)
        probabilities = [self.head.probabilities(neck(block.to(device))) for block in blocks]
        neck.train(was_training)
        return torch.cat(probabilities)

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_xe``, ``loss_tri``, ``loss_tri_norm``, ``loss_mg``, ``loss_mg_norm``: those that the name has."""
        [f], [z] = self.head(out)
        y, q = self.head.targets(gather_batch(samples.gt_label), gather_batch(samples.sample_idx))
        c, unit_c = self.head.centroids.plain, self.head.centroids.unit
        unit_f = F.normalize(f, dim=1)
        losses = {}
        if "xe" in self.terms:
            losses["loss_xe"] = self.xe_weight * F.cross_entropy(z, q)
        if "tri" in self.terms:
            losses["loss_tri"] = self.tri_weight * self.hinge(f, y, c)
        if "tri_norm" in self.terms:
            losses["loss_tri_norm"] = self.tri_weight * self.hinge_norm(unit_f, y, unit_c)
        if "mg" in self.terms:
            losses["loss_mg"] = self.mg_weight * self.compactness(f, y, c)
        if "mg_norm" in self.terms:
            losses["loss_mg_norm"] = self.mg_norm_weight * self.compactness(unit_f, y, unit_c)
        return losses
