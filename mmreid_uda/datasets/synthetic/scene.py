"""Where a synthetic camera looks: static backgrounds in perspective, and things that stand in front of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .appearance import COLORS
from .brush import box, disc, fill, shaded, tone
from .places import PLACES, draw_place

__all__ = ["HEIGHT", "WIDTH", "Scene", "draw_occluder", "draw_scene", "horizon_of"]

HEIGHT, WIDTH = 448, 768
"""Size of a scene in pixels of the canvas, on which a person close to the camera is about 260 pixels tall."""


@dataclass(frozen=True)
class Scene:
    """The static view of a camera.

    Attributes:
        image: uint8 (448, 768, 3), BGR.
        horizon: Row at which the ground ends.
    """

    image: np.ndarray
    horizon: int

    def window(self, x: float, ground: float, size: float) -> np.ndarray:
        """Cut the background of a crop out of the scene.

        Args:
            x: Centre of the crop, 0..1 of the scene's width that fits.
            ground: Row of the crop's lower edge, 0..1 of the rows below the horizon.
            size: Pixels of the scene per pixel of the canvas.

        Returns:
            uint8 (256, 128, 3).
        """
        height, width = round(256 * size), round(128 * size)
        bottom = round(self.horizon + (HEIGHT - self.horizon) * ground)
        bottom = min(max(bottom, height), HEIGHT)
        left = round((WIDTH - width) * x)
        crop = self.image[bottom - height : bottom, left : left + width]
        return cv2.resize(crop, (128, 256), interpolation=cv2.INTER_LINEAR)


def horizon_of(pitch: float) -> int:
    """Where the ground ends.

    Args:
        pitch: 0 eye level, towards 1 a camera that hangs high and sees mostly ground.

    Returns:
        Row of a scene.
    """
    return round(HEIGHT * (0.5 - 0.38 * pitch))


def draw_scene(kind: str, pitch: float, sunlight: float, rng: np.random.Generator) -> Scene:
    """Draw the background of one camera.

    Args:
        kind: ``campus``, ``street``, ``hall``, or one of :data:`~mmreid_uda.datasets.synthetic.places.PLACES`.
        pitch: 0 eye level, towards 1 a camera that hangs high and sees mostly ground.
        sunlight: See :class:`~mmreid_uda.datasets.synthetic.domains.Camera`.
        rng: Generator of this camera.

    Returns:
        The scene.
    """
    horizon = horizon_of(pitch)
    if kind in PLACES:
        return Scene(draw_place(kind, (HEIGHT, WIDTH), horizon, sunlight, rng), horizon)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    _ground(image, kind, horizon, rng)
    _backdrop(image, kind, horizon, rng)
    things = dict(campus=_tree, street=_car, hall=_pillar)[kind]
    for _ in range(int(rng.integers(2, 5))):
        things(
            image, rng.uniform(0, WIDTH), horizon + rng.uniform(4, 50), rng.uniform(0.5, 1.1), rng
        )
    for _ in range(int(rng.integers(1, 4))):
        _pole(
            image, rng.uniform(0, WIDTH), horizon + rng.uniform(10, 120), rng.uniform(0.5, 1.0), rng
        )
    _cast_shadows(image, horizon, rng, strength=dict(campus=0.45, street=0.2, hall=0.12)[kind])
    return Scene(_grain(_haze(image), rng), horizon)


# ---------------------------------------------------------------------------------------------------- helpers


def _haze(image: np.ndarray) -> np.ndarray:
    """Paint and leaves are duller than dyed cloth: weaken colour and contrast of what is far away."""
    grey = image.mean(axis=2, keepdims=True)
    return 0.3 * image.mean() + 0.7 * (grey + 0.65 * (image - grey))


def _grain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Break up flat colours: clouds of brightness at two scales, and grain."""
    factor = np.ones((HEIGHT, WIDTH), np.float32)
    for cells, amount in ((6, 0.10), (28, 0.06), (160, 0.05)):
        noise = rng.normal(0, amount, (cells, cells * 2)).astype(np.float32)
        factor += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.clip(image * factor[..., None], 0, 255).astype(np.uint8)


def _cast_shadows(
    image: np.ndarray, horizon: int, rng: np.random.Generator, strength: float
) -> None:
    """Darken patches of the ground: shadows of things outside the view."""
    shadow = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, WIDTH), rng.uniform(horizon, HEIGHT)
        axes = (int(rng.integers(60, 220)), int(rng.integers(12, 60)))
        cv2.ellipse(
            shadow, (round(x), round(y)), axes, float(rng.uniform(-20, 20)), 0, 360, 255.0, -1
        )
    shadow[:horizon] = 0
    soft = cv2.blur(shadow, (21, 21))[..., None] / 255.0
    image[:] = image * (1 - strength * soft)


# ---------------------------------------------------------------------------------------------------- backgrounds


