"""What stands at the back of a scene, piece by piece: shops by day and night, houses, hedges, offices, trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .appearance import Color
from .brush import box, fill, shaded, tone
from .clutter import ANY, METAL, THINGS, draw_leaves, draw_panel

__all__ = ["WALLS", "Wall"]

STONE = ("cream", "beige", "brown", "wine", "silver", "grey", "charcoal", "khaki", "white")
GLASS: Color = (92.0, 84.0, 74.0)


@dataclass
class Wall:
    """A row of walls that is being drawn.

    Attributes:
        image: uint8 (H, W, 3), BGR; the last row is that of the ground.
        lamp: The same: light that the walls send out themselves, whatever the time of the day.
        m: Pixels to the metre.
        night: Whether lamps are on.
    """

    image: np.ndarray
    lamp: np.ndarray
    m: float
    night: bool


Piece = Callable[[Wall, float, float, np.random.Generator], None]
"""Draws on a wall, from a column to a column."""


def _paint(wall: Wall, left: float, right: float, color: Color) -> None:
    box(wall.image, left, -2, right, len(wall.image), color)


def _bricks(wall: Wall, left: float, right: float, rng: np.random.Generator) -> Color:
    """A plain wall with courses of stones, a plinth and stains."""
    color, base = tone(rng, STONE, 16), len(wall.image)
    _paint(wall, left, right, color)
    course = wall.m * rng.uniform(0.12, 0.6)
    for row in np.arange(base, -2, -course):
        box(wall.image, left, row - 1, right, row, shaded(color, 0.82))
        for column in np.arange(
            left + rng.uniform(0, course), right - 3, course * rng.uniform(1.8, 3)
        ):
            box(
                wall.image,
                column,
                row - course,
                min(right, column + course * 1.5),
                row - 1,
                shaded(color, rng.uniform(0.85, 1.1)),
            )
    box(wall.image, left, base - wall.m * rng.uniform(0.1, 0.6), right, base, shaded(color, 0.6))
    return color


def _window(
    wall: Wall, left: float, top: float, right: float, bottom: float, rng: np.random.Generator
) -> None:
    """A pane in its frame: lit, dark, or with a piece of the sky in it."""
    box(
        wall.image,
        left - 3,
        top - 3,
        right + 3,
        bottom + 3,
        tone(rng, ("white", "charcoal", "brown", "silver")),
    )
    box(wall.image, left, top, right, bottom, shaded(GLASS, rng.uniform(0.3, 1.3)))
    slant = rng.uniform(0.1, 0.6) * (right - left)
    sky = shaded((215, 200, 185), rng.uniform(0.4, 1.0))
    fill(
        wall.image,
        [(left, top), (left + slant, top), (left, bottom - rng.uniform(0, 0.7) * (bottom - top))],
        sky,
    )
    if wall.night and rng.random() < 0.5:
        box(
            wall.lamp,
            left,
            top,
            right,
            bottom,
            shaded(tone(rng, ("yellow", "cream", "white", "mustard")), rng.uniform(0.5, 1)),
        )


def _house(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """Bricks with windows, or doors, or a poster."""
    _bricks(wall, left, right, rng)
    base, m = len(wall.image), wall.m
    wide, gap = m * rng.uniform(0.6, 1.3), m * rng.uniform(0.4, 1.2)
    column = left + gap / 2
    while column + wide < right:
        choice = rng.random()
        if choice < 0.6:
            _window(
                wall,
                column,
                base - m * rng.uniform(2.2, 2.8),
                column + wide,
                base - m * rng.uniform(0.7, 1.1),
                rng,
            )
        elif choice < 0.8:
            _door(wall, column, column + m, rng)
        else:
            draw_panel(wall.image, column, base - 2.1 * m, column + wide, base - 0.8 * m, rng)
        column += wide + gap


def _door(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    base, m = len(wall.image), wall.m
    color, middle = tone(rng, ANY, 15), (left + right) / 2
    box(wall.image, left, base - 2.2 * m, right, base, shaded(color, 0.6))
    box(wall.image, left + 4, base - 2.14 * m, right - 4, base, color)
    for low, high in ((0.2, 0.9), (1.1, 1.95)):
        inside = shaded(GLASS, rng.uniform(0.5, 1.6)) if rng.random() < 0.5 else shaded(color, 0.8)
        box(wall.image, left + 10, base - high * m, right - 10, base - low * m, inside)
    box(wall.image, right - 12, base - 1.1 * m, right - 7, base - 1.0 * m, (190, 200, 200))
    if wall.night and rng.random() < 0.4:
        box(wall.lamp, middle - 6, base - 2.45 * m, middle + 6, base - 2.35 * m, (200, 235, 255))


def _shop(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """A shop window full of goods, mostly bright, under the shop's name."""
    base, m = len(wall.image), wall.m
    _paint(wall, left, right, tone(rng, STONE, 16))
    top, sill = base - m * rng.uniform(2.1, 2.6), base - m * rng.uniform(0.05, 0.6)
    draw_panel(wall.image, left + 4, top - 0.7 * m, right - 4, top - 0.06 * m, rng)
    lit = rng.random() < (0.85 if wall.night else 0.4)
    back = (
        tone(rng, ("yellow", "cream", "white", "beige", "mustard", "sky"), 20)
        if lit
        else shaded(GLASS, rng.uniform(0.4, 1.4))
    )
    for layer in (wall.image, wall.lamp) if lit and wall.night else (wall.image,):
        box(layer, left + 5, top, right - 5, sill, back)
        bottom = sill
        while bottom > top + 0.3 * m:  # shelves
            column = left + 8
            while column < right - 14:
                wide, tall = m * rng.uniform(0.06, 0.35), m * rng.uniform(0.1, 0.6)
                goods = shaded(
                    tone(rng, ANY, 20), rng.uniform(0.4, 1.1) if lit else rng.uniform(0.2, 0.6)
                )
                if rng.random() < 0.6:
                    box(
                        layer,
                        column,
                        max(top, bottom - tall),
                        min(column + wide, right - 6),
                        bottom,
                        goods,
                    )
                column += wide + m * rng.uniform(0.02, 0.25)
            bottom -= m * rng.uniform(0.6, 1.2)
    for post in np.arange(left, right, m * rng.uniform(0.8, 2.0)):
        frame = shaded(GLASS, 0.45)
        for layer in (wall.image, wall.lamp):
            box(layer, post, top, post + 0.06 * m, base, frame)
    if rng.random() < 0.5:
        slant = rng.uniform(0.1, 0.5) * (right - left)
        fill(
            wall.image, [(left + 6, sill), (left + 6, top), (left + slant, top)], shaded(back, 1.2)
        )


