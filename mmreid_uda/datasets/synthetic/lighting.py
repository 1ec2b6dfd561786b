"""The light on rendered people, and the shadows that they cast."""

from __future__ import annotations

import cv2
import numpy as np

from .appearance import Identity
from .figure import Pose
from .pedestrian import draw_pedestrian

__all__ = ["cast_shadow", "dim", "draw_lit", "draw_patches"]


def dim(canvas: np.ndarray, shade: np.ndarray) -> None:
    """Take light away from a canvas, whose silhouette stays.

    Args:
        canvas: uint8 (H, W, 4), BGR and silhouette, changed in place.
        shade: uint8 (H, W), 0 where all light is left, 255 where none is.
    """
    left, top, width, height = cv2.boundingRect(shade)
    if not width:
        return
    region = np.s_[top : top + height, left : left + width]
    light = 255 - shade[region]
    # All four channels in place: OpenCV copies a view of three, and slowly.
    factors = cv2.merge([light, light, light, np.full_like(light, 255)])
    cv2.multiply(canvas[region], factors, canvas[region], scale=1 / 255)


def draw_lit(
    canvas: np.ndarray,
    who: Identity,
    pose: Pose,
    place: tuple[float, float, float],
    sunlight: float,
    rng: np.random.Generator,
) -> None:
    """Draw a person with the light on the body and the shadow on the ground.

    Args:
        canvas: uint8 (H, W, 4), BGR and an empty silhouette, drawn on in place.
        who: The person.
        pose: How the person is seen.
        place: Column of the body's axis, row of the ground and height of the person in pixels.
        sunlight: See :class:`~mmreid_uda.datasets.synthetic.domains.Camera`.
        rng: Generator of the folds of the clothes.
    """
    x, foot, height = place
    _contact_shadow(canvas, x, foot, height, sunlight)
    draw_pedestrian(canvas, who, pose, x, foot, height)
    _light_body(canvas, x, height, sunlight, rng)


def cast_shadow(canvas: np.ndarray, sunlight: float, pitch: float) -> None:
    """Lay the shadow of a silhouette on the ground behind it, away from the light.

    Args:
        canvas: uint8 (H, W, 4), BGR and silhouette, drawn on in place.
        sunlight: See :class:`~mmreid_uda.datasets.synthetic.domains.Camera`.
        pitch: See :class:`~mmreid_uda.datasets.synthetic.figure.Pose`.
    """
    height, width = canvas.shape[:2]
    silhouette = cv2.extractChannel(canvas, 3)
    small = cv2.resize(silhouette, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    rows = np.flatnonzero(small.max(axis=1))
    if not len(rows):
        return
    foot = float(rows[-1])
    aside, flat = -4 * sunlight, 0.2 + 0.4 * pitch
    shear = np.array(((1, -aside, aside * foot), (0, flat, foot * (1 - flat))))
    shadow = cv2.warpAffine(small, shear, small.shape[::-1])
    soft = cv2.resize(shadow, (width, height), interpolation=cv2.INTER_LINEAR)
    strength = min(0.6, 0.1 + 2 * abs(sunlight))
    dim(canvas, cv2.multiply(soft, 255 - silhouette, scale=strength / 255))


def draw_patches(canvas: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    """Let shade fall on a part of the view, and on whoever stands there: that of a wall, or of leaves.

    Args:
        canvas: uint8 (H, W, 4), BGR and silhouette, drawn on in place.
        strength: Share of the light that is missing in the shade.
        rng: Generator of this image.
    """
    height, width = canvas.shape[:2]
    if rng.random() < 0.65:
        slope, middle = rng.normal(0, 1), rng.uniform(0.1, 0.9)
        across, down = np.linspace(-0.5, 0.5, width // 4), np.linspace(-1, 1, height // 4)
        edge = across[None, :] * slope + down[:, None] + 1 - 2 * middle
        sharp = rng.uniform(3, 40) * (1 if rng.random() < 0.5 else -1)
        share = np.clip(0.5 + sharp * edge, 0, 1)
    else:
        cells = rng.normal(0, 1, (int(rng.integers(6, 16)), int(rng.integers(3, 8))))
        share = np.clip(0.5 + 2 * cv2.resize(cells, (width // 4, height // 4)), 0, 1)
    light = cv2.resize((255 * (1 - strength * share)).astype(np.uint8), (width, height))
    dim(canvas, 255 - light)


def _contact_shadow(
    canvas: np.ndarray, x: float, foot: float, height: float, sunlight: float
) -> None:
    """Darken the ground below the feet, and a cast shadow away from the light."""
    size = canvas.shape[1::-1]
    shadow = np.zeros((size[1] // 4, size[0] // 4), np.uint8)
    length = height * (0.1 + abs(sunlight))
    center = ((x - np.sign(sunlight) * length * 0.6) / 4, (foot - 2) / 4)
    axes = (max(1, round(length / 4)), max(1, round(height * 0.025 / 4)))
    cv2.ellipse(shadow, (round(center[0]), round(center[1])), axes, 0.0, 0.0, 360.0, 120.0, -1)
    dim(canvas, cv2.resize(cv2.blur(shadow, (5, 3)), size, interpolation=cv2.INTER_LINEAR))


def _light_body(
    canvas: np.ndarray, x: float, height: float, sunlight: float, rng: np.random.Generator
) -> None:
    """Shade the silhouette: a lit and a dark side, folds of cloth, darker legs."""
    rows, width = canvas.shape[:2]
    columns = np.clip((np.arange(width) - x) / (0.14 * height), -1.3, 1.3)
    sides = 1 + 0.9 * sunlight * columns - 0.06 * columns**2
    folds = cv2.resize(
        rng.normal(0, 0.085, (26, 10)).astype(np.float32),
        (width, rows),
        interpolation=cv2.INTER_CUBIC,
    )
    left, top, wide, tall = cv2.boundingRect(cv2.extractChannel(canvas, 3))
    if not wide:
        return
    across, down = slice(left, left + wide), slice(top, top + tall)
    body = canvas[down, across]
    shade = sides[across] + folds[down, across]
    shade *= np.linspace(1.04, 0.9, rows)[down, None]
    shade -= 1
    shade *= body[..., 3] / np.float32(255)
    shade += 1
    factor = shade.astype(np.float32)
    factors = cv2.merge([factor, factor, factor, np.ones_like(factor)])
    cv2.multiply(body, factors, body, dtype=cv2.CV_8U)
