"""Random erasing, the half that draws; the preprocessor fills the box after normalisation, on the device."""

from __future__ import annotations

import math

import numpy as np
from mmcv.transforms import BaseTransform

from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils.values import Count, Fraction, Positive

__all__ = ["RandomErasingBox"]


@TRANSFORMS.register_module()
class RandomErasingBox(BaseTransform):
    """Draw the box that random erasing will fill (Zhong et al., AAAI 2020).

    Writes ``erase_box``, int64 (4,): top, left, height, width in pixels of ``img``; all 0 = nothing is erased.
    It must follow every transform that moves pixels. ``ReIDDataPreprocessor(erase_value=...)`` holds the fill.

    As in the papers' code the aspect ratio is uniform in the ratio itself, not in its logarithm: PyTorch's
    ``RandomErasing`` draws other boxes.

    Args:
        prob: Probability of erasing. Defaults to 0.5.
        area: Smallest and largest fraction of the image's area. Defaults to (0.02, 0.4).
        aspect: Smallest and largest ratio of height to width. Defaults to (0.3, 1 / 0.3).
        attempts: Draws of a box that do not fit into the image before giving up. Defaults to 100.
    """

    def __init__(
        self,
        prob: Fraction = 0.5,
        area: tuple[Fraction, Fraction] = (0.02, 0.4),
        aspect: tuple[Positive, Positive] = (0.3, 1 / 0.3),
        attempts: Count = 100,
    ) -> None:
        self.prob = prob
        self.area = area
        self.aspect = aspect
        self.attempts = attempts

    def transform(self, results: dict) -> dict:
        """Write ``results['erase_box']``."""
        rng = results["rng"]
        box = (0, 0, 0, 0)
        if rng.random() < self.prob:
            box = self._draw(rng, *results["img"].shape[:2])
        results["erase_box"] = np.array(box, dtype=np.int64)
        return results

    def _draw(self, rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
        """Draw a box strictly smaller than the image: top, left, height, width."""
        for _ in range(self.attempts):
            pixels = rng.uniform(*self.area) * height * width
            ratio = rng.uniform(*self.aspect)
            h, w = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if h < height and w < width:
                top = int(rng.integers(0, height - h + 1))
                return top, int(rng.integers(0, width - w + 1)), h, w
        return 0, 0, 0, 0