def _shutter(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """A closed shutter, or corrugated iron, often with a scrawl on it."""
    color, base, m = tone(rng, METAL, 16), len(wall.image), wall.m
    _paint(wall, left, right, color)
    step = m * rng.uniform(0.08, 0.16)
    upright = rng.random() < 0.4
    for line in np.arange(0, right - left if upright else base, step):
        width = (step * 0.4, base) if upright else (right - left, step * 0.4)
        x, y = (left + line, 0) if upright else (left, line)
        box(wall.image, x, y, min(right, x + width[0]), y + width[1], shaded(color, 0.75))
    if rng.random() < 0.5:
        spray, middle = tone(rng, ANY, 20), np.array(((left + right) / 2, base - 1.2 * m))
        points = middle + rng.normal(0, 0.3, (9, 2)) * (right - left, m)
        points[:, 0] = np.clip(points[:, 0], left, right)
        fill(wall.image, points.tolist(), spray)


def _hedge(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """Leaves in front of the sky or of dark wood."""
    base, m = len(wall.image), wall.m
    _paint(wall, left, right, tone(rng, ("sky", "white", "silver", "olive", "charcoal"), 14))
    if rng.random() < 0.5:
        THINGS["tree"](wall.image, rng.uniform(left, right), base, m, rng)
    tall = m * rng.uniform(0.3, 1.5)
    for middle in np.arange(left, right, 0.9 * tall + 20):
        draw_leaves(wall.image, middle, base - tall * 0.8, (0.8 * tall + 10, tall * 0.9), rng)


def _office(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """A front of glass between posts, which shows the sky, blinds and rooms."""
    base, m = len(wall.image), wall.m
    post = tone(rng, ("charcoal", "silver", "white", "black"))
    _paint(wall, left, right, post)
    wide, tall, tint = m * rng.uniform(0.7, 1.6), m * rng.uniform(0.8, 2.2), rng.uniform(0.4, 1.5)
    for column in np.arange(left, right, wide):
        for row in np.arange(base - m * 0.1, 0, -tall):
            pane = shaded(GLASS, tint * rng.uniform(0.7, 1.3))
            ends = (column + 3, row - tall + 4, min(right, column + wide) - 2, row)
            box(wall.image, *ends, pane)
            if rng.random() < 0.3:
                box(
                    wall.image,
                    *ends[:3],
                    row - tall * rng.uniform(0.2, 0.9),
                    shaded((190, 190, 190), rng.uniform(0.5, 1.2)),
                )
            if wall.night and rng.random() < 0.4:
                box(wall.lamp, *ends, shaded((190, 225, 235), rng.uniform(0.4, 1)))


def _train(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """The side of a train or a bus."""
    base, m = len(wall.image), wall.m
    body, stripe = tone(rng, ANY, 12), tone(rng, LIVERY)
    _paint(wall, left, right, body)
    box(wall.image, left, base - 0.25 * m, right, base, (30, 30, 32))
    box(wall.image, left, base - 0.9 * m, right, base - 0.7 * m, stripe)
    for column in np.arange(left + 0.2 * m, right - 0.5 * m, 1.4 * m):
        _window(wall, column, base - 2.1 * m, min(right, column + 1.1 * m), base - 1.15 * m, rng)
    box(wall.image, left, base - 2.2 * m, left + 0.05 * m, base - 0.25 * m, shaded(body, 0.5))


def _plain(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """A painted wall inside: doors, posters, a rail to lean on, a bench before it."""
    base, m = len(wall.image), wall.m
    color = tone(rng, ("white", "cream", "beige", "silver", "mint", "sky", "grey"), 14)
    _paint(wall, left, right, color)
    if rng.random() < 0.5:
        box(
            wall.image,
            left,
            base - m * rng.uniform(0.9, 1.3),
            right,
            base,
            shaded(tone(rng, ANY), 0.9),
        )
    choice, room = rng.random(), right - left
    if choice < 0.4 and room > 1.2 * m:
        _door(wall, left + 0.1 * m, left + 1.1 * m, rng)
    elif choice < 0.8:
        wide = min(room * 0.8, m * rng.uniform(0.5, 1.6))
        draw_panel(
            wall.image,
            left + 0.1 * room,
            base - 2.2 * m,
            left + 0.1 * room + wide,
            base - m * rng.uniform(0.7, 1.2),
            rng,
        )
    box(wall.image, left, base - 0.1 * m, right, base, shaded(color, 0.5))
    if wall.night and rng.random() < 0.6:
        box(
            wall.lamp,
            left + 0.3 * room,
            base - 3.0 * m,
            right - 0.3 * room,
            base - 2.9 * m,
            (245, 250, 250),
        )


def _fence(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """Something green or built behind bars or boards."""
    (_hedge if rng.random() < 0.6 else _house)(wall, left, right, rng)
    base, m = len(wall.image), wall.m
    color, tall = tone(rng, (*METAL, "brown", "khaki", "white"), 12), m * rng.uniform(0.9, 2.0)
    gap, bar = m * rng.uniform(0.09, 0.2), rng.uniform(0.2, 0.95)
    for column in np.arange(left, right, gap):
        box(
            wall.image,
            column,
            base - tall,
            min(right, column + gap * bar),
            base,
            shaded(color, rng.uniform(0.85, 1.1)),
        )
    for height in (0.9, 0.25):
        box(
            wall.image,
            left,
            base - tall * height,
            right,
            base - tall * height + 0.05 * m,
            shaded(color, 0.8),
        )


def _parked(wall: Wall, left: float, right: float, rng: np.random.Generator) -> None:
    """Cars in a row in front of a house."""
    _house(wall, left, right, rng)
    for middle in np.arange(left + 0.2 * wall.m, right, 5 * wall.m):
        THINGS["car"](wall.image, middle, len(wall.image), wall.m, rng)


LIVERY = ("red", "blue", "yellow", "green", "white", "orange", "navy")

WALLS: Mapping[str, Piece] = dict(
    house=_house, shop=_shop, shutter=_shutter, hedge=_hedge, office=_office, train=_train, plain=_plain,
    fence=_fence, parked=_parked,
)  # fmt: skip
"""Pieces of a backdrop, by name."""
