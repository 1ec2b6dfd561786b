"""Draws detailed people: rounded limbs in the garments of the tables of :mod:`garments`, and what they carry."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .appearance import Body, Color, Garment, Identity
from .brush import shaded
from .carried import Hand, draw_carried
from .figure import Figure, Point, Pose
from .garments import LOWERS, NECK, PRINTS, STRAPS, THIGH, TRIMS, UPPERS, print_shapes
from .heads import draw_hanging_hair, draw_head
from .tube import Tube

__all__ = ["draw_dressed"]

_FAR = 0.84
"""Factor on the colours of the limbs that are away from the camera."""


def draw_dressed(
    canvas: np.ndarray, who: Identity, body: Body, pose: Pose, x: float, y: float, height: float
) -> None:
    """Draw a detailed person.

    Args:
        canvas: uint8 (H, W, 4), BGR and silhouette, drawn on in place.
        who: The person.
        body: What makes the person detailed.
        pose: How the person is seen.
        x: Column of the body's axis in pixels.
        y: Row of the ground in pixels.
        height: Height of the person in pixels.
    """
    figure = Figure(canvas, pose, x, y, height)
    far, near = (1, -1) if figure.depth(1.0, 0.0) < 0 else (-1, 1)
    hands = {side: _hand(who, body, pose, side) for side in (far, near)}
    draw_carried(figure, who, body, hands, behind=True)
    _arm(figure, who, far, hands[far])
    for side in (far, near):
        _leg(figure, who, body, side)
    if figure.cos > 0:
        draw_hanging_hair(figure, who, body)
    _trunk(figure, who, body)
    _arm(figure, who, near, hands[near])
    draw_head(figure, who, body)
    if figure.cos <= 0:
        draw_hanging_hair(figure, who, body)
    draw_carried(figure, who, body, hands, behind=False)


# ---------------------------------------------------------------------------------------------------- limbs


_ENDS = np.array((0.0, 1.0))


def _limb(
    figure: Figure, start: Point, end: Point, radii: tuple[float, float], color: Color
) -> Tube:
    """Fill a tapered limb whose levels go from 0 to 1; it is not shaded yet."""
    axis = np.array([figure.project(start), figure.project(end)])
    tube = Tube(figure, axis, np.array(radii) * figure.height, _ENDS, max(radii))
    figure.polygon(tube.capsule(), color)
    return tube


def _between(start: Point, end: Point, share: float) -> Point:
    a, b, c = (one + share * (other - one) for one, other in zip(start, end))
    return a, b, c


def _sew(
    tube: Tube, trims: Iterable[tuple[str, Color]], part: str, side: int, start: float
) -> None:
    """Draw the trims on the half of an arm or a leg that starts at a share of its length."""
    for name, color in trims:
        for azimuth, corners in getattr(TRIMS[name], part):
            moved = tuple((offset, (level - start) * 2) for offset, level in corners)
            tube.patch((side * azimuth, moved), color)


def _clothe(tube: Tube, garment: Garment, second: Color) -> None:
    if garment.pattern not in ("plain", "sleeves"):
        tube.weave(garment, second)


def _leg(figure: Figure, who: Identity, body: Body, side: int) -> None:
    pose, garment, cut = figure.pose, who.lower, LOWERS[who.lower.kind]
    angle = body.step * pose.stride * float(np.sin(pose.phase)) * side
    flex = pose.stride * (0.25 + 1.3 * max(0.0, float(np.cos(pose.phase)) * side))
    thigh, shin = who.legs * 0.48, who.legs * 0.43
    hip = (side * 0.047 * who.build * who.hips, 0.0, who.legs)
    knee = (hip[0] * 1.05, thigh * np.sin(angle), hip[2] - thigh * np.cos(angle))
    below = angle - flex
    ankle = (hip[0], knee[1] + shin * np.sin(below), max(0.035, knee[2] - shin * np.cos(below)))
    shade = 1.0 if figure.depth(side, 0.0) >= 0 else _FAR
    cloth, skin, leather = (shaded(c, shade) for c in (garment.color, who.skin, who.shoes))
    second = shaded(garment.second, shade)
    trims = [(name, shaded(color, shade)) for name, color in garment.trims]
    wide = 0.5 * (who.build + 1)
    reach = 0.0 if "dress" in who.upper.kind else cut.reach
    bare = (0.055 * wide, 0.038 * wide, 0.027)
    worn = (0.055 * wide * cut.thigh, 0.04 * wide * cut.thigh, 0.027 * cut.shin)

    toe = (ankle[0] * 1.3, ankle[1] + 0.06, max(0.012, ankle[2] - 0.025))
    heel = (ankle[0], ankle[1] - 0.014, max(0.014, ankle[2] - 0.02))
    calf = (worn if reach == 1 else bare)[1:]
    lower = _limb(figure, knee, ankle, calf, cloth if reach == 1 else skin)
    if reach == 1:
        _clothe(lower, garment, second)
        _sew(lower, trims, "legs", side, 0.5)
    if 0.5 < reach < 1:
        figure.limb(knee, _between(knee, ankle, reach * 2 - 1), (worn[1], worn[1]), cloth)
    if body.footwear == "boots" and cut.shin < 1.3:
        figure.limb(_between(knee, ankle, 0.45), ankle, (bare[1] * 1.02, 0.031), leather)
    lower.shade()
    if body.footwear == "sneakers":
        sole = ((heel[0], heel[1], heel[2] - 0.007), (toe[0], toe[1], toe[2] - 0.007))
        figure.limb(*sole, (0.025, 0.021), shaded((225.0, 228.0, 228.0), shade))
    figure.limb(heel, toe, (0.024, 0.019), leather)

    upper = _limb(figure, hip, knee, (worn if reach >= 0.5 else bare)[:2], cloth if reach >= 0.5 else skin)  # fmt: skip
    if reach >= 0.5:
        _clothe(upper, garment, second)
        if cut.fade != 1:
            upper.patch(THIGH, shaded(cloth, cut.fade))
        _sew(upper, trims, "legs", side, 0.0)
    elif reach:
        figure.limb(hip, _between(hip, knee, 2 * reach), worn[:2], cloth)
    upper.shade()


_ARMS = dict(
    swing=(0.0, 0.25, 0.0),
    pockets=(-0.3, 0.55, 0.05),
    phone=(0.35, 2.1, 0.0),
    front=(0.2, 1.35, 0.02),
    crossed=(0.2, 1.65, 0.03),
    carry=(0.05, 1.5, 0.02),
    wide=(-0.1, 0.4, 0.07),
)
"""What arms do -> angle of the upper arm and of the forearm in radians, and how far the elbow is away from the body."""
_INWARDS = dict(front=0.75, crossed=1.3, pockets=0.25, phone=0.4)
"""What arms do -> how far the hand is inwards: 1 is in front of the middle of the body."""
_ONE_ARMED = ("phone", "carry")


def _hand(who: Identity, body: Body, pose: Pose, side: int) -> Hand:
    style = pose.arms
    if style in _ONE_ARMED and side == who.bag_side:
        style = "swing"
    held = {name for name, _ in body.extras}
    if held & {"umbrella", "phone", "paper"} and side == -who.bag_side:
        style = "phone" if "paper" not in held else "front"
    if held & {"pushchair", "bicycle"} and side == who.bag_side:
        style = "carry"
    angle, bend, outwards = _ARMS[style]
    swing = -0.9 * body.step * pose.stride * float(np.sin(pose.phase)) * side
    loose = style in ("swing", "wide")
    angle, bend = (
        angle + loose * swing,
        bend + loose * (swing + 0.5 * max(0.0, swing)) + (not loose) * angle,
    )
    bulk = UPPERS[who.upper.kind].bulk
    shoulder = (side * 0.095 * who.build * (0.6 + 0.4 * bulk), body.stoop, 0.772)
    out = side * (0.017 + 0.03 * (bulk - 1) + body.spread + outwards)
    elbow = (shoulder[0] + out, shoulder[1] + 0.17 * np.sin(angle), 0.772 - 0.17 * np.cos(angle))
    hand = (
        elbow[0] * (1 - _INWARDS.get(style, 0.06)),
        elbow[1] + 0.15 * np.sin(bend),
        elbow[2] - 0.15 * np.cos(bend),
    )
    return shoulder, elbow, hand


def _arm(figure: Figure, who: Identity, side: int, joints: Hand) -> None:
    garment, cut = who.upper, UPPERS[who.upper.kind]
    shoulder, elbow, hand = joints
    shade = 0.97 if figure.depth(side, 0.0) >= 0 else _FAR
    skin = shaded(who.skin, shade)
    own = not (cut.layered or garment.pattern == "sleeves")
    cloth = shaded(garment.color if own else garment.second, shade)
    second = shaded(garment.second, shade)
    trims = [(name, shaded(color, shade)) for name, color in garment.trims]
    wide = 0.5 * (who.build + 1) * (0.55 + 0.5 * cut.bulk)
    worn, bare = (0.042 * wide, 0.038 * wide, 0.031 * wide), (0.033, 0.027, 0.021)
    figure.limb(hand, _between(elbow, hand, 1.16), (0.02, 0.019), skin)
    reaches = cut.sleeve > 0.5
    lower = _limb(figure, elbow, hand, (worn if reaches else bare)[1:], cloth if reaches else skin)
    if reaches and own:
        _clothe(lower, garment, second)
        _sew(lower, trims, "sleeves", side, 0.5)
    lower.shade()
    covered = cut.sleeve > 0
    radii, color = (worn if covered else bare)[:2], cloth if covered else skin
    upper = _limb(figure, shoulder, elbow, radii, color)
    if covered and own:
        _clothe(upper, garment, second)
        _sew(upper, trims, "sleeves", side, 0.0)
    upper.shade()


# ---------------------------------------------------------------------------------------------------- trunk


_SHOULDERS = np.array((0.87, 0.84, 0.815, 0.785))
"""Levels at which the outline of shoulders and neck bends."""


def _silhouette(
    figure: Figure, who: Identity, body: Body, top: float, bottom: float, bulk: float, flare: float
) -> Tube:
    """The body between two heights, wider by the bulk and the flare of a garment; levels are heights."""
    shoulders = _SHOULDERS[top >= _SHOULDERS]
    levels = np.concatenate([shoulders, np.linspace(min(top, 0.74), bottom, 8)])
    heights = (0.1, who.legs - 0.02, 0.62, 0.74, 0.785, 0.815, 0.84, 0.87)
    hips = 0.108 * who.build * who.hips
    widths = (hips * flare, hips * (1 + 0.4 * (flare - 1)), 0.1 * who.build * (0.75 + 0.25 * who.hips),
              0.108 * who.build, 0.109 * who.build, 0.09 * who.build, 0.05 / bulk, 0.04 / bulk)  # fmt: skip
    depths = (0.075 * flare, 0.072, 0.06 + who.belly, 0.07, 0.062, 0.052, 0.042, 0.038)
    centers = (0.0, 0.0, who.belly * 0.7 + 0.3 * body.stoop, *(5 * (body.stoop,)))  # fmt: skip
    # A hem below the hips goes with the thighs.
    pose = figure.pose
    sway = np.clip(who.legs - levels, 0, 0.3) * abs(np.sin(pose.phase)) * body.step * pose.stride
    widened = bulk * np.interp(levels, heights, widths)
    deepened = bulk * who.build * np.interp(levels, heights, depths) + 0.6 * sway
    half = np.hypot(widened * figure.cos, deepened * figure.sin) * figure.height
    forward = np.interp(levels, heights, centers)
    return Tube(figure, figure.axis(forward, levels), half, levels, 0.11)


def _trunk(figure: Figure, who: Identity, body: Body) -> None:
    garment, cut, legs = who.upper, UPPERS[who.upper.kind], LOWERS[who.lower.kind]
    hem = max(0.06, who.legs + cut.hem)
    low = legs.skirt if legs.skirt and hem > legs.skirt else who.legs - 0.05
    if low < hem:  # else the upper garment hides it
        seat = _silhouette(
            figure, who, body, who.legs + 0.07, low, 1.02, 1.45 if legs.skirt else 1.0
        )
        figure.polygon(seat.outline(), who.lower.color)
        if legs.skirt:
            _clothe(seat, who.lower, who.lower.second)
        seat.shade()
    trunk = _silhouette(figure, who, body, 0.87, hem, cut.bulk, cut.flare)
    figure.polygon(trunk.outline(), garment.color)
    _clothe(trunk, garment, garment.second)
    trunk.patch(NECK, shaded(who.skin, 0.85))
    worn = [extra for extra in body.extras if extra[0] in TRIMS]
    for name, color in (*garment.trims, *worn):
        if name in PRINTS:
            _print(trunk, name, garment, color)
        for azimuth, corners in TRIMS[name].trunk:
            placed = tuple((offset, level if level > 0 else hem - level) for offset, level in corners)  # fmt: skip
            trunk.patch((azimuth, placed), color)
    for azimuth, corners in STRAPS.get(who.bag, ()):
        mirrored = tuple((who.bag_side * offset, level) for offset, level in corners)
        trunk.patch((who.bag_side * azimuth, mirrored), shaded(who.bag_color, 0.75))
    trunk.shade()


def _print(trunk: Tube, name: str, garment: Garment, color: Color) -> None:
    size = 0.45 + (garment.number % 7) / 14
    for shape in print_shapes(garment.number):
        corners = tuple((x * 0.8 * size, 0.715 + y * 0.075 * size) for x, y in shape.tolist())
        trunk.patch((PRINTS[name], corners), color)
