"""Things that stand about in public places, drawn to scale: beside the people of a scene, or in front of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from .appearance import COLORS, Color
from .brush import box, disc, fill, shaded, tone

__all__ = ["THINGS", "draw_leaves", "draw_panel"]

ANY = tuple(COLORS)
METAL = ("charcoal", "grey", "silver", "black", "green", "navy", "teal")
LOUD = ("red", "blue", "yellow", "white", "green", "teal", "orange", "navy", "white")
WOOD = ("brown", "khaki", "beige", "charcoal")
RUBBER: Color = (24.0, 22.0, 22.0)

Thing = Callable[[np.ndarray, float, float, float, np.random.Generator], None]
"""Draws on an image, at the column of the thing's middle and the row of its foot, so many pixels to the metre."""


def draw_panel(
    image: np.ndarray,
    left: float,
    top: float,
    right: float,
    bottom: float,
    rng: np.random.Generator,
) -> None:
    """Draw a poster, sign or notice: a frame, a picture and lines of what looks like writing.

    Args:
        image: See :func:`~mmreid_uda.datasets.synthetic.brush.fill`.
        left: First column.
        top: First row.
        right: Last column.
        bottom: Last row.
        rng: Generator of this panel.
    """
    ground = tone(rng, LOUD if rng.random() < 0.7 else ANY, 15)
    ink: Color = (240.0, 240.0, 240.0) if sum(ground) < 420 else shaded(tone(rng, ANY), 0.4)
    box(image, left, top, right, bottom, ink if rng.random() < 0.5 else shaded(ground, 0.6))
    rim = 0.04 * min(right - left, bottom - top)
    box(image, left + rim, top + rim, right - rim, bottom - rim, ground)
    wide, tall = right - left - 4 * rim, bottom - top - 4 * rim
    row = top + 2 * rim
    if rng.random() < 0.6:
        picture = tall * rng.uniform(0.2, 0.55)
        if rng.random() < 0.4:
            disc(image, left + wide * rng.uniform(0.3, 0.7), row + picture / 2, picture * 0.45, ink)
        else:
            box(image, left + 2 * rim, row, right - 2 * rim, row + picture, tone(rng, ANY, 20))
        row += picture + rim
    size = max(2.0, tall * rng.uniform(0.06, 0.16))
    while row + size < bottom - rim:
        column = left + 2 * rim
        end = column + wide * rng.uniform(0.5, 1.0)
        while column < end:
            word = min(end - column, size * rng.uniform(0.8, 3.0))
            box(image, column, row, column + word, row + size * 0.7, ink)
            column += word + size * 0.5
        row += size * rng.uniform(1.2, 1.6)


def draw_leaves(
    image: np.ndarray, x: float, y: float, half: tuple[float, float], rng: np.random.Generator
) -> None:
    """Draw the leaves of a bush, a hedge or a tree: dark below and inside, bright where the sky lights them.

    Args:
        image: See :func:`~mmreid_uda.datasets.synthetic.brush.fill`.
        x: Column of the middle.
        y: Row of the middle.
        half: Half the width and half the height in pixels.
        rng: Generator of this plant.
    """
    leaf = shaded(
        tone(rng, ("green", "olive", "olive", "khaki", "brown"), 14), rng.uniform(0.5, 1.0)
    )
    places = np.clip(rng.normal(0, 0.45, (70, 2)), -1, 1)
    radius = 0.5 * (half[0] * half[1]) ** 0.5
    for number, (across, up) in enumerate(places):
        factor = (0.55 + 0.5 * number / 70) * (1 - 0.35 * up) * rng.uniform(0.8, 1.2)
        size = radius * (0.5 - 0.36 * number / 70)
        disc(image, x + across * half[0], y + up * half[1], size, shaded(leaf, factor))


