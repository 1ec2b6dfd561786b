"""Features without what is common to the images of a camera."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.structures import class_means

__all__ = ["center_cameras"]


def center_cameras(features: Tensor, cameras: Tensor) -> Tensor:
    """Subtract the mean feature of each image's camera, and scale to unit norm.

    Args:
        features: float32 (N, D), rows of unit norm.
        cameras: int64 (N,), -1 = unknown: such images lose the mean of all.

    Returns:
        float32 (N, D), rows of unit norm.
    """
    cameras = torch.as_tensor(cameras, device=features.device)
    numbers = torch.unique(cameras, return_inverse=True)[1]
    means = class_means(features, numbers, int(numbers.max()) + 1)
    own = torch.where((cameras >= 0)[:, None], means[numbers], features.mean(0))
    return F.normalize(features - own, dim=1)
