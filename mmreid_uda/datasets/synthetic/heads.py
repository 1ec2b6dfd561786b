"""Heads of detailed people: hair, faces and hats."""

from __future__ import annotations

import numpy as np

from .appearance import Body, Identity
from .brush import shaded
from .figure import Figure
from .garments import FACE, HAIRS, HATS
from .tube import Tube

__all__ = ["draw_hanging_hair", "draw_head"]

_LEVELS = np.sin(np.linspace(np.pi / 2, -np.pi / 2, 13))
_WIDTHS = np.abs(np.cos(np.linspace(np.pi / 2, -np.pi / 2, 13))) ** 0.9
"""Levels of a skull from crown to chin, and half its width there relative to the largest."""


def _skull(figure: Figure, who: Identity, body: Body, size: float, chin: float) -> Tube:
    """The head, or what is on it: larger, and at least as wide below the middle as the chin says."""
    tall, half = 0.067 * who.head, 0.049 * who.head
    middle = 0.997 - tall
    forward = body.stoop * 1.3 + 0.008
    axis = figure.axis(np.full(len(_LEVELS), forward), middle + tall * size * _LEVELS)
    wide = half * size * (1 + 0.14 * abs(figure.sin)) * figure.height
    return Tube(figure, axis, wide * np.maximum(_WIDTHS, chin * (_LEVELS < 0)), _LEVELS, half)


def draw_head(figure: Figure, who: Identity, body: Body) -> None:
    """Draw the head with hair, face and hat.

    Args:
        figure: The figure.
        who: The person.
        body: What makes the person detailed.
    """
    skull = _skull(figure, who, body, 1.0, 0.3)
    figure.polygon(skull.outline(), who.skin)
    extras = dict(body.extras)
    skull.patch(FACE["mouth"], shaded(who.skin, 0.75))
    skull.patch(FACE["eyes"], extras.get("glasses", shaded(who.skin, 0.68)))
    if "glasses" in extras:
        skull.patch(FACE["glasses"], extras["glasses"])
    if "beard" in extras:
        skull.patch(FACE["beard"], shaded(extras["beard"], 1.1))
    hat_color = who.upper.color if who.hat == "hood" else who.hat_color
    covers = [(*HAIRS[who.hair_style], who.hair)]
    if who.hat in HATS:
        covers.append((*HATS[who.hat], hat_color))
    for size, shapes, color in covers:
        cover = _skull(figure, who, body, size, 0.8)
        for shape in shapes:
            cover.patch(shape, color)
    skull.shade()
    if who.hat in ("cap", "brim"):
        _brim(figure, who, body)


def draw_hanging_hair(figure: Figure, who: Identity, body: Body) -> None:
    """Draw the hair on the back: before the trunk where that hides it, after the head else.

    Args:
        figure: The figure.
        who: The person.
        body: What makes the person detailed.
    """
    back = body.stoop - 0.03
    if who.hair_style == "long":
        wide = 0.046 * who.head
        figure.limb((0, back, 0.93), (0, back - 0.025, 0.78), (wide, wide * 0.9), who.hair)
    elif who.hair_style == "ponytail":
        figure.limb((0, back - 0.03, 0.95), (0, back - 0.05, 0.82), (0.022, 0.014), who.hair)
    elif who.hair_style == "bun":
        figure.ellipse(figure.project((0.0, back - 0.02, 0.975)), (0.032, 0.03), who.hair)


def _brim(figure: Figure, who: Identity, body: Body) -> None:
    """What stands out from a hat: all around, or forwards."""
    color = shaded(who.hat_color, 0.8)
    if who.hat == "brim":
        center = figure.project((0.0, body.stoop, 0.962))
        figure.ellipse(center, (0.095 * who.head, 0.016 + 0.03 * figure.pose.pitch), color)
    elif figure.cos > -0.4:
        start, end = (0.0, body.stoop + 0.02, 0.957), (0.0, body.stoop + 0.075, 0.95)
        figure.limb(start, end, (0.03, 0.02), color)