def _pole(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    color, half, tall = tone(rng, METAL), m * rng.uniform(0.025, 0.09), m * rng.uniform(2.4, 5)
    box(image, x - half, y - tall, x + half, y, color)
    box(image, x + half * 0.2, y - tall, x + half, y, shaded(color, 0.7))
    if rng.random() < 0.45:
        wide, high, top = (
            m * rng.uniform(0.2, 0.4),
            m * rng.uniform(0.3, 0.7),
            m * rng.uniform(0.9, 2.6),
        )
        draw_panel(image, x - wide, y - top, x + wide, y - top + high, rng)


def _board(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    wide, tall = m * rng.uniform(0.25, 0.5), m * rng.uniform(0.8, 1.9)
    legs = m * rng.uniform(0.05, 0.4)
    for leg in (-0.8, 0.8):
        box(image, x + leg * wide - 0.02 * m, y - tall, x + leg * wide + 0.02 * m, y, RUBBER)
    draw_panel(image, x - wide, y - tall, x + wide, y - legs, rng)


def _bin(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    color, half, tall = tone(rng, METAL), m * rng.uniform(0.2, 0.34), m * rng.uniform(0.7, 1.2)
    foot = half * rng.uniform(0.75, 1)
    fill(image, [(x - half, y - tall), (x + half, y - tall), (x + foot, y), (x - foot, y)], color)
    fill(
        image,
        [(x + half * 0.3, y - tall), (x + half, y - tall), (x + foot, y), (x + foot * 0.3, y)],
        shaded(color, 0.75),
    )
    box(image, x - half * 1.1, y - tall * 1.08, x + half * 1.1, y - tall * 0.94, shaded(color, 0.6))
    if rng.random() < 0.5:
        draw_panel(image, x - half * 0.5, y - tall * 0.7, x + half * 0.4, y - tall * 0.35, rng)


def _bench(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    wood, half = tone(rng, WOOD), m * rng.uniform(0.7, 1.1)
    for leg in (-0.85, 0.8):
        box(image, x + leg * half, y - 0.45 * m, x + leg * half + 0.06 * m, y, tone(rng, METAL))
    for height, thick in ((0.85, 0.1), (0.7, 0.1), (0.46, 0.07)):
        box(
            image,
            x - half,
            y - height * m,
            x + half,
            y - (height - thick) * m,
            shaded(wood, rng.uniform(0.8, 1.1)),
        )


def _bicycle(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    frame, thick = tone(rng, ANY), max(1, round(0.035 * m))
    wheels = [(round(x + side * 0.52 * m), round(y - 0.33 * m)) for side in (-1, 1)]
    for wheel in wheels:
        cv2.circle(
            image, wheel, round(0.32 * m), (*RUBBER, 255.0)[: image.shape[2]], thick, cv2.LINE_AA
        )
    hub = (x - 0.05 * m, y - 0.3 * m)
    saddle, fork = (x - 0.18 * m, y - 0.85 * m), (x + 0.38 * m, y - 0.9 * m)
    for start, end in (
        (wheels[0], hub),
        (hub, saddle),
        (saddle, wheels[0]),
        (hub, fork),
        (saddle, fork),
        (fork, wheels[1]),
    ):
        cv2.line(
            image,
            *(tuple(round(v) for v in p) for p in (start, end)),
            (*frame, 255.0)[: image.shape[2]],
            thick,
            cv2.LINE_AA,
        )  # type: ignore[call-overload]
    box(image, saddle[0] - 0.13 * m, saddle[1] - 0.05 * m, saddle[0] + 0.12 * m, saddle[1], RUBBER)
    box(
        image,
        fork[0] - 0.12 * m,
        fork[1] - 0.08 * m,
        fork[0] + 0.05 * m,
        fork[1] - 0.03 * m,
        RUBBER,
    )


def _car(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    """A car, or a van, from the side, with what is reflected in its paint and glass."""
    body = tone(
        rng, ("white", "silver", "black", "red", "navy", "grey", "charcoal", "teal", "silver")
    )
    length, tall = m * rng.uniform(3.8, 4.8), m * rng.uniform(1.35, 2.0)
    left, roof, turn = x - length / 2, y - tall, 1 if rng.random() < 0.5 else -1

    def shape(color: Color, *points: tuple[float, float]) -> None:
        fill(image, [(x + turn * length * (a - 0.5), roof + tall * b) for a, b in points], color)

    shape(body, (0.1, 0.45), (0.24, 0.0), (0.78, 0.0), (0.95, 0.45))
    glass = rng.uniform(0.4, 1.2)
    shape(shaded((88, 78, 66), glass), (0.16, 0.43), (0.27, 0.07), (0.5, 0.07), (0.5, 0.43))
    shape(shaded((88, 78, 66), glass), (0.53, 0.43), (0.53, 0.07), (0.74, 0.07), (0.88, 0.43))
    shape(shaded((150, 145, 135), glass), (0.3, 0.2), (0.36, 0.07), (0.44, 0.07), (0.34, 0.3))
    shape(body, (0.0, 0.5), (0.05, 0.42), (0.97, 0.42), (1.0, 0.9), (0.0, 0.9))
    shape(shaded(body, 1.25), (0.02, 0.46), (0.05, 0.42), (0.97, 0.42), (0.98, 0.46))
    shape(shaded(body, 0.65), (0.0, 0.72), (1.0, 0.72), (0.99, 0.9), (0.0, 0.9))
    shape((40, 40, 200), (0.0, 0.52), (0.03, 0.52), (0.03, 0.62), (0.0, 0.62))
    shape((235, 240, 240), (0.96, 0.5), (0.99, 0.5), (1.0, 0.6), (0.96, 0.6))
    for wheel in (0.2, 0.8):
        hub = (left + length * wheel, y - tall * 0.17)
        disc(image, *hub, tall * 0.21, RUBBER)
        disc(image, *hub, tall * 0.12, shaded((150, 150, 150), rng.uniform(0.6, 1.2)))


def _bush(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    half = (m * rng.uniform(0.3, 1.2), m * rng.uniform(0.25, 0.7))
    draw_leaves(image, x, y - half[1], half, rng)


def _tree(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    bark, half, crown = (
        tone(rng, ("brown", "charcoal", "khaki")),
        m * rng.uniform(0.08, 0.22),
        m * rng.uniform(1.8, 3),
    )
    fill(
        image,
        [(x - half * 0.7, y - crown), (x + half * 0.7, y - crown), (x + half, y), (x - half, y)],
        bark,
    )
    fill(
        image,
        [
            (x + half * 0.1, y - crown),
            (x + half * 0.7, y - crown),
            (x + half, y),
            (x + half * 0.2, y),
        ],
        shaded(bark, 0.6),
    )
    draw_leaves(
        image, x, y - crown - m * 0.5, (m * rng.uniform(0.9, 1.8), m * rng.uniform(0.7, 1.2)), rng
    )


def _rails(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    """A railing, a barrier or a fence of bars."""
    color, half, tall = tone(rng, METAL), m * rng.uniform(0.8, 2.5), m * rng.uniform(0.7, 1.3)
    bar, gap = max(1.0, 0.035 * m), m * rng.choice([0.11, 0.16, 0.9])
    for column in np.arange(x - half, x + half, gap):
        box(image, column, y - tall, column + bar, y, color)
    for height in (1.0, 0.5, 0.12):
        box(
            image,
            x - half,
            y - tall * height,
            x + half,
            y - tall * height + bar * 1.3,
            shaded(color, 0.85),
        )


def _pillar(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    color, half = (
        tone(rng, ("silver", "white", "grey", "beige", "teal", "charcoal")),
        m * rng.uniform(0.2, 0.45),
    )
    for edge, shade in ((-1.0, 0.9), (-0.6, 1.05), (0.0, 0.9), (0.5, 0.7)):
        box(image, x + edge * half, y - 5 * m, x + half, y, shaded(color, shade))
    if rng.random() < 0.5:
        draw_panel(image, x - half * 0.8, y - 2.1 * m, x + half * 0.7, y - 1.2 * m, rng)


def _bollard(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    color, half, tall = (
        tone(rng, (*METAL, "orange", "red")),
        m * rng.uniform(0.05, 0.12),
        m * rng.uniform(0.6, 1.0),
    )
    for place in (0, 1, 2):
        middle = x + place * m * 1.3
        box(image, middle - half, y - tall, middle + half, y, color)
        box(image, middle - half, y - tall * 0.85, middle + half, y - tall * 0.7, (225, 228, 230))


def _cabinet(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    """A box of any kind: a vending machine, a power cabinet, a stall, a crate."""
    color, half, tall = tone(rng, ANY), m * rng.uniform(0.3, 0.8), m * rng.uniform(0.6, 1.9)
    box(image, x - half, y - tall, x + half, y, color)
    box(image, x + half * rng.uniform(0.4, 0.8), y - tall, x + half, y, shaded(color, 0.65))
    box(image, x - half, y - tall, x + half, y - tall * 0.96, shaded(color, 1.25))
    draw_panel(
        image,
        x - half * 0.8,
        y - tall * 0.85,
        x + half * 0.3,
        y - tall * rng.uniform(0.3, 0.6),
        rng,
    )


def _umbrella(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    """An umbrella, or the shade of a table."""
    cloth, half, top = tone(rng, ANY), m * rng.uniform(0.5, 1.1), y - m * rng.uniform(1.9, 2.4)
    box(image, x - 0.02 * m, top, x + 0.02 * m, y, tone(rng, METAL))
    edges = np.linspace(-1, 1, 7)
    for number, (a, b) in enumerate(itertools.pairwise(edges)):
        shade = shaded(cloth, (0.8, 1.1)[number % 2])
        fill(
            image,
            [
                (x, top - half * 0.5),
                (x + a * half, top + half * 0.12),
                (x + b * half, top + half * 0.12),
            ],
            shade,
        )


def _luggage(image: np.ndarray, x: float, y: float, m: float, rng: np.random.Generator) -> None:
    color, half, tall = tone(rng, ANY), m * rng.uniform(0.15, 0.3), m * rng.uniform(0.4, 0.75)
    box(image, x - half * 0.5, y - tall * 1.5, x - half * 0.4, y - tall, RUBBER)
    box(image, x + half * 0.4, y - tall * 1.5, x + half * 0.5, y - tall, RUBBER)
    box(image, x - half, y - tall, x + half, y - 0.04 * m, color)
    for stripe in (-0.5, 0.0, 0.5):
        box(
            image,
            x + stripe * half,
            y - tall,
            x + (stripe + 0.12) * half,
            y - 0.04 * m,
            shaded(color, 0.7),
        )


THINGS: Mapping[str, Thing] = dict(
    pole=_pole, board=_board, bin=_bin, bench=_bench, bicycle=_bicycle, car=_car, bush=_bush, tree=_tree,
    rails=_rails, pillar=_pillar, bollard=_bollard, cabinet=_cabinet, umbrella=_umbrella, luggage=_luggage,
)  # fmt: skip
"""What can stand in a place, by name."""