def _ground(image: np.ndarray, kind: str, horizon: int, rng: np.random.Generator) -> None:
    names = dict(
        campus=("silver", "beige", "khaki", "cream", "grey"),
        street=("grey", "silver"),
        hall=("cream", "silver", "beige", "white", "brown"),
    )[kind]
    base = tone(rng, names, 18)
    rows = np.linspace(0.82, 1.05, HEIGHT - horizon)[:, None, None]
    image[horizon:] = np.clip(np.array(base) * rows, 0, 255)
    vanishing = rng.uniform(0.1, 0.9) * WIDTH
    if rng.random() < (0.55, 0.4, 0.85)[("campus", "street", "hall").index(kind)]:
        _tiles(image, horizon, vanishing, shaded(base, rng.uniform(0.7, 0.88)), rng)
    if kind == "campus" and rng.random() < 0.7:
        edge, grass = rng.uniform(0.0, 1.0) * WIDTH, tone(rng, ("olive", "olive", "khaki"), 25)
        away = -WIDTH if rng.random() < 0.5 else 2 * WIDTH
        fill(image, [(vanishing, horizon), (edge, HEIGHT), (away, HEIGHT), (away, horizon)], grass)
    if kind == "street":
        kerb = rng.uniform(0.0, 1.0) * WIDTH
        paving, away = (
            tone(rng, ("silver", "grey", "beige")),
            2 * WIDTH if rng.random() < 0.5 else -WIDTH,
        )
        fill(image, [(vanishing, horizon), (kerb, HEIGHT), (away, HEIGHT), (away, horizon)], paving)
        fill(
            image, [(vanishing, horizon), (kerb, HEIGHT), (kerb + 14, HEIGHT)], shaded(paving, 0.6)
        )
        if rng.random() < 0.6:
            paint = rng.uniform(-0.5, 1.5) * WIDTH
            fill(
                image,
                [(vanishing, horizon), (paint, HEIGHT), (paint + 26, HEIGHT)],
                (205.0, 215.0, 215.0),
            )


def _tiles(
    image: np.ndarray,
    horizon: int,
    vanishing: float,
    color: tuple[float, float, float],
    rng: np.random.Generator,
) -> None:
    """Lines of paving that meet in the vanishing point."""
    spacing = rng.uniform(50, 130)
    for step in range(-30, 31):
        foot = (round(vanishing + step * spacing), HEIGHT)
        cv2.line(image, (round(vanishing), horizon - 60), foot, color, 2, cv2.LINE_AA)
    depth, row = 1.0, float(HEIGHT)
    while row > horizon + 3:
        cv2.line(image, (0, round(row)), (WIDTH, round(row)), color, 2 if depth < 2 else 1)
        depth += rng.uniform(0.2, 0.22)
        row = horizon + (HEIGHT - horizon) / depth


def _backdrop(image: np.ndarray, kind: str, horizon: int, rng: np.random.Generator) -> None:
    if kind == "campus":
        image[:horizon] = tone(rng, ("sky", "silver", "white"), 10)
        _facade(
            image,
            horizon,
            rng,
            ("cream", "beige", "brown", "wine", "silver"),
            rng.uniform(0.2, 0.7),
        )
        for _ in range(int(rng.integers(2, 6))):
            _bush(
                image,
                rng.uniform(0, WIDTH),
                horizon + rng.uniform(-6, 10),
                rng.uniform(20, 70),
                rng,
            )
    elif kind == "street":
        image[:horizon] = tone(rng, ("grey", "silver", "charcoal"), 10)
        _facade(image, horizon, rng, ("charcoal", "grey", "brown", "wine", "navy", "khaki"), 1.0)
    else:
        _shopfronts(image, horizon, rng)


def _facade(
    image: np.ndarray, horizon: int, rng: np.random.Generator, names: Sequence[str], cover: float
) -> None:
    """Buildings with rows of windows."""
    left = rng.uniform(0, 1 - cover) * WIDTH
    end = left + cover * WIDTH
    while left < end:
        right = min(end, left + rng.uniform(120, 320))
        top = rng.uniform(-0.4, 0.3) * horizon
        wall = tone(rng, names)
        box(image, left, top, right, horizon + 2, wall)
        glass = (
            shaded(wall, rng.uniform(0.55, 0.75)) if rng.random() < 0.8 else (130.0, 180.0, 200.0)
        )
        step_x, step_y = rng.uniform(24, 52), rng.uniform(34, 64)
        for y in np.arange(horizon - 12, top, -step_y):
            for x in np.arange(left + 8, right - step_x * 0.6, step_x):
                box(image, x, y - step_y * 0.55, x + step_x * 0.55, y, glass)
        left = right


