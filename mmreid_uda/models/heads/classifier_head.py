"""The classifying head of the mean-teacher family: a classifier of changing size."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.layers import ResizingRows
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import full_precision, make_rng
from mmreid_uda.utils.dist import all_gather_with_grad

from .base_head import BaseHead, BranchOutput

__all__ = ["ClassifierHead"]

# Standard deviation of classifier rows that do not start from centroids (MMT's and ABMT's released code).
_STD = 0.001


@MODELS.register_module()
class ClassifierHead(BaseHead, ResizingRows):
    """Linear classifiers without bias, one per branch. What is made of their logits is said by the algorithms.

    The number of classes K changes with every clustering, and the number of rows with it, see :class:`ResizingRows`.

    Args:
        in_channels: Dimension D of one branch's embedding; algorithms fill it in.
        num_branches: Number of branches; algorithms fill it in.
        init: Rows after a clustering: ``'centroid'`` = the unit mean feature of each cluster (default); ``'random'`` =
            N(0, 0.001²); ``'uniform'`` = U(-1/√D, 1/√D), as ``nn.Linear`` starts (the UDA strong baseline's released
            code).

    Raises:
        InputError: For an unknown ``init``.

    Example:
        >>> model = dict(type='ABMT', head=dict(type='ClassifierHead', init='centroid'))
    """

    weight: Tensor
    row_dim = 1

    def __init__(
        self,
        in_channels: int,
        num_branches: int = 1,
        init: Literal["centroid", "random", "uniform"] = "centroid",
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_branches, self.init = num_branches, init
        # (branches, K, D); there are no classes yet.
        self.weight = nn.Parameter(torch.empty(num_branches, 0, in_channels))

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

    def set_num_classes(self, num_classes: int, seed: int = 0) -> None:
        """Set the number of classes; rows that are there keep their values.

        Args:
            num_classes: K.
            seed: Further rows are drawn from it.
        """
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
        pooled, embedding = all_gather_with_grad(out.pooled), all_gather_with_grad(out.embedding)
        # Branch by branch: the gradient of a batched product would not lie as the weight does, and be copied.
        pairs = zip(self._split(embedding).unbind(), self.weight.unbind())
        logits = torch.stack([F.linear(one, rows) for one, rows in pairs])
        return BranchOutput.of(self._split(pooled), logits)
