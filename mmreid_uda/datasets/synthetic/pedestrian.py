"""Draws an :class:`Identity` seen from any side."""

from __future__ import annotations

import numpy as np

from .appearance import Color, Identity
from .brush import shaded
from .dressed import draw_dressed
from .figure import Figure, Pose

__all__ = ["draw_pedestrian"]


def draw_pedestrian(
    canvas: np.ndarray, who: Identity, pose: Pose, x: float, y: float, height: float
) -> None:
    """Draw a person in flat colours; light and shade are added by the caller.

    Args:
        canvas: uint8 (H, W, 4), BGR and silhouette, drawn on in place.
        who: The person.
        pose: How the person is seen.
        x: Column of the body's axis in pixels.
        y: Row of the ground in pixels.
        height: Height of the person in pixels.
    """
    if who.body is not None:
        draw_dressed(canvas, who, who.body, pose, x, y, height)
        return
    figure = Figure(canvas, pose, x, y, height)
    left_is_far = figure.depth(1.0, 0.0) < 0
    far, near = (1, -1) if left_is_far else (-1, 1)
    behind = figure.cos > 0  # the person's back is away from the camera
    if behind:
        _back_side(figure, who)
    _arm(figure, who, far)
    if who.bag_side == far:
        _side_bag(figure, who)
    _leg(figure, who, far)
    _leg(figure, who, near)
    _torso(figure, who)
    _head(figure, who)
    if not behind:
        _back_side(figure, who)
    _arm(figure, who, near)
    if who.bag_side == near:
        _side_bag(figure, who)


# ---------------------------------------------------------------------------------------------------- parts


def _swing(pose: Pose, side: int) -> float:
    """Angle of a thigh in radians; the arm of the same side swings against it."""
    return pose.stride * float(np.sin(pose.phase)) * side


def _leg(figure: Figure, who: Identity, side: int) -> None:
    pose, garment = figure.pose, who.lower
    angle = _swing(pose, side)
    forward_speed = float(np.cos(pose.phase)) * side
    flex = pose.stride * (0.25 + 1.3 * max(0.0, forward_speed))
    thigh, shin = who.legs * 0.48, who.legs * 0.43
    hip = (side * 0.045 * who.build * who.hips, 0.0, who.legs)
    knee = (hip[0], thigh * np.sin(angle), hip[2] - thigh * np.cos(angle))
    below = angle - flex
    ankle = (hip[0], knee[1] + shin * np.sin(below), max(0.035, knee[2] - shin * np.cos(below)))
    shade = 1.0 if figure.depth(side, 0.0) >= 0 else 0.84
    cloth, skin = shaded(garment.color, shade), shaded(who.skin, shade)
    wide = 0.5 * (who.build + 1)
    loose = 0.9 if garment.kind == "leggings" else 1.12
    bare = garment.kind in ("shorts", "skirt") or who.upper.kind == "dress"
    figure.limb(knee, ankle, (0.036 * wide * loose, 0.026 * loose), skin if bare else cloth)
    toe = (ankle[0] * 1.25, ankle[1] + 0.062, max(0.012, ankle[2] - 0.025))
    heel = (ankle[0], ankle[1] - 0.012, max(0.014, ankle[2] - 0.02))
    figure.limb(heel, toe, (0.024, 0.018), shaded(who.shoes, shade))
    thigh_cloth = skin if garment.kind == "skirt" or who.upper.kind == "dress" else cloth
    figure.limb(hip, knee, (0.057 * wide * loose, 0.04 * wide * loose), thigh_cloth)


