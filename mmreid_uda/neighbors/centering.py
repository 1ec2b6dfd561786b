"""Features without what is common to the images of a camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.utils import InputError

__all__ = ["CameraMeans", "center_by", "center_cameras"]

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
        centered[own] -= _offset(rows[own].mean(0), mean, int(own.sum()))
    result = _unit(centered, rows)
    return result if isinstance(features, Tensor) else result.numpy()


class CameraMeans:
    """What :func:`center_cameras` subtracts, measured on images that come in batches, for images that come later.

    Attributes:
        num_images: Images so far.
    """

    def __init__(self) -> None:
        self.num_images = 0
        self._sums: dict[str, np.ndarray] = {}
        self._nums: Counter[str] = Counter()

    def add(self, features: np.ndarray, cameras: np.ndarray) -> None:
        """Count images in.

        Args:
            features: float32 (N, D), rows of unit norm.
            cameras: str (N,), '' = unknown.
        """
        self.num_images += len(features)
        for camera in np.unique(cameras).tolist():
            rows = features[cameras == camera].astype(np.float64)
            self._sums[camera] = self._sums.get(camera, 0.0) + rows.sum(0)
            self._nums[camera] += len(rows)

    def means(self) -> dict[str, np.ndarray]:
        """What is subtracted from the images of each camera.

        Returns:
            Camera -> float64 (D,); ``''`` has the mean of all, for images of an unknown or a new camera.
        """
        mean = np.sum(list(self._sums.values()), 0) / self.num_images
        found = {
            camera: mean + _offset(total / self._nums[camera], mean, self._nums[camera])
            for camera, total in sorted(self._sums.items())
        }
        return {**found, "": mean}


def center_by(
    means: Mapping[str, np.ndarray], features: np.ndarray, cameras: np.ndarray
) -> np.ndarray:
    """Subtract means of cameras that were measured before, and scale to unit norm.

    Args:
        means: Camera -> float (D,), see :meth:`CameraMeans.means`.
        features: float32 (N, D), rows of unit norm.
        cameras: str (N,).

    Returns:
        float32 (N, D), rows of unit norm. A row that is the mean itself stays what it was.
    """
    rows = torch.from_numpy(np.ascontiguousarray(features, np.float32))
    offsets = np.stack([means.get(camera, means[""]) for camera in cameras.tolist()])
    return _unit(rows - torch.from_numpy(offsets.astype(np.float32)), rows).numpy()


def _offset(own: Any, mean: Any, num: int) -> Any:
    """How far the mean of a camera with ``num`` images lies from the mean of all, drawn towards it."""
    return (own - mean) * (num / (num + _PRIOR_IMAGES))


def _unit(centered: Tensor, rows: Tensor) -> Tensor:
    empty = torch.linalg.vector_norm(centered, dim=1, keepdim=True) < _NOTHING_LEFT
    return F.normalize(torch.where(empty, rows, centered), dim=1)
