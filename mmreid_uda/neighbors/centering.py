"""Features without what is common to the images of a camera."""

from __future__ import annotations

from typing import overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.utils import InputError

__all__ = ["center_cameras"]

# Images that the mean of all counts as much as, where a camera's own mean is estimated. Measured with cameras of 2 to
# 200 images: 1 to 5 rank small cameras best and leave large ones as they are.
_PRIOR_IMAGES = 3
# A row that is shorter once it is centered is as good as the mean.
_NOTHING_LEFT = 1e-6


@overload
def center_cameras(features: np.ndarray, cameras: np.ndarray | Tensor) -> np.ndarray: ...
@overload
def center_cameras(features: Tensor, cameras: np.ndarray | Tensor) -> Tensor: ...
def center_cameras(
    features: np.ndarray | Tensor, cameras: np.ndarray | Tensor
) -> np.ndarray | Tensor:
    """Subtract the mean feature of each image's camera, and scale to unit norm.

    The mean of a camera's n images is drawn towards the mean of all, ``(n·own + 3·all) / (n + 3)``: the own mean of few
    images is the mean of few subjects, and subtracting it would take these away, too. Images of unknown camera lose the
    mean of all, which leaves them where they stood to the others.

    Args:
        features: float32 (N, D), rows of unit norm, on any device.
        cameras: int (N,), negative = unknown.

    Returns:
        float32 (N, D), rows of unit norm, array or tensor as given; the same on every rank. A row that is the mean
        itself stays what it was.

    Raises:
        InputError: There is not one camera for each image.
    """
    rows = torch.as_tensor(features).to(torch.float32)
    numbers = torch.as_tensor(cameras).to(rows.device)
    if numbers.shape != rows.shape[:1]:
        raise InputError(
            f"found cameras of shape {tuple(numbers.shape)} for {len(rows)} features, expected one number for each: "
            "give `camid` of the same images."
        )
    mean = rows.mean(0)
    centered = rows - mean
    # One camera after the other: sums that do not depend on the order in which threads of a GPU finish.
    for camera in torch.unique(numbers[numbers >= 0]).tolist():
        own = numbers == camera
        num = int(own.sum())
        offset = (rows[own].mean(0) - mean) * (num / (num + _PRIOR_IMAGES))
        centered[own] -= offset
    empty = torch.linalg.vector_norm(centered, dim=1, keepdim=True) < _NOTHING_LEFT
    result = F.normalize(torch.where(empty, rows, centered), dim=1)
    return result if isinstance(features, Tensor) else result.numpy()