def _arm(figure: Figure, who: Identity, side: int) -> None:
    pose, garment = figure.pose, who.upper
    angle = -0.8 * _swing(pose, side)
    bend = angle + 0.25
    if pose.arms == "phone" and side == -who.bag_side:
        angle, bend = 0.35, 2.1
    elif pose.arms == "pockets":
        angle, bend = -0.25, 0.35
    shoulder = (side * 0.108 * who.build, 0.0, 0.79)
    elbow = (side * (0.108 * who.build + 0.028), 0.17 * np.sin(angle), 0.79 - 0.17 * np.cos(angle))
    hand = (elbow[0] - side * 0.008, elbow[1] + 0.15 * np.sin(bend), elbow[2] - 0.15 * np.cos(bend))
    shade = 1.0 if figure.depth(side, 0.0) >= 0 else 0.84
    skin = shaded(who.skin, shade)
    sleeve = garment.second if garment.pattern == "sleeves" else garment.color
    cloth = shaded(sleeve, shade * 0.94)
    wide = 0.5 * (who.build + 1)
    long_sleeved = garment.kind in ("shirt", "jacket", "coat")
    figure.limb(hand, hand, (0.02, 0.02), skin)
    lower = figure.limb(elbow, hand, (0.027 * wide, 0.021), cloth if long_sleeved else skin)
    upper_color = skin if garment.kind == "vest" else cloth
    upper = figure.limb(shoulder, elbow, (0.038 * wide, 0.029 * wide), upper_color)
    if garment.pattern in ("stripes", "checks", "dots") and garment.kind != "vest":
        figure.pattern(upper, garment, shade * 0.94)
        if long_sleeved:
            figure.pattern(lower, garment, shade * 0.94)


def _torso(figure: Figure, who: Identity) -> None:
    garment = who.upper
    hem = {"coat": 0.3, "dress": 0.32, "jacket": who.legs - 0.03}.get(garment.kind, who.legs - 0.01)
    if who.lower.kind == "skirt" and garment.kind != "dress":
        figure.polygon(_trunk(figure, who, who.legs + 0.06, 0.31, flare=1.25), who.lower.color)
    else:
        seat = _trunk(figure, who, who.legs + 0.05, who.legs - 0.045)
        figure.polygon(seat, who.lower.color)
    bulk = 1.12 if garment.kind in ("jacket", "coat") else 1.0
    flare = {"coat": 1.1, "dress": 1.4}.get(garment.kind, 1.0)
    outline = _trunk(figure, who, 0.825, hem, bulk, flare)
    figure.limb((0, 0, 0.8), (0, 0.01, 0.87), (0.034, 0.03), shaded(who.skin, 0.85))
    figure.polygon(outline, garment.color)
    if garment.pattern in ("stripes", "pinstripes", "checks", "dots"):
        figure.pattern(outline, garment, 1.0)
    elif garment.pattern == "block":
        figure.polygon(_trunk(figure, who, 0.825, 0.69, bulk), garment.second)
    _front_and_back(figure, who, hem)


def _trunk(
    figure: Figure, who: Identity, top: float, bottom: float, bulk: float = 1.0, flare: float = 1.0
) -> np.ndarray:
    """Outline of the body between two heights, in pixels (n, 2)."""
    levels = np.linspace(top, bottom, 7)
    heights = (0.25, who.legs - 0.02, 0.62, 0.74, 0.8, 0.83)
    hips = 0.11 * who.build * who.hips
    widths = (hips * flare, hips * (1 + flare) / 2, 0.098 * who.build * (0.75 + 0.25 * who.hips),
              0.113 * who.build, 0.115 * who.build, 0.05)  # fmt: skip
    depths = (0.07 * flare, 0.068, 0.055 + who.belly, 0.066, 0.055, 0.04)
    centers = (0.0, 0.0, who.belly, 0.006, 0.0, 0.0)
    left, right = [], []
    for level in levels:
        half = figure.extent(
            float(np.interp(level, heights, widths)),
            float(np.interp(level, heights, depths)) * who.build,
        )
        x, y = figure.project((0.0, float(np.interp(level, heights, centers)), float(level)))
        left.append((x - half * bulk * figure.height, y))
        right.append((x + half * bulk * figure.height, y))
    return np.array(left + right[::-1])


