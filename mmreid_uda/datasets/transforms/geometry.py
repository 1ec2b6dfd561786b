"""Random flips and crops that draw from the item's own generator, ``results['rng']``."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils import InputError

__all__ = ["PadRandomCrop", "RandomCrop", "RandomHorizontalFlip"]


@TRANSFORMS.register_module()
class RandomHorizontalFlip(BaseTransform):
    """Mirror ``img`` left to right with a probability.

    Args:
        prob: Probability in [0, 1]. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Flip ``results['img']`` or leave it."""
        if results["rng"].random() < self.prob:
            results["img"] = cv2.flip(results["img"], 1)
        return results


@TRANSFORMS.register_module()
class PadRandomCrop(BaseTransform):
    """Pad ``img`` on every side and crop a random window of the old size.

    Both in one copy. All ``(2 * padding + 1) ** 2`` windows are equally likely.

    Args:
        padding: Pixels added on every side. Defaults to 10.
        fill: Value of the added pixels in 0..255, before normalisation. Defaults to 0, as the papers have it.

    Raises:
        InputError: When an image is not larger than the padding.
    """

    def __init__(self, padding: int = 10, fill: int = 0) -> None:
        self.padding = padding
        self.fill = fill

    def transform(self, results: dict) -> dict:
        """Shift ``results['img']`` by up to ``padding`` pixels either way; ``fill`` enters at the borders.

        Raises:
            InputError: The image is not larger than the padding.
        """
        image, rng = results["img"], results["rng"]
        if self.padding >= min(image.shape[:2]):
            raise InputError(
                f"PadRandomCrop got an image of {image.shape[0]}×{image.shape[1]} pixels (height × width), expected "
                f"more than padding={self.padding} either way; put Resize before it or lower padding"
            )
        # The window's corner relative to the unpadded image; negative where padding enters at the top or left.
        top = int(rng.integers(-self.padding, self.padding + 1))
        left = int(rng.integers(-self.padding, self.padding + 1))
        results["img"] = _window(image, top, left, self.fill)
        return results


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Crop a random window that lies inside ``img``; FAT resizes to 432×144 and crops 384×128.

    Args:
        crop_size: Height and width of the window in pixels.

    Raises:
        InputError: When an image is smaller than the window.

    Example:
        >>> pipeline = [
        ...     dict(type='LoadReIDImage'),
        ...     dict(type='Resize', scale=(144, 432), interpolation='bicubic'),  # (width, height)
        ...     dict(type='RandomCrop', crop_size=(384, 128)),                   # (height, width)
        ...     dict(type='RandomHorizontalFlip'),
        ...     dict(type='PackReIDInputs')]
    """

    def __init__(self, crop_size: tuple[int, int]) -> None:
        self.crop_size = crop_size

    def transform(self, results: dict) -> dict:
        """Cut a window out of ``results['img']``.

        Raises:
            InputError: The image is smaller than the window.
        """
        image, rng = results["img"], results["rng"]
        height, width = self.crop_size
        free = image.shape[0] - height, image.shape[1] - width
        if min(free) < 0:
            raise InputError(
                f"RandomCrop got an image of {image.shape[0]}×{image.shape[1]} pixels (height × width), expected at "
                f"least crop_size={height}×{width}; put a larger Resize before it or lower crop_size"
            )
        top, left = (int(rng.integers(0, pixels + 1)) for pixels in free)
        results["img"] = np.ascontiguousarray(image[top : top + height, left : left + width])
        return results


def _window(image: np.ndarray, top: int, left: int, fill: int) -> np.ndarray:
    """Cut the window of the image's own size whose corner is (top, left); outside the image is ``fill``."""
    height, width = image.shape[:2]
    inside = image[max(0, top) : height + top, max(0, left) : width + left]
    above, before = max(0, -top), max(0, -left)
    below, after = max(0, top), max(0, left)
    return cv2.copyMakeBorder(
        inside, above, below, before, after, cv2.BORDER_CONSTANT, value=(fill, fill, fill)
    )
