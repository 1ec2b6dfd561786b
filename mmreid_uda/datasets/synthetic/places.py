"""Many kinds of public places for cameras that are drawn widely: the ground to scale, walls, things, light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from .appearance import pick
from .brush import box, fill, shaded, tone
from .clutter import THINGS
from .walls import WALLS, Wall

__all__ = ["PLACES", "draw_place"]

_FINE = 36
"""Pixels to the metre of the plan that the ground is drawn on before it is seen from the camera."""
_SIDE = 12
"""Metres that the plan is wide and deep; beyond, it is mirrored."""


_MUTED = 0.78 * np.eye(3, dtype=np.float32) + 0.22 * np.array((0.114, 0.587, 0.299), np.float32)
"""Paint, stone and leaves are duller than dyed cloth: makes BGR colours so, from the left."""


@dataclass(frozen=True)
class Surface:
    """What the ground is made of.

    Attributes:
        colors: Of which one is drawn.
        slab: Width and depth in metres of its pieces, or None for one that has none.
        joint: Factor on the brightness between the pieces.
        vary: Standard deviation of the brightness of the pieces.
        rough: The same of single grains.
        gloss: How strongly it can mirror what stands behind.
    """

    colors: tuple[str, ...]
    slab: tuple[float, float] | None = None
    joint: float = 0.75
    vary: float = 0.05
    rough: float = 0.08
    gloss: float = 0.25


SURFACES: Mapping[str, Surface] = dict(
    asphalt=Surface(("grey", "charcoal", "grey", "silver"), rough=0.1),
    cobbles=Surface(("grey", "charcoal", "brown", "beige"), (0.14, 0.11), 0.55, 0.14),
    slabs=Surface(("silver", "grey", "beige", "cream"), (0.5, 0.5), 0.7, 0.07),
    pavers=Surface(("grey", "brown", "wine", "beige"), (0.22, 0.11), 0.75, 0.1),
    concrete=Surface(("silver", "grey", "cream"), (2.5, 3.0), 0.7, 0.05),
    tiles=Surface(("cream", "white", "beige", "charcoal", "grey", "brown"), (0.4, 0.4), 0.8, 0.04, 0.02, 0.5),
    planks=Surface(("brown", "khaki", "beige"), (2.2, 0.14), 0.6, 0.1, 0.05, 0.3),
    carpet=Surface(("grey", "navy", "wine", "charcoal", "teal"), (0.5, 0.5), 0.97, 0.05, 0.1, 0.0),
    grass=Surface(("olive", "green", "olive", "khaki"), vary=0.1, rough=0.28, gloss=0.0),
    gravel=Surface(("beige", "khaki", "grey", "brown"), rough=0.24, gloss=0.05),
)  # fmt: skip

_PAVED = dict(slabs=3.0, pavers=2.0, cobbles=1.5, asphalt=2.0, concrete=1.0)


@dataclass(frozen=True)
class Place:
    """A kind of place: weights of what it is made of.

    Attributes:
        ground: Surfaces.
        beside: Surfaces of another strip of ground.
        walls: Pieces of the backdrop.
        things: What stands about.
        marks: Paint on the ground.
        night: Probability that it is lit by lamps alone.
        sun: Strength of cast shadows and patches of light.
    """

    ground: Mapping[str, float]
    beside: Mapping[str, float]
    walls: Mapping[str, float]
    things: Mapping[str, float]
    marks: Mapping[str, float]
    night: float
    sun: float


PLACES: Mapping[str, Place] = dict(
    shops=Place(
        _PAVED, dict(asphalt=1, slabs=1), dict(shop=6, house=1, shutter=1, plain=0.5),
        dict(board=3, bin=1, pole=2, bicycle=1.5, bollard=1, umbrella=1, cabinet=1, bench=0.5, tree=0.4),
        dict(none=3, line=1), night=0.45, sun=0.5,
    ),
    park=Place(
        dict(gravel=2, grass=2, asphalt=2, pavers=1), dict(grass=1), dict(hedge=5, fence=2, house=0.5),
        dict(tree=3, bush=3, bench=2, bin=1, pole=1, bicycle=0.7, rails=0.5),
        dict(none=1), night=0.08, sun=0.6,
    ),
    parking=Place(
        dict(asphalt=4, concrete=1), dict(slabs=1, grass=1), dict(parked=4, hedge=1, house=1, fence=1, shutter=0.7),
        dict(car=4, pole=2, bollard=1, rails=1, board=0.5, bush=0.7),
        dict(bays=4, arrow=1), night=0.25, sun=0.5,
    ),
    platform=Place(
        dict(concrete=2, asphalt=2, tiles=1, slabs=1), dict(pavers=1, concrete=1), dict(train=4, plain=2, fence=1),
        dict(pillar=3, bench=2, board=1, cabinet=2, bin=1, luggage=1, pole=1),
        dict(edge=4, line=1), night=0.3, sun=0.2,
    ),
    corridor=Place(
        dict(tiles=3, carpet=2, concrete=1, planks=1), dict(carpet=1, tiles=1), dict(plain=5, office=1, shop=0.7),
        dict(pillar=1, cabinet=2, bin=1, luggage=0.6, bench=1, board=1, bush=0.4),
        dict(none=3, line=1), night=0.25, sun=0.12,
    ),
    crossing=Place(
        dict(asphalt=5, cobbles=1), dict(slabs=2, pavers=1), dict(house=3, parked=2, shop=2, office=1),
        dict(pole=3, car=2, bollard=1, rails=1, bicycle=1, bin=0.5, board=0.5),
        dict(zebra=4, line=1, arrow=1), night=0.25, sun=0.5,
    ),
    square=Place(
        _PAVED, dict(grass=1, cobbles=1, slabs=1), dict(office=3, house=2, shop=1, hedge=1, fence=0.5),
        dict(pole=2, bench=1, bicycle=1.5, bush=1, tree=1, umbrella=1, board=1, bin=1, cabinet=0.6),
        dict(none=4, line=1), night=0.15, sun=0.6,
    ),
)  # fmt: skip
"""Kinds of places, by name."""


def _metre(share: float) -> float:
    """How large things are seen.

    Args:
        share: Place between the horizon, 0, and the camera, 1.

    Returns:
        Pixels of the scene to a metre there; a person fills the window that is cut out around the place.
    """
    return 72 + 79 * share


def draw_place(
    kind: str, size: tuple[int, int], horizon: int, sunlight: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the view of one camera.

    Args:
        kind: One of :data:`PLACES`.
        size: Height and width in pixels.
        horizon: Row at which the ground ends.
        sunlight: See :class:`~mmreid_uda.datasets.synthetic.domains.Camera`.
        rng: Generator of this camera.

    Returns:
        uint8 (*size, 3), BGR.
    """
    place = PLACES[kind]
    night = bool(rng.random() < place.night)
    sun = 0.0 if night else place.sun * min(1.0, 0.3 + 3 * abs(sunlight)) * rng.uniform(0.4, 1.2)
    surface = SURFACES[pick(rng, place.ground)]
    plan = _plan(place, surface, sun, rng)
    image = np.full((*size, 3), 110, np.uint8)
    image[horizon:] = _seen(plan, size, horizon, rng)
    lamp = np.zeros_like(image)
    _stand_walls(image, lamp, horizon, place, night, rng)
    if rng.random() < 0.7:
        _mirror(image, horizon, surface.gloss * rng.uniform(0.2, 1.0), rng)
    things = _things(image, horizon, place, sun * np.sign(sunlight), rng)
    return _lit(image, lamp, things, horizon, night, rng)


