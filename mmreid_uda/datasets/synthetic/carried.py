"""What detailed people carry or push."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from .appearance import Body, Color, Identity
from .brush import shaded
from .figure import Figure, Point

__all__ = ["Hand", "draw_carried"]

Hand = tuple[Point, Point, Point]
"""Shoulder, elbow and hand."""

_Box = tuple[float, float, float, float, float, float]
_BAGS: Mapping[str, _Box] = dict(
    backpack=(0.0, -0.12, 0.55, 0.81, 0.092, 0.058),
    handbag=(0.17, 0.0, 0.32, 0.43, 0.03, 0.08),
    satchel=(0.16, -0.02, 0.42, 0.56, 0.045, 0.095),
    tote=(0.175, -0.01, 0.5, 0.68, 0.04, 0.095),
    shopping=(0.175, 0.01, 0.19, 0.38, 0.03, 0.085),
    suitcase=(0.2, -0.19, 0.03, 0.37, 0.09, 0.06),
)
"""Bag -> to the side and forward of the body's axis, bottom, top, half its width and half its depth."""
_HANDLES: Mapping[str, tuple[Point, Point]] = dict(
    handbag=((0.15, 0.0, 0.5), (0.17, 0.0, 0.42)),
    shopping=((0.15, 0.0, 0.46), (0.175, 0.01, 0.37)),
    suitcase=((0.17, -0.1, 0.48), (0.2, -0.19, 0.36)),
)
"""Bag -> both ends of its handle."""
_ROUNDED = np.array(
    ((-1, 0.8), (-0.75, 1), (0.75, 1), (1, 0.8), (1, -0.85), (0.85, -1), (-0.85, -1), (-1, -0.85))
)


def _bag(figure: Figure, who: Identity) -> None:
    lateral, forward, bottom, top, width, depth = _BAGS[who.bag]
    side, color = who.bag_side, who.bag_color
    if who.bag in _HANDLES:
        start, end = (((x * side), y, z) for x, y, z in _HANDLES[who.bag])
        figure.limb(start, end, (0.007, 0.007), shaded(color, 0.6))
    center = np.array(figure.project((lateral * side, forward, (bottom + top) / 2)))
    size = np.array((figure.extent(width, depth), (bottom - top) / 2)) * figure.height
    figure.polygon(_ROUNDED * size + center, shaded(color, 0.8))
    light = np.sign(figure.pose.light)
    figure.polygon(_ROUNDED * size * (0.75, 0.9) + center + (0.12 * light * size[0], 0), color)
    seen = figure.depth(lateral * side, forward) > 0.05 or who.bag != "backpack"
    if seen:  # a pocket or a label
        figure.polygon(
            _ROUNDED * size * (0.6, 0.32) + center - (0, 0.35 * size[1]), shaded(color, 0.68)
        )


# ---------------------------------------------------------------------------------------------------- things


def draw_carried(
    figure: Figure,
    who: Identity,
    body: Body,
    hands: Mapping[int, Hand],
    behind: bool,
) -> None:
    """Draw bags and things on one side of the body.

    Args:
        figure: The figure.
        who: The person.
        body: Has the things.
        hands: Side -> joints of the arm.
        behind: Whether what is beyond the body is drawn, or what is in front of it.
    """
    if who.bag in _BAGS:
        lateral, forward, *_ = _BAGS[who.bag]
        if (figure.depth(lateral * who.bag_side, forward) < 0) == behind:
            _bag(figure, who)
    for name, color in body.extras:
        if name not in _THINGS:
            continue
        draw, (lateral, forward) = _THINGS[name]
        side = who.bag_side if name in _PUSHED else -who.bag_side
        if (figure.depth(lateral * side, forward) < 0) == behind:
            draw(figure, color, side, hands[side][2])


def _umbrella(figure: Figure, color: Color, side: int, hand: Point) -> None:
    top = (hand[0] * 0.7, hand[1], 1.13)
    figure.limb(hand, top, (0.005, 0.005), (60.0, 60.0, 60.0))
    center, flat = np.array(figure.project((top[0], top[1], 1.02))), 0.02 + 0.08 * figure.pose.pitch
    angles = np.linspace(np.pi, 2 * np.pi, 13)
    rim = np.stack([np.cos(angles[::-1]) * 0.33, -np.sin(angles[::-1]) * flat], 1)
    dome = np.stack([np.cos(angles) * 0.33, np.sin(angles) * 0.15], 1)
    canopy = np.concatenate([dome, rim])
    figure.polygon(canopy * figure.height + center, color)
    figure.polygon(canopy * (0.4, 1.0) * figure.height + center, shaded(color, 0.86))


def _phone(figure: Figure, color: Color, side: int, hand: Point) -> None:
    figure.limb(hand, (hand[0], hand[1] + 0.01, hand[2] + 0.04), (0.012, 0.012), color)


def _paper(figure: Figure, color: Color, side: int, hand: Point) -> None:
    half = figure.extent(0.065, 0.04)
    corners = np.array(((-1, -0.04), (1, -0.06), (1, 0.035), (-1, 0.05))) * (half, 1.0)
    figure.polygon(corners * figure.height + figure.project(hand), color)


def _wheel(figure: Figure, lateral: float, forward: float, radius: float, color: Color) -> None:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False).tolist()
    rim = [
        figure.project((lateral, forward + radius * np.cos(a), radius * (1 + np.sin(a))))
        for a in angles
    ]
    points = np.round(np.array(rim) * 16).astype(np.int32)
    thickness = max(1, round(0.016 * figure.height))
    cv2.polylines(figure.canvas, [points], True, (*color, 255.0), thickness, cv2.LINE_AA, 4)


_TYRE: Color = (42.0, 40.0, 40.0)


def _pushchair(figure: Figure, color: Color, side: int, hand: Point) -> None:
    for forward in (0.32, 0.6):
        _wheel(figure, 0.0, forward, 0.05, _TYRE)
    figure.limb((0.0, hand[1], 0.5), (0.0, 0.5, 0.1), (0.008, 0.008), (90.0, 90.0, 90.0))
    half = figure.extent(0.11, 0.14)
    center = np.array(figure.project((0.0, 0.47, 0.27)))
    figure.polygon(_ROUNDED * (half, -0.13) * figure.height + center, color)
    figure.polygon(_ROUNDED * (half * 0.7, -0.06) * figure.height + center, shaded(color, 0.6))


def _bicycle(figure: Figure, color: Color, side: int, hand: Point) -> None:
    lateral = side * 0.24
    for forward in (-0.2, 0.38):
        _wheel(figure, lateral, forward, 0.19, _TYRE)
    saddle, pedals, steer = (lateral, -0.05, 0.5), (lateral, 0.02, 0.19), (lateral, 0.28, 0.47)
    front, rear = (lateral, 0.38, 0.19), (lateral, -0.2, 0.19)
    bars = ((saddle, pedals), (pedals, steer), (saddle, steer), (steer, front), (pedals, rear))
    for start, end in bars:
        figure.limb(start, end, (0.01, 0.01), color)
    figure.limb((lateral - 0.1, 0.26, 0.54), (lateral + 0.1, 0.26, 0.54), (0.01, 0.01), _TYRE)


_PUSHED = ("pushchair", "bicycle")
_THINGS = dict(
    umbrella=(_umbrella, (0.1, 0.1)),
    phone=(_phone, (0.1, 0.2)),
    paper=(_paper, (0.1, 0.2)),
    pushchair=(_pushchair, (0.0, 0.45)),
    bicycle=(_bicycle, (0.24, 0.0)),
)
"""Thing -> how it is drawn, and where it is: to the side and forward of the body's axis."""