def _shopfronts(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    """Walls, bright shop windows, posters and doors of a hall."""
    image[:horizon] = tone(rng, ("white", "cream", "beige", "silver"), 14)
    left = 0.0
    while left < WIDTH:
        right = left + rng.uniform(60, 190)
        choice = rng.random()
        if choice < 0.45:
            light = tone(rng, ("yellow", "white", "cream", "sky"), 20)
            box(image, left + 4, horizon * 0.18, right - 4, horizon, light)
            for x in np.arange(left + 10, right - 14, rng.uniform(14, 30)):
                goods = tone(rng, tuple(COLORS), 10)
                box(
                    image,
                    x,
                    horizon * rng.uniform(0.35, 0.7),
                    x + rng.uniform(6, 16),
                    horizon - 8,
                    goods,
                )
        elif choice < 0.75:
            box(
                image,
                left + 12,
                horizon * 0.3,
                right - 12,
                horizon * 0.8,
                tone(rng, tuple(COLORS), 10),
            )
        else:
            box(
                image,
                left + 8,
                horizon * 0.15,
                right - 8,
                horizon,
                tone(rng, ("charcoal", "brown", "grey")),
            )
        left = right
    box(image, 0, horizon - 5, WIDTH, horizon + 2, tone(rng, ("charcoal", "brown")))


def _bush(image: np.ndarray, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
    leaf = tone(rng, ("green", "olive", "green", "khaki"), 18)
    for _ in range(14):
        spot = rng.normal(0, 0.5, 2) * radius
        disc(
            image,
            x + spot[0],
            y - radius * 0.6 + spot[1] * 0.6,
            radius * 0.3,
            shaded(leaf, rng.uniform(0.65, 1.15)),
        )


def _tree(image: np.ndarray, x: float, y: float, scale: float, rng: np.random.Generator) -> None:
    box(image, x - 7 * scale, y - 190 * scale, x + 7 * scale, y, tone(rng, ("brown", "charcoal")))
    _bush(image, x, y - 150 * scale, 75 * scale, rng)


def _pillar(image: np.ndarray, x: float, y: float, scale: float, rng: np.random.Generator) -> None:
    color = tone(rng, ("silver", "white", "grey", "beige", "teal"))
    half = 26 * scale
    box(image, x - half, 0, x + half, y, color)
    box(image, x + half * 0.3, 0, x + half, y, shaded(color, 0.8))


def _pole(image: np.ndarray, x: float, y: float, scale: float, rng: np.random.Generator) -> None:
    color = tone(rng, ("charcoal", "grey", "green", "black", "silver"))
    box(image, x - 4 * scale, y - 330 * scale, x + 4 * scale, y, color)
    if rng.random() < 0.5:
        sign = tone(rng, ("red", "blue", "yellow", "white", "green"))
        box(image, x - 20 * scale, y - 250 * scale, x + 20 * scale, y - 205 * scale, sign)


def _car(image: np.ndarray, x: float, y: float, scale: float, rng: np.random.Generator) -> None:
    """A car from the side; ``y`` is the row of the ground."""
    body = tone(rng, ("white", "silver", "black", "red", "navy", "grey", "charcoal", "teal"))
    length, tall = 270 * scale, 92 * scale
    left, right, roof = x - length / 2, x + length / 2, y - tall
    cabin = [
        (left + length * a, roof + tall * b)
        for a, b in ((0.14, 0.45), (0.28, 0.0), (0.72, 0.0), (0.88, 0.45))
    ]
    fill(image, cabin, body)
    glass = [
        (left + length * a, roof + tall * b)
        for a, b in ((0.2, 0.42), (0.31, 0.07), (0.69, 0.07), (0.81, 0.42))
    ]
    fill(image, glass, (88.0, 78.0, 66.0))
    box(image, left, roof + tall * 0.42, right, y - tall * 0.12, body)
    box(image, left, roof + tall * 0.72, right, y - tall * 0.12, shaded(body, 0.75))
    for wheel in (0.2, 0.8):
        disc(image, left + length * wheel, y - tall * 0.16, tall * 0.2, (24.0, 22.0, 22.0))
        disc(image, left + length * wheel, y - tall * 0.16, tall * 0.1, (140.0, 140.0, 140.0))


# ---------------------------------------------------------------------------------------------------- occluders


def draw_occluder(canvas: np.ndarray, kind: str, rng: np.random.Generator) -> None:
    """Draw something between the camera and the person onto the finished crop.

    Args:
        canvas: uint8 (256, 128, C), drawn on in place.
        kind: ``campus``, ``street`` or ``hall``; decides what stands around there.
        rng: Generator of this image.
    """
    choice = rng.random()
    side = 0.0 if rng.random() < 0.5 else 128.0
    if choice < 0.3:
        x = abs(side - rng.uniform(8, 50))
        box(canvas, x - 5, -5, x + 5, 262, tone(rng, ("charcoal", "grey", "green", "silver")))
    elif kind == "street":
        _car(
            canvas,
            abs(side - rng.uniform(-40, 40)),
            262 + rng.uniform(10, 40),
            rng.uniform(0.9, 1.3),
            rng,
        )
    elif kind == "campus":
        for _ in range(3):
            _bush(
                canvas,
                abs(side - rng.uniform(-10, 50)),
                262 + rng.uniform(-10, 20),
                rng.uniform(30, 55),
                rng,
            )
    else:
        box(canvas, side - 46, 262 - rng.uniform(50, 120), side + 46, 262, tone(rng, tuple(COLORS)))