# ---------------------------------------------------------------------------------------------------- ground


def _clouds(
    shape: tuple[int, int], cells: int, amount: float, rng: np.random.Generator
) -> np.ndarray:
    """float32 of a shape, about 0: smooth noise with so many cells across."""
    noise = rng.normal(0, amount, (max(2, cells * shape[0] // shape[1]), cells)).astype(np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _laid(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    """uint8 (side, side, 3): a surface from above."""
    side = _SIDE * _FINE
    shade = (
        1 + _clouds((side, side), 5, 0.08, rng) + _clouds((side, side), 40, 0.5 * surface.vary, rng)
    )
    shade += _clouds((side, side), side // 2, surface.rough, rng)
    if surface.slab:
        wide, deep = (length * _FINE * rng.uniform(0.8, 1.3) for length in surface.slab)
        across, down = (
            np.arange(side, dtype=np.float32) / np.float32(length) for length in (wide, deep)
        )
        shift = np.float32(rng.choice([0.0, 0.5])) * (down.astype(np.int32) % 2).astype(np.float32)
        column = across[None, :] + shift[:, None]
        tones = rng.normal(1, surface.vary, (int(down[-1]) + 1, int(across[-1]) + 3)).astype(
            np.float32
        )
        shade *= tones[down.astype(np.int32)[:, None], column.astype(np.int32)]
        gap = np.float32(max(1.0, 0.012 * _FINE))
        joints = (column % 1 < gap / wide) | (down % 1 < gap / deep)[:, None]
        shade *= np.where(joints, np.float32(surface.joint), np.float32(1))
    return cv2.merge(
        [cv2.convertScaleAbs(shade, alpha=channel) for channel in tone(rng, surface.colors, 16)]
    )


def _plan(place: Place, surface: Surface, sun: float, rng: np.random.Generator) -> np.ndarray:
    """uint8 (side, side, 3): the ground from above, with paint, lids and shadows on it."""
    side = _SIDE * _FINE
    plan = _laid(surface, rng)
    if rng.random() < 0.6:
        strip = _laid(SURFACES[pick(rng, place.beside)], rng)
        start = round(rng.uniform(0.1, 0.9) * side)
        plan[start:] = strip[start:]
        box(plan, 0, start, side, start + 5, shaded(tone(rng, ("silver", "grey")), 0.9))
    _mark(plan, pick(rng, place.marks), rng)
    for _ in range(int(rng.integers(0, 5))):  # lids, patches, leaves, stains
        x, y, half = *rng.uniform(0, side, 2), rng.uniform(3, 22)
        fill(
            plan,
            [(x - half, y), (x, y - half), (x + half, y), (x, y + half)],
            shaded((90, 92, 92), rng.uniform(0.3, 2)),
        )
    if sun > 0.05:
        shadow = np.zeros((side, side), np.uint8)
        slope = rng.uniform(-1.5, 1.5)
        for _ in range(int(rng.integers(1, 5))):
            x, wide = rng.uniform(-0.3, 1.3) * side, side * rng.choice([0.02, 0.05, 0.3, 0.5])
            ends = [
                (x, 0),
                (x + wide, 0),
                (x + wide + slope * side, side),
                (x + slope * side, side),
            ]
            cv2.fillPoly(shadow, [np.array(ends, np.int32)], 255.0)
        if rng.random() < 0.4:  # under leaves
            shadow |= (_clouds((side, side), int(rng.integers(14, 50)), 1.0, rng) > 0.1).astype(
                np.uint8
            ) * 255
        soft = cv2.blur(shadow, (5, 5))
        left = [cv2.addWeighted(soft, -sun * blue, soft, 0.0, 255) for blue in (0.75, 0.9, 1.0)]
        plan = cv2.multiply(plan, cv2.merge(left), scale=1 / 255)
    return plan


def _mark(plan: np.ndarray, kind: str, rng: np.random.Generator) -> None:
    """Paint on the ground, worn."""
    if kind == "none":
        return
    side, paint = (
        len(plan),
        shaded(tone(rng, ("white", "white", "yellow", "cream")), rng.uniform(0.75, 1)),
    )
    clean = plan.copy()
    start = rng.uniform(0, 0.4) * side
    if kind == "zebra":
        for x in np.arange(0, side, _FINE * 1.0):
            box(plan, x, start, x + _FINE * 0.5, start + 4 * _FINE, paint)
    elif kind == "bays":
        for x in np.arange(rng.uniform(0, 2) * _FINE, side, _FINE * 2.5):
            box(plan, x, start, x + _FINE * 0.12, start + 5 * _FINE, paint)
        box(plan, 0, start, side, start + _FINE * 0.12, paint)
    elif kind == "edge":
        box(
            plan,
            0,
            start,
            side,
            start + _FINE * 0.35,
            shaded(tone(rng, ("yellow", "white", "cream")), 0.95),
        )
        box(plan, 0, start - 2 * _FINE, side, start - _FINE * 1.0, (48, 46, 44))
    elif kind == "arrow":
        x = rng.uniform(0.2, 0.8) * side
        box(plan, x - 6, start + 50, x + 6, start + 160, paint)
        fill(plan, [(x - 26, start + 52), (x, start), (x + 26, start + 52)], paint)
    elif kind == "line":
        for x in np.arange(0, side, _FINE * rng.choice([0.9, 2.5])):
            box(plan, x, start, x + _FINE * 0.9, start + _FINE * 0.14, paint)
    worn = np.clip(0.35 + _clouds(plan.shape[:2], 60, 0.35, rng), 0, 0.8)[..., None]
    plan[:] = plan + (clean.astype(np.float32) - plan) * worn


def _seen(
    plan: np.ndarray, size: tuple[int, int], horizon: int, rng: np.random.Generator
) -> np.ndarray:
    """The plan as the camera sees it, from the horizon down."""
    height, width = size
    share = np.linspace(0, 1, height - horizon, dtype=np.float32)[:, None]
    scale = _metre(0) + (_metre(1) - _metre(0)) * share
    slant = 0.28 + 0.5 * (1 - horizon / (0.5 * height))
    away = -np.log(scale / scale[-1]) * (height - horizon) / ((_metre(1) - _metre(0)) * slant)
    aside = (
        np.arange(width, dtype=np.float32)[None, :] - np.float32(rng.uniform(0, width))
    ) / scale
    turn = rng.normal(0, 0.35) + (np.pi / 2 if rng.random() < 0.3 else 0)
    cosine, sine = (np.float32(_FINE * wave(turn)) for wave in (np.cos, np.sin))
    x = aside * cosine + (away * sine + np.float32(_FINE * _SIDE / 2))
    y = away * cosine - aside * sine + np.float32(_FINE * rng.uniform(0, 4))
    return cv2.remap(plan, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


# ---------------------------------------------------------------------------------------------------- what stands there


def _stand_walls(
    image: np.ndarray,
    lamp: np.ndarray,
    horizon: int,
    place: Place,
    night: bool,
    rng: np.random.Generator,
) -> None:
    """Walls at the end of the ground, seen at an angle."""
    width, spare = image.shape[1], 60
    drop = rng.uniform(0, 45) * (rng.random() < 0.6)
    base = horizon + 50
    wall = Wall(
        np.zeros((base, width + spare, 3), np.uint8),
        np.zeros((base, width + spare, 3), np.uint8),
        _metre(0),
        night,
    )
    left = -rng.uniform(0, 150)
    while left < width + spare:
        right = left + wall.m * rng.uniform(1.0, 4.5)
        WALLS[pick(rng, place.walls)](wall, left, right, rng)
        left = right
    foot = [horizon + drop, horizon] if rng.random() < 0.5 else [horizon, horizon + drop]
    larger = [
        _metre(max(0.0, (y - horizon) / (image.shape[0] - horizon))) / _metre(0) for y in foot
    ]
    source = np.array([(0, 0), (width + spare, 0), (width + spare, base), (0, base)], np.float32)
    target = np.array(
        [
            (0, foot[0] - base * larger[0]),
            (width, foot[1] - base * larger[1]),
            (width, foot[1]),
            (0, foot[0]),
        ],
        np.float32,
    )
    matrix = cv2.getPerspectiveTransform(source, target)
    for layer, painted in ((image, wall.image), (lamp, wall.lamp)):
        rows = layer[: horizon + 46]
        cv2.warpPerspective(
            painted, matrix, rows.shape[1::-1], dst=rows, borderMode=cv2.BORDER_TRANSPARENT
        )
    # The foot of a wall is dark where it meets the ground.
    edge = [(0, foot[0] - 2), (width, foot[1] - 2), (width, foot[1] + 3), (0, foot[0] + 3)]
    fill(image, edge, (52, 52, 54))


def _mirror(image: np.ndarray, horizon: int, strength: float, rng: np.random.Generator) -> None:
    """A wet or polished ground shows what stands behind it, head down and smeared."""
    rows = min(horizon, len(image) - horizon)
    upside = cv2.blur(image[horizon - rows : horizon][::-1], (3, 25))
    wet = strength * np.clip(1 + _clouds((rows, image.shape[1]), 12, 0.5, rng), 0, 2)[..., None]
    below = image[horizon : horizon + rows]
    below[:] = below + (upside.astype(np.float32) - below) * np.minimum(wet, 0.7)


def _things(
    image: np.ndarray, horizon: int, place: Place, sun: float, rng: np.random.Generator
) -> np.ndarray:
    """uint8 (H, W, 4): what stands about, on nothing; its shadows are laid on the image."""
    height, width = image.shape[:2]
    layer, shadow = np.zeros((height, width, 4), np.uint8), np.zeros((height, width), np.uint8)
    for share in sorted(rng.uniform(0, 1, int(rng.integers(5, 13))) ** 1.6 * 0.75):
        m, x, y = _metre(share), rng.uniform(0, width), horizon + share * (height - horizon)
        THINGS[pick(rng, place.things)](layer, x, y, m, rng)
        cv2.ellipse(
            shadow, (round(x), round(y)), (round(m * 0.5), round(m * 0.08)), 0, 0, 360, 150.0, -1
        )
        if sun:
            fall = -np.sign(sun) * m * rng.uniform(0.8, 1.6)
            ends = [
                (x - 0.2 * m, y),
                (x + 0.2 * m, y),
                (x + fall + 0.3 * m, y - 0.35 * m),
                (x + fall, y - 0.35 * m),
            ]
            cv2.fillPoly(shadow, [np.array(ends, np.int32)], min(255.0, 380 * abs(sun)))
    shadow[:horizon] = 0
    image[:] = cv2.multiply(image, cv2.merge([255 - cv2.blur(shadow, (7, 5))] * 3), scale=1 / 255)
    return layer


def _lit(
    image: np.ndarray,
    lamp: np.ndarray,
    things: np.ndarray,
    horizon: int,
    night: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """Ambient light and lamps on the place, then the things before it, and grain."""
    height, width = image.shape[:2]
    light = 1 + _clouds((height, width), 8, 0.06, rng) + _clouds((height, width), 300, 0.04, rng)
    light *= np.float32(rng.uniform(0.35, 0.75) if night else rng.uniform(0.9, 1.4))
    if night:
        for _ in range(int(rng.integers(1, 4))):  # pools of light below lamps
            x, y, reach = rng.uniform(0, width), rng.uniform(horizon, height), rng.uniform(80, 220)
            rows, columns = (
                np.exp(-(((np.arange(length, dtype=np.float32) - place) / reach) ** 2))
                for length, place in ((height, y), (width, x))
            )
            light += (
                np.float32(rng.uniform(0.2, 0.7))
                * rows.astype(np.float32)[:, None]
                * columns.astype(np.float32)
            )
    lights = cv2.merge([light] * 3)
    seen = cv2.multiply(image, lights, dtype=cv2.CV_8U)
    if night:
        seen = cv2.addWeighted(cv2.max(seen, lamp), 1.0, cv2.blur(lamp, (41, 41)), 0.25, 0)
    seen = cv2.multiply(seen, cv2.merge([255 - things[..., 3]] * 3), scale=1 / 255)
    full = cv2.add(
        seen, cv2.multiply(np.ascontiguousarray(things[..., :3]), lights, dtype=cv2.CV_8U)
    )
    return np.asarray(cv2.transform(full, _MUTED), np.uint8)
