"""The images of a training, as a method sees them when features are to be clustered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Extract", "TrainingImages"]

Extract = Callable[[Callable[[Tensor], Tensor], Any], Tensor]
"""``extract(network, dataset)``: features of all images of a dataset, seen through the test pipeline.

The network maps normalised images, float32 (B, 3, H, W), to features (B, D): an algorithm, one of its methods, or any
function. All ranks call this together, and get the same float32 (N, D), finite, in the order of the dataset: on the
model's device or, where that would take too much memory, on the CPU as a map of a file, which no step needs to copy.
The algorithm is in evaluation mode meanwhile.
"""


@dataclass
class TrainingImages:
    """The images of a training before one of its epochs.

    Args:
        target: Dataset that is to get pseudo-labels, N images. Its attributes say what is known of them:
            ``true_labels``, ``camids``, ``paths``, ...
        sources: Labelled datasets, possibly none.
        source_labels: int64 (M,), identities of the images of all sources, one after the other, numbered over all.
        epoch: Epoch that is about to be trained, 0-based; 0 also where a training starts from the weights of another,
            never after a resume.
        features: float32 (N, D), those of the target that are clustered; None until they are known.
    """

    target: Any
    sources: Sequence[Any] = ()
    source_labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    epoch: int = 0
    features: Tensor | None = None
