"""Who and what else is in view where a place is busy: people behind and before a person, and things in the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mmreid_uda.utils import make_rng

from .appearance import Identity, pick
from .clutter import THINGS
from .domains import Camera, Range
from .figure import Pose
from .lighting import dim, draw_lit

__all__ = ["cut_off", "draw_cover", "draw_others"]


@dataclass(frozen=True)
class Cover:
    """How a thing gets between the camera and a person.

    Attributes:
        weight: How often.
        inwards: Metres from the nearer side of the crop to the thing's middle.
        foot: Row of the thing's foot over the height of the crop.
    """

    weight: float
    inwards: Range
    foot: Range


COVERS: Mapping[str, Cover] = dict(
    pole=Cover(3, (0.0, 0.5), (1.05, 1.4)),
    board=Cover(3, (-0.3, 0.2), (0.98, 1.4)),
    car=Cover(2, (-2.2, 0.5), (1.3, 1.7)),
    bush=Cover(2, (-0.6, 0.1), (1.0, 1.3)),
    rails=Cover(2, (-1.0, 0.5), (1.0, 1.3)),
    umbrella=Cover(1, (-0.9, -0.1), (1.1, 1.5)),
    luggage=Cover(1, (-0.1, 0.3), (1.0, 1.2)),
    bin=Cover(1, (-0.1, 0.4), (1.0, 1.3)),
    cabinet=Cover(1, (-0.6, 0.0), (1.0, 1.6)),
    bicycle=Cover(1, (-0.6, 0.5), (1.0, 1.2)),
    bench=Cover(1, (-0.8, 0.5), (1.0, 1.2)),
    bollard=Cover(1, (-1.2, 0.4), (1.0, 1.3)),
    pillar=Cover(1, (-0.35, 0.1), (1.1, 1.2)),
    tree=Cover(1, (-0.15, 0.3), (1.1, 1.4)),
)
_SIZE, _FOOT, _TALL = (176, 96), 164, 150
"""Height and width of the picture of a stranger, row of the feet, and height of the person in pixels."""
_WEIGHTS = {name: cover.weight for name, cover in COVERS.items()}


def draw_cover(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Put a thing between the camera and the person.

    Args:
        canvas: uint8 (H, W, C) that a person fills, drawn on in place.
        rng: Generator of this image.
    """
    height, width = canvas.shape[:2]
    name = pick(rng, _WEIGHTS)
    cover, m = COVERS[name], 0.52 * height * rng.uniform(1.0, 1.4)
    inwards = m * rng.uniform(*cover.inwards)
    x = inwards if rng.random() < 0.5 else width - inwards
    THINGS[name](canvas, x, height * rng.uniform(*cover.foot), m, rng)


def draw_others(
    canvas: np.ndarray,
    camera: Camera,
    yaw: float,
    stranger: Callable[[int], Identity],
    rng: np.random.Generator,
    *,
    front: bool,
) -> None:
    """Draw people who are near: behind at other scales, beside as company, or in front and cut off.

    Args:
        canvas: uint8 (H, W, 4), BGR and the silhouette of the person, which is left as it is; drawn on in place.
        camera: The camera.
        yaw: Direction that the person walks in.
        stranger: Gives the person of a number below 24; equal functions give equal people.
        rng: Generator of this image.
        front: Whether they are between the camera and the person.
    """
    height, width = canvas.shape[:2]
    together = not front and rng.random() < 0.35
    number = 1 if front else 1 + int(rng.choice(3, p=(0.65, 0.25, 0.1)))
    scales = (1.05, 1.5) if front else (0.88, 1.02) if together else (0.4, 1.0)
    # From far to near, so that the nearer ones cover the others.
    for scale in np.sort(rng.uniform(*scales, number)):
        aside = width * rng.uniform(*((0.3, 0.55) if front or together else (0.0, 0.6)))
        x = width / 2 + aside * (1 if rng.random() < 0.5 else -1)
        foot = height * (0.96 + (scale - 1) * (0.2 + 0.6 * camera.pitch))
        turn = round(yaw / (np.pi / 4)) if together else int(rng.integers(8))
        figure = _figure(stranger, int(rng.integers(24)), turn % 8, round(2 * camera.pitch))
        grow = 0.92 * height * scale / _TALL
        place = np.array(((grow, 0, x - grow * _SIZE[1] / 2), (0, grow, foot - grow * _FOOT)))
        placed = cv2.warpAffine(figure, place, (width, height), flags=cv2.INTER_LINEAR)
        dim(canvas, cv2.extractChannel(placed, 3))
        placed[..., 3] = 0
        cv2.add(canvas, placed, canvas)


@lru_cache(maxsize=1024)
def _figure(stranger: Callable[[int], Identity], number: int, turn: int, pitch: int) -> np.ndarray:
    """uint8 (*_SIZE, 4): a stranger with a shadow at the feet, on nothing; colours are weighted by the fourth channel.

    There are few enough of them to keep, which makes a crowd cheap.
    """
    rng = make_rng(number, "figure", turn, pitch)
    pose = Pose(
        yaw=turn * np.pi / 4,
        phase=float(rng.uniform(0, 6)),
        stride=float(rng.uniform(0.05, 0.5)),
        pitch=pitch / 2,
    )
    canvas = np.zeros((*_SIZE, 4), np.uint8)
    x = _SIZE[1] / 2
    draw_lit(canvas, stranger(number), pose, (x, _FOOT, _TALL), 0.0, rng)
    shadow = np.zeros(_SIZE, np.uint8)
    cv2.ellipse(shadow, (round(x), _FOOT), (24, 5), 0, 0, 360, 150.0, -1)
    canvas[..., 3] = cv2.max(canvas[..., 3], cv2.blur(shadow, (7, 3)))
    return canvas


def cut_off(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a side off, as the border of a frame cuts a box off that is then enlarged to a whole crop.

    Args:
        picture: uint8 (H, W, 3).
        rng: Generator of this image.

    Returns:
        uint8 (H, W, 3).
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = 0, 0, width, height
    side = int(rng.choice(4, p=(0.3, 0.3, 0.3, 0.1)))
    if side == 0:
        left = round(width * rng.uniform(0.08, 0.33))
    elif side == 1:
        right = round(width * rng.uniform(0.67, 0.92))
    elif side == 2:
        bottom = round(height * rng.uniform(0.62, 0.92))
    else:
        top = round(height * rng.uniform(0.04, 0.12))
    return cv2.resize(
        picture[top:bottom, left:right], (width, height), interpolation=cv2.INTER_LINEAR
    )
