"""The head of MGN and PTL: a classifier for each part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.layers import ResizingRows
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import full_precision, make_rng
from mmreid_uda.utils.dist import all_gather_with_grad

from .base_head import BaseHead, BranchOutput

__all__ = ["PTLHead"]


@MODELS.register_module()
class PTLHead(BaseHead):
    """Classifiers with bias, one per part.

    MGN has eight parts and three global features, other networks one of each. Weights start Kaiming-normal,
    biases at 0.

    Source: Yu et al., "Progressive transfer learning for person re-identification", IJCAI 2019, released code; the
    hidden layers are the "three FC layers" that the paper trains on its DenseNet.

    Args:
        in_channels: Dimension of one part; algorithms fill it in.
        num_branches: Number of parts; algorithms fill it in.
        num_classes: Number of classes, for data that nobody counts (``SourceClassesHook`` does, and then decides).
            Defaults to 0: what is counted.
        num_globals: Number of global features in the encoder's ``pooled``; 3 for MGN. Defaults to 1.
        hidden: Widths of layers before the last one, each linear with ReLU. Defaults to none.
        init: Variance of the starting weights: ``'fan_in'`` = 2 / inputs (default; the released MGN with cells), or
            ``'fan_out'`` = 2 / outputs (plain MGN).

    Raises:
        InputError: For an unknown ``init``.

    Example:
        >>> model = dict(type='PTL', head=dict(type='PTLHead', num_globals=3))
    """

    def __init__(
        self,
        in_channels: int,
        num_branches: int = 1,
        num_classes: int = 0,
        num_globals: int = 1,
        hidden: Sequence[int] = (),
        init: Literal["fan_in", "fan_out"] = "fan_in",
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_globals = num_globals
        self.classifiers = nn.ModuleList(
            _layers([in_channels, *hidden], num_classes, init) for _ in range(num_branches)
        )

    @property
    def num_classes(self) -> int:
        """K, the number of rows of each classifier."""
        return self._last[0].num_rows

    @property
    def _last(self) -> list[_Rows]:
        """The last layer of each classifier."""
        return [layers[-1] for layers in self.classifiers]  # type: ignore[index]

    def set_num_classes(self, num_classes: int, seed: int = 0) -> None:
        """Set the number of classes; rows that are there keep their values.

        Args:
            num_classes: K.
            seed: Further rows are drawn from it, other ones for each part.
        """
        for number, layer in enumerate(self._last):
            layer.resize(num_classes, make_rng(seed, number, "classifier"))

    @torch.no_grad()
    def on_relabel(self, state: PseudoLabelState) -> None:
        """Start the last layers anew, with a row for every cluster."""
        for number, layer in enumerate(self._last):
            rng = make_rng(state.seed, state.epoch, number, "classifier")
            layer.resize(0, rng)
            layer.resize(state.num_clusters, rng)

    @full_precision
    def forward(self, out: EncoderOutput) -> BranchOutput:
        """Join the batches of all ranks and classify them.

        Args:
            out: ``pooled`` (B, num_globals · d), ``embedding`` (B, num_branches · in_channels) of this rank's images.

        Returns:
            ``pooled`` float32 (num_globals, W·B, d) and ``logits`` (num_branches, W·B, K), with the gradient of this
            rank's part.
        """
        pooled, embedding = all_gather_with_grad(out.pooled), all_gather_with_grad(out.embedding)
        globals_ = torch.stack(pooled.chunk(self.num_globals, dim=1))
        return BranchOutput.of(globals_, self.classify(embedding))

    @full_precision
    def classify(self, embedding: Tensor) -> Tensor:
        """Logits of embeddings of this rank alone, part by part.

        Args:
            embedding: float32 (B, num_branches · in_channels).

        Returns:
            float32 (num_branches, B, K).
        """
        parts = embedding.chunk(len(self.classifiers), dim=1)
        logits = [classify(part) for classify, part in zip(self.classifiers, parts)]
        return torch.stack(logits)


class _Rows(ResizingRows, nn.Linear):
    """The last layer of a classifier: Kaiming-normal by inputs or outputs, without bias at the start."""

    def __init__(self, inputs: int, num_classes: int, init: Literal["fan_in", "fan_out"]) -> None:
        self.init = init
        super().__init__(inputs, num_classes)

    def draw_rows(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
        """Rows of the weight, or zeros of the bias."""
        if name == "bias":
            return torch.zeros(shape)
        fan = self.in_features if self.init == "fan_in" else self.num_rows + shape[0]
        return torch.from_numpy(rng.normal(0, (2 / fan) ** 0.5, shape))

    @property
    def out_features(self) -> int:
        """Number of classes."""
        return self.num_rows

    @out_features.setter
    def out_features(self, value: int) -> None:
        # nn.Linear notes the number that it starts with; it is the weight that knows it.
        del value

    def reset_parameters(self) -> None:
        """Draw from the global generator."""
        if self.num_rows:
            nn.init.kaiming_normal_(self.weight, mode=self.init)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def _layers(
    widths: Sequence[int], num_classes: int, init: Literal["fan_in", "fan_out"]
) -> nn.Sequential:
    """Linear layers of these widths with ReLU in between, and one with a row per class; Kaiming-normal by ``init``."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(linear.weight, mode=init)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, _Rows(widths[-1], num_classes, init))