def _front_and_back(figure: Figure, who: Identity, hem: float) -> None:
    """What is only on one side of the upper garment: opening, collar, logo, print, belt of the dress."""
    garment = who.upper
    if figure.cos > 0.15:
        if garment.kind in ("jacket", "coat"):
            _panel(figure, 0.0, 0.8, hem + 0.03, 0.03 * who.build, 0.065, garment.second)
            _panel(figure, 0.0, 0.825, 0.775, 0.034, 0.05, shaded(who.skin, 0.9))
        if garment.pattern == "logo":
            _panel(figure, 0.0, 0.745, 0.655, 0.055 * who.build, 0.066, garment.second)
    elif figure.cos < -0.15 and who.back_print:
        _panel(figure, 0.0, 0.77, 0.63, 0.065 * who.build, -0.066, garment.second)


def _panel(
    figure: Figure,
    lateral: float,
    top: float,
    bottom: float,
    half: float,
    forward: float,
    color: Color,
) -> None:
    """An upright rectangle on the front or back of the body, foreshortened by the turn."""
    corners = [
        (lateral - half, forward, top),
        (lateral + half, forward, top),
        (lateral + half, forward, bottom),
        (lateral - half, forward, bottom),
    ]
    figure.polygon(np.array([figure.project(corner) for corner in corners]), color)


def _head(figure: Figure, who: Identity) -> None:
    size = who.head
    crown_x, crown_y = figure.project((0.0, -0.008, 0.932))
    face_forward = 0.03
    half = (0.05 * size * (0.94 + 0.12 * abs(figure.sin)), 0.066 * size)
    has_hair = who.hair_style != "bald"
    figure.ellipse((crown_x, crown_y), half, who.hair if has_hair else who.skin)
    if has_hair and figure.cos > -0.75:
        x, y = figure.project((0.0, face_forward * 0.8, 0.915))
        visible = float(np.clip((figure.cos + 0.85) / 1.4, 0.25, 1.0))
        figure.ellipse((x, y), (0.042 * size * visible, 0.052 * size), who.skin)
    if figure.cos > -0.2:
        for lateral in (-0.017, 0.017):
            x, y = figure.project((lateral, 0.042, 0.93))
            figure.ellipse((x, y), (0.006, 0.005), shaded(who.skin, 0.35))
    if who.hair_style == "bob" and figure.cos > -0.75:
        for lateral in (-0.044, 0.044):
            start, end = (lateral, -0.01, 0.945), (lateral, -0.012, 0.88)
            figure.limb(start, end, (0.014, 0.016), who.hair)
    _hat(figure, who, (crown_x, crown_y))


def _hat(figure: Figure, who: Identity, crown: tuple[float, float]) -> None:
    size, color = who.head, who.hat_color
    if who.hat == "none":
        return
    if who.hat == "hood":
        if figure.cos < 0.3:
            figure.ellipse(crown, (0.06 * size, 0.074 * size), who.upper.color)
        return
    angles = np.linspace(np.pi, 2 * np.pi, 10)
    tall = 0.078 if who.hat == "beanie" else 0.07
    dome = np.stack([np.cos(angles) * 0.056, np.sin(angles) * tall], 1) * size * figure.height
    figure.polygon(dome + crown - (0, 0.008 * figure.height), color)
    if who.hat == "cap":
        brow = figure.project((0.0, 0.075, 0.94))
        start = figure.project((0.0, 0.0, 0.945))
        middle = ((brow[0] + start[0]) / 2, (brow[1] + start[1]) / 2)
        if figure.cos > -0.3:
            half = 0.034 + 0.02 * abs(figure.sin)
            figure.ellipse(middle, (half * size, 0.014), shaded(color, 0.75))
    elif who.hat == "brim":
        figure.ellipse(
            (crown[0], crown[1] - 0.01 * figure.height), (0.098 * size, 0.017), shaded(color, 0.9)
        )


