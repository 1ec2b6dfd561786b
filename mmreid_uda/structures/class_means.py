"""The mean of what belongs to a class."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["class_means"]


def class_means(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean feature of each class, not normalized: ``c_k = 1/n_k · sum_{y_i = k} f_i``.

    Nothing depends on how many images are outliers: a GPU is not waited for.

    Args:
        features: float (N, D).
        labels: int64 (N,) in ``-1..num_classes-1``, on any device; images of label -1 belong to no class.
        num_classes: K.

    Returns:
        (K, D), the type and device of the features; zero for a class without images.
    """
    # The last sum is that of the outliers.
    labels = labels.to(features.device)
    rows = torch.where(labels < 0, num_classes, labels)
    sums = features.new_zeros(num_classes + 1, features.shape[1]).index_add_(0, rows, features)
    counts = features.new_zeros(num_classes + 1).index_add_(0, rows, features.new_ones(len(rows)))
    return sums[:-1] / counts[:-1].clamp(min=1).unsqueeze(1)
