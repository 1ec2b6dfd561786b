"""Labels that workers see change."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SharedLabels"]


class SharedLabels:
    """An int64 tensor in shared memory that stays one tensor when the dataset around it is copied.

    ``copy.deepcopy`` of a plain tensor makes a private one, and a worker that holds it would train on the labels of
    the first epoch for ever.

    Args:
        values: int64 (N,), the first labels.
        of: Name of the dataset, for messages.
    """

    def __init__(self, values: Tensor, of: str) -> None:
        self.tensor = values.clone().share_memory_()
        self._of = of

    def __deepcopy__(self, memo: dict) -> SharedLabels:
        return self

    def write(self, labels: Tensor) -> None:
        """See :meth:`.ReIDDataset.set_labels`."""
        if labels.shape != self.tensor.shape or labels.dtype.is_floating_point:
            raise ValueError(
                f"labels of {self._of} must be integers of shape {tuple(self.tensor.shape)}, "
                f"got {labels.dtype} of shape {tuple(labels.shape)}"
            )
        classes = torch.unique(labels[labels >= 0]).cpu()
        if int(labels.min()) < -1 or not torch.equal(classes.long(), torch.arange(len(classes))):
            raise ValueError(
                f"labels of {self._of} must be -1 or contiguous 0..K-1, got {len(classes)} classes "
                f"between {int(labels.min())} and {int(labels.max())}"
            )
        self.tensor.copy_(labels)
