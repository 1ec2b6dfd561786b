"""What a camera makes of the light: resolution, colour, tone curve and noise. Rendering and augmentation share it."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils.values import Fraction, NonNegative

__all__ = ["RandomCamera", "coarsen", "expose"]


def coarsen(picture: np.ndarray, rows: int) -> np.ndarray:
    """Film from further away: fewer pixels on the same thing.

    Args:
        picture: uint8 (H, W, 3).
        rows: Height of the result, 1 to H; its width follows.

    Returns:
        uint8 (rows, about W * rows / H, 3).
    """
    height, width = picture.shape[:2]
    return cv2.resize(picture, (max(1, width * rows // height), rows), interpolation=cv2.INTER_AREA)


def expose(
    picture: np.ndarray,
    rng: np.random.Generator,
    *,
    gains: np.ndarray,
    curve: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
    haze: float = 0.0,
    noise: float = 0.0,
) -> np.ndarray:
    """What a sensor makes of the light: colour, tone curve and noise.

    Args:
        picture: uint8 (H, W, 3), BGR.
        rng: Generator of the noise.
        gains: float (3,), factors of blue, green and red.
        curve: Gamma; above 1 darkens the middle tones.
        saturation: 0 grey, 1 unchanged.
        hue: Turn of the colour circle in radians.
        haze: Share of scattered light, 0..1.
        noise: Standard deviation in grey levels.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    color: np.ndarray = picture.astype(np.float32)
    grey = cv2.merge([color @ _GREY] * 3)
    color -= grey
    color *= np.float32(saturation)
    color += grey
    if hue:
        color = color @ _hue_matrix(hue)
    # Whole rows at once are several times faster than pixels of three values.
    color.reshape(len(color), -1)[:] *= np.tile(gains.astype(np.float32), color.shape[1])
    if haze:
        color += np.float32(haze) * (color.mean() - color)
    np.clip(color, 0, 255, out=color)
    color = 255 * (color / 255) ** np.float32(curve)
    color += rng.normal(0, noise, color.shape).astype(np.float32)
    return np.clip(color, 0, 255).astype(np.uint8)


_GREY = np.array((0.114, 0.587, 0.299), np.float32)
_AXIS = np.full(3, 3**-0.5)
_UNTURNED, _ALONG = np.eye(3), np.outer(_AXIS, _AXIS)
_CROSS = np.array(((0, -1, 1), (1, 0, -1), (-1, 1, 0))) * 3**-0.5


def _hue_matrix(angle: float) -> np.ndarray:
    """float32 (3, 3) that turns BGR colours, from the right, about the axis of greys."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (cos * _UNTURNED + sin * _CROSS + (1 - cos) * _ALONG).astype(np.float32)


@TRANSFORMS.register_module()
class RandomCamera(BaseTransform):
    """Film ``img`` by another camera: other light, white balance, tone curve, colours, sharpness and noise.

    Where cameras differ more than people do, features have to look at something else than the shade of a colour; this
    makes every image of a batch one of a camera of its own.

    Args:
        prob: Probability in [0, 1]. Defaults to 0.8.
        strength: 1 is as unlike as two real cameras at one place may be; 0 changes nothing.
        grey: Probability that no colour is left. Defaults to 0.
    """

    def __init__(
        self, prob: Fraction = 0.8, strength: NonNegative = 1.0, grey: Fraction = 0.0
    ) -> None:
        self.prob, self.strength, self.grey = prob, strength, grey

    def transform(self, results: dict) -> dict:
        """Film ``results['img']`` or leave it."""
        rng: np.random.Generator = results["rng"]
        if rng.random() >= self.prob:
            return results
        image, strength = results["img"], self.strength
        height, width = image.shape[:2]
        rows = round(height * (1 - 0.6 * min(1.0, strength) * rng.random() ** 2))
        if rows < height:
            image = coarsen(image, max(1, rows))
        image = expose(
            image,
            rng,
            gains=np.exp(rng.normal(0, 0.15 * strength) + rng.normal(0, 0.1 * strength, 3)),
            curve=float(np.exp(rng.normal(0, 0.2 * strength))),
            saturation=0.0
            if rng.random() < self.grey
            else max(0.0, 1 + strength * float(rng.uniform(-0.5, 0.3))),
            hue=float(rng.normal(0, 0.1 * strength)),
            haze=float(rng.uniform(0, 0.15 * min(1.0, strength))),
            noise=float(rng.uniform(0, 5 * strength)),
        )
        if rows < height:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        results["img"] = image
        return results
