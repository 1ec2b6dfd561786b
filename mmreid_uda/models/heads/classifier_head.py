"""The classifying head of the mean-teacher family: a classifier of changing size, hard losses, and a teacher's."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.layers import ResizingRows, keep_active_rows
from mmreid_uda.models.losses import (
    LabelSmoothCrossEntropy,
    SoftCrossEntropy,
    SoftmaxTripletLoss,
    SoftSoftmaxTripletLoss,
)
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import full_precision, make_rng
from mmreid_uda.utils.dist import gather_live

__all__ = ["BranchOutput", "ClassifierHead"]

# Standard deviation of classifier rows that do not start from centroids (MMT's and ABMT's released code).
_STD = 0.001


class BranchOutput(NamedTuple):
    """What a network says about the *global* batch, branch by branch (most networks have one)."""

    pooled: Tensor
    """float32 (branches, B, D): features before the neck, not normalised."""
    logits: Tensor
    """float32 (branches, B, K)."""

    def crossed(self) -> BranchOutput:
        """The same with the order of the branches reversed: of two, each one's other (ABMT)."""
        return BranchOutput(self.pooled.flip(0), self.logits.flip(0))


def with_logits(losses: dict[str, Tensor], logits: Tensor) -> dict[str, Tensor]:
    """Let logits that none of the losses looks at take part with weight 0.

    Neck and classifier then have a gradient, zero, which ``DistributedDataParallel`` waits for.
    """
    nothing = 0 * logits.sum()
    return {name: loss + nothing for name, loss in losses.items()}


@MODELS.register_module()
class ClassifierHead(ResizingRows, BaseModule):
    """Linear classifiers without bias, one per branch, and the losses of what they say.

    The losses are means over the branches, weighted::

        L = ce_weight · CE_ls(z, y) + triplet_weight · ST_hard(f, y)
          + soft_ce_weight · SCE(z | t) + soft_triplet_weight · ST_soft(f | u)

    with z, f the logits and pooled features of the student, t, u those of a teacher (MMT, ICLR 2020; ABMT, WACV 2021).
    A loss of weight 0 is not computed. Under several ranks the head works on the global batch, gathered in rank order:
    all ranks compute the same loss.

    The number of classes K changes with every clustering, and the number of rows with it, see :class:`ResizingRows`.

    Args:
        in_channels: Dimension D of one branch's embedding; algorithms fill it in.
        num_branches: Number of branches; algorithms fill it in.
        init: Rows after a clustering: ``'centroid'`` = the unit mean feature of each cluster (default); ``'random'`` =
            N(0, 0.001²); ``'uniform'`` = U(-1/√D, 1/√D), as ``nn.Linear`` starts (the UDA strong baseline's released
            code).
        label_smoothing: epsilon of CE_ls, see :class:`LabelSmoothCrossEntropy`. Defaults to 0.1.
        ce_weight: Defaults to 1.
        triplet_weight: Defaults to 1.
        soft_ce_weight: Defaults to 0.
        soft_triplet_weight: Defaults to 0.

    Raises:
        InputError: For an unknown ``init``.

    Example:
        >>> model = dict(type='ABMT', head=dict(
        ...     type='ClassifierHead', ce_weight=0.5, triplet_weight=0.0, soft_ce_weight=0.5,
        ...     soft_triplet_weight=1.0))
    """

    weight: Tensor
    row_dim = 1

    def __init__(
        self,
        in_channels: int,
        num_branches: int = 1,
        init: Literal["centroid", "random", "uniform"] = "centroid",
        label_smoothing: float = 0.1,
        ce_weight: float = 1.0,
        triplet_weight: float = 1.0,
        soft_ce_weight: float = 0.0,
        soft_triplet_weight: float = 0.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_branches, self.init = num_branches, init
        # (branches, K, D); there are no classes yet.
        self.weight = nn.Parameter(torch.empty(num_branches, 0, in_channels))
        self.cross_entropy = LabelSmoothCrossEntropy(label_smoothing)
        self.triplet = SoftmaxTripletLoss()
        self.soft_cross_entropy = SoftCrossEntropy()
        self.soft_triplet = SoftSoftmaxTripletLoss()
        self.weights = dict(
            ce=ce_weight,
            triplet=triplet_weight,
            soft_ce=soft_ce_weight,
            soft_triplet=soft_triplet_weight,
        )

    @property
    def num_classes(self) -> int:
        """K, the number of rows of each branch."""
        return self.num_rows

    def draw_rows(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
        """Random rows as ``init`` says, small ones also where the next clustering replaces them by centroids."""
        bound = shape[2] ** -0.5
        uniform = self.init == "uniform"
        return torch.from_numpy(
            rng.uniform(-bound, bound, shape) if uniform else rng.normal(0, _STD, shape)
        )

    def activate(self, num_classes: int, seed: int = 0) -> None:
        """Set the number of classes; rows that are there keep their values, further ones are drawn from ``seed``."""
        self.resize(num_classes, make_rng(seed, "classifier"))

    @torch.no_grad()
    def on_relabel(self, state: PseudoLabelState) -> None:
        """Give every cluster a row: its centroid, or random numbers that are the same in every network."""
        if self.init == "centroid":
            rows = F.normalize(self._split(state.centroids()), dim=2)
        else:
            rng = make_rng(state.seed, state.epoch, "classifier")
            shape = self.num_branches, state.num_clusters, self.weight.shape[2]
            rows = self.draw_rows("weight", shape, rng)
        self.set_rows({"weight": rows})

    def _split(self, features: Tensor) -> Tensor:
        """Take (B, branches · D) apart to (branches, B, D)."""
        return features.unflatten(1, (self.num_branches, -1)).transpose(0, 1)

    @full_precision
    def forward(self, out: EncoderOutput) -> BranchOutput:
        """Join the batches of all ranks and classify them.

        Args:
            out: Features of this rank's images, (B, branches · D).

        Returns:
            Pooled features and float32 logits of all W·B images, with the gradient of this rank's part.
        """
        pooled, embedding = gather_live(out.pooled), gather_live(out.embedding)
        logits = self._split(embedding) @ self.weight.transpose(1, 2)
        return BranchOutput(self._split(pooled), logits)

    def loss(
        self, student: BranchOutput, labels: Tensor, teacher: BranchOutput | None = None
    ) -> dict[str, Tensor]:
        """Compute the weighted losses of a global batch.

        Args:
            student: Own output, with gradient.
            labels: int64 (B,) of the global batch.
            teacher: Output of the network that teaches, branch for branch; needed if a soft weight is above 0.

        Returns:
            Scalars ``loss_ce``, ``loss_triplet``, ``loss_soft_ce``, ``loss_soft_triplet``: those whose weight is not 0.
        """

        def per_branch(name: str, branch: int) -> Tensor:
            logits, features = student.logits[branch], student.pooled[branch]
            if name == "ce":
                return self.cross_entropy(logits, labels)
            if name == "triplet":
                return self.triplet(features, labels)
            assert teacher is not None
            if name == "soft_ce":
                return self.soft_cross_entropy(logits, teacher.logits[branch])
            return self.soft_triplet(features, teacher.pooled[branch], labels)

        losses = {
            f"loss_{name}": weight
            * torch.stack([per_branch(name, branch) for branch in range(self.num_branches)]).mean()
            for name, weight in self.weights.items()
            if weight
        }
        classified = self.weights["ce"] or self.weights["soft_ce"]
        return losses if classified else with_logits(losses, student.logits)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        keep_active_rows(state_dict, prefix, {"weight": self.row_dim})
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
