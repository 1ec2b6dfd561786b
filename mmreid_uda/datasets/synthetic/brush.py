"""Plain shapes and paints that scenes, and the things in them, are drawn with."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .appearance import COLORS, Color

__all__ = ["box", "disc", "fill", "shaded", "tone"]


def tone(rng: np.random.Generator, names: Sequence[str], spread: float = 12) -> Color:
    """Draw a paint: one of several colours, a little off.

    Args:
        rng: Generator of what is painted.
        names: Of :data:`~mmreid_uda.datasets.synthetic.appearance.COLORS`.
        spread: How far off each channel may be.

    Returns:
        Blue, green and red.
    """
    red, green, blue = np.clip(
        np.array(COLORS[names[int(rng.integers(len(names)))]]) + rng.uniform(-spread, spread, 3),
        0,
        255,
    ).tolist()
    return blue, green, red


def shaded(color: Color, factor: float) -> Color:
    """A colour in another light.

    Args:
        color: Blue, green and red, 0..255.
        factor: Of the light; 1 changes nothing.

    Returns:
        Blue, green and red.
    """
    blue, green, red = color
    return min(255.0, blue * factor), min(255.0, green * factor), min(255.0, red * factor)


def fill(
    image: np.ndarray, points: np.ndarray | Sequence[tuple[float, float]], color: Color
) -> None:
    """Fill a polygon; on four channels the last becomes opaque.

    Args:
        image: uint8 (H, W, 3) or (H, W, 4), drawn on in place.
        points: Columns and rows of the corners.
        color: Of the inside.
    """
    fixed = np.rint(np.asarray(points, np.float64) * 16).astype(np.int32)
    cv2.fillPoly(image, [fixed], (*color, 255.0)[: image.shape[2]], cv2.LINE_AA, 4)


def box(
    image: np.ndarray,
    left: float,
    top: float,
    right: float,
    bottom: float,
    color: Color,
) -> None:
    """Fill a rectangle.

    Args:
        image: See :func:`fill`.
        left: First column.
        top: First row.
        right: Last column.
        bottom: Last row.
        color: Of the inside.
    """
    fill(image, [(left, top), (right, top), (right, bottom), (left, bottom)], color)


def disc(image: np.ndarray, x: float, y: float, radius: float, color: Color) -> None:
    """Fill a circle.

    Args:
        image: See :func:`fill`.
        x: Column of the centre.
        y: Row of the centre.
        radius: In pixels.
        color: Of the inside.
    """
    center = (round(x * 16), round(y * 16))
    cv2.circle(
        image, center, round(radius * 16), (*color, 255.0)[: image.shape[2]], -1, cv2.LINE_AA, 4
    )