def _back_side(figure: Figure, who: Identity) -> None:
    """What is carried or grows on the back: seen from behind it covers the body, from the front it peeps out."""
    if who.hair_style == "long":
        outline_width = 0.05 * who.head
        figure.limb(
            (0, -0.03, 0.94), (0, -0.045, 0.79), (outline_width, outline_width * 0.9), who.hair
        )
    elif who.hair_style == "ponytail":
        figure.limb((0, -0.055, 0.95), (0, -0.075, 0.83), (0.02, 0.014), who.hair)
    elif who.hair_style == "bun":
        x, y = figure.project((0.0, -0.05, 0.975))
        figure.ellipse((x, y), (0.03, 0.028), who.hair)
    if who.upper.kind in ("jacket", "shirt") and who.hat == "hood" and figure.cos > 0.3:
        x, y = figure.project((0.0, -0.03, 0.86))
        figure.ellipse((x, y), (0.075, 0.05), shaded(who.upper.color, 0.8))
    if who.bag == "backpack":
        _backpack(figure, who)


def _backpack(figure: Figure, who: Identity) -> None:
    low, high = figure.project((0.0, -0.105, 0.55)), figure.project((0.0, -0.095, 0.81))
    half = figure.extent(0.085, 0.055) * figure.height
    bulge = 0.92
    box = np.array(
        [(low[0] - half, low[1]), (high[0] - half * bulge, high[1] + half * 0.25),
         (high[0] - half * 0.5, high[1]), (high[0] + half * 0.5, high[1]),
         (high[0] + half * bulge, high[1] + half * 0.25), (low[0] + half, low[1])]
    )  # fmt: skip
    figure.polygon(box, who.bag_color)
    if figure.cos < 0.2:
        pocket = (box - box.mean(0)) * (0.72, 0.42) + box.mean(0) + (0, 0.055 * figure.height)
        figure.polygon(pocket, shaded(who.bag_color, 0.75))


def _side_bag(figure: Figure, who: Identity) -> None:
    """Bags at the side, and the straps of a backpack, which show on the front."""
    side, color = who.bag_side, who.bag_color
    if who.bag == "backpack" and figure.cos > 0.1:
        for lateral in (-0.07, 0.07):
            figure.limb(
                (lateral, 0.05, 0.815),
                (lateral * 1.15, 0.068, 0.66),
                (0.012, 0.012),
                shaded(color, 0.8),
            )
    elif who.bag == "handbag":
        figure.limb(
            (side * 0.15, 0, 0.49), (side * 0.15, 0.0, 0.43), (0.008, 0.008), shaded(color, 0.7)
        )
        half = figure.extent(0.035, 0.075)
        x, y = figure.project((side * 0.15, 0.0, 0.38))
        box = np.array([(-0.8, -0.05), (0.8, -0.05), (1.0, 0.06), (-1.0, 0.06)]) * (half, 1.0)
        figure.polygon(box * figure.height + (x, y), color)
    elif who.bag == "satchel":
        forward = 0.066 if figure.cos > 0 else -0.066
        start, end = (-side * 0.07, forward * 0.8, 0.82), (side * 0.11, forward, 0.55)
        figure.limb(start, end, (0.01, 0.01), shaded(color, 0.7))
        half = figure.extent(0.04, 0.075)
        x, y = figure.project((side * 0.14, -0.02, 0.5))
        box = np.array([(-1.0, -0.055), (1.0, -0.055), (1.0, 0.055), (-1.0, 0.055)]) * (half, 1.0)
        figure.polygon(box * figure.height + (x, y), color)
    elif who.bag == "suitcase":
        figure.limb(
            (side * 0.17, -0.12, 0.46),
            (side * 0.17, -0.14, 0.3),
            (0.007, 0.007),
            (70.0, 70.0, 70.0),
        )
        half = figure.extent(0.08, 0.05)
        x, y = figure.project((side * 0.17, -0.15, 0.17))
        box = np.array([(-1.0, -0.15), (1.0, -0.15), (1.0, 0.14), (-1.0, 0.14)]) * (half, 1.0)
        figure.polygon(box * figure.height + (x, y), color)
