"""How the clothes of detailed people are cut, trimmed, printed and woven: tables that appearance draws from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from mmreid_uda.utils import make_rng

__all__ = [
    "FACE",
    "HAIRS",
    "HATS",
    "LOWERS",
    "NECK",
    "PRINTS",
    "STRAPS",
    "THIGH",
    "TRIMS",
    "UPPERS",
    "WEAVES",
    "Corners",
    "Cut",
    "Legs",
    "Shape",
    "Trim",
    "print_shapes",
    "weave",
]


@dataclass(frozen=True)
class Cut:
    """Shape of an upper garment.

    Attributes:
        hem: Height of the hem above the hip joint in body heights.
        bulk: Width relative to a shirt's.
        sleeve: How far it reaches down the arm: 0 bare, 1 to the wrist.
        flare: Width of the hem relative to the hips.
        layered: Whether the sleeves are those of the garment below, in the second colour.
        trims: Key of :data:`TRIMS` -> probability.
    """

    hem: float = -0.03
    bulk: float = 1.0
    sleeve: float = 1.0
    flare: float = 1.0
    layered: bool = False
    trims: Mapping[str, float] = field(default_factory=dict)


_JACKET = dict(open=0.25, zip=0.5, collar=0.4, yoke=0.12, pockets=0.3, rib=0.25, sides=0.08, cuffs=0.1, stripe=0.07,
               armband=0.04, back=0.12, badge=0.1)  # fmt: skip
_SHIRT = dict(front=0.35, back=0.15, neck=0.3, chest=0.12, sides=0.06, cuffs=0.1, badge=0.12)
_BUTTONED = dict(buttons=0.6, collar=0.9, badge=0.2)
UPPERS: Mapping[str, Cut] = dict(
    tshirt=Cut(sleeve=0.42, trims=_SHIRT),
    longsleeve=Cut(trims=_SHIRT | dict(rib=0.2)),
    polo=Cut(sleeve=0.42, trims=dict(collar=0.95, placket=0.7, badge=0.4, cuffs=0.4, chest=0.15)),
    tank=Cut(hem=-0.02, sleeve=0.0, trims=dict(front=0.3, neck=0.3, braces=0.3)),
    shirt=Cut(hem=-0.05, bulk=1.03, trims=_BUTTONED | dict(open=0.15)),
    blouse=Cut(hem=-0.02, bulk=1.05, sleeve=0.75, flare=1.08, trims=dict(neck=0.5, belt=0.2)),
    sweater=Cut(bulk=1.05, trims=dict(neck=0.4, rib=0.5, cuffs=0.3, chest=0.25, front=0.15)),
    hoodie=Cut(bulk=1.08, trims=dict(hood=1.0, zip=0.4, strings=0.5, kangaroo=0.6, rib=0.4, front=0.35, back=0.3)),
    cardigan=Cut(hem=-0.08, bulk=1.04, trims=dict(open=0.6, buttons=0.4, pockets=0.4, rib=0.3)),
    jacket=Cut(hem=-0.04, bulk=1.12, trims=_JACKET | dict(hood=0.2)),
    bomber=Cut(hem=0.0, bulk=1.15, trims=_JACKET | dict(rib=0.9)),
    puffer=Cut(hem=-0.02, bulk=1.23, trims=_JACKET | dict(quilt=1.0, hood=0.4, fur=0.15)),
    gilet=Cut(hem=-0.02, bulk=1.15, layered=True, trims=dict(zip=0.7, quilt=0.7, collar=0.5)),
    parka=Cut(hem=-0.14, bulk=1.16, flare=1.1, trims=dict(zip=0.6, open=0.2, hood=0.8, fur=0.6, pockets=0.6, belt=0.2)),
    blazer=Cut(hem=-0.07, bulk=1.06, trims=dict(vee=1.0, lapels=1.0, tie=0.3, buttons=0.3, pockets=0.3)),
    coat=Cut(hem=-0.2, bulk=1.1, flare=1.15, trims=dict(open=0.25, buttons=0.5, collar=0.5, belt=0.35,
                                                        vee=0.3, lapels=0.3, pockets=0.4)),
    longcoat=Cut(hem=-0.32, bulk=1.12, flare=1.3, trims=dict(open=0.2, buttons=0.4, belt=0.3, vee=0.3, lapels=0.4)),
    vest=Cut(hem=-0.03, bulk=1.12, layered=True, trims=dict(hivis=1.0, zip=0.5)),
    dress=Cut(hem=-0.2, sleeve=0.4, flare=1.4, trims=dict(belt=0.5, neck=0.4, braces=0.2)),
    longdress=Cut(hem=-0.42, bulk=1.0, flare=1.45, sleeve=0.8, trims=dict(belt=0.4, neck=0.4)),
)  # fmt: skip
"""Kind of upper garment -> its cut."""


@dataclass(frozen=True)
class Legs:
    """Shape of what is worn on the legs.

    Attributes:
        thigh: Width relative to the leg's.
        shin: The same below the knee.
        reach: How far the cloth of the legs reaches down: 0 bare, 0.5 to the knee, 1 to the ankle.
        skirt: Height of a skirt's hem above the ground in body heights; 0 is no skirt.
        fade: Factor on the colour of the front of the thighs.
        trims: Key of :data:`TRIMS` -> probability; of their shapes those for the legs are drawn.
    """

    thigh: float = 1.1
    shin: float = 1.12
    reach: float = 1.0
    skirt: float = 0.0
    fade: float = 1.0
    trims: Mapping[str, float] = field(default_factory=dict)


LOWERS: Mapping[str, Legs] = dict(
    trousers=Legs(1.15, 1.25),
    jeans=Legs(1.1, 1.15, fade=1.3, trims=dict(knees=0.15)),
    wide=Legs(1.3, 1.75),
    skinny=Legs(0.98, 0.9, fade=1.1, trims=dict(knees=0.1)),
    cargo=Legs(1.25, 1.35, trims=dict(cargo=1.0)),
    track=Legs(1.15, 1.15, trims=dict(stripe=0.85)),
    shorts=Legs(1.25, 1.0, reach=0.55, trims=dict(stripe=0.25)),
    hotpants=Legs(1.1, 1.0, reach=0.25),
    leggings=Legs(0.92, 0.85, trims=dict(stripe=0.15)),
    skirt=Legs(1.0, 1.0, reach=0.0, skirt=0.33),
    longskirt=Legs(1.0, 1.0, reach=0.0, skirt=0.12),
)
"""Kind of lower garment -> its shape."""

Corners = tuple[tuple[float, float], ...]
Shape = tuple[float, Corners]
"""A patch of cloth: the azimuth of its middle (0 front, pi back, positive to the person's left) and its corners, each
an azimuth from there and a level: on the trunk a height in body heights, or the negative distance to the hem; on a limb
the share of its length from the body."""

_ROUND = 9.0


@dataclass(frozen=True)
class Trim:
    """Something sewn onto a garment.

    Attributes:
        trunk: What of it is on the trunk.
        sleeves: What is on the left arm; the right one mirrors it.
        legs: What is on the left leg.
        tone: Its colour is that of the garment times this; None for a dye of its own.
        dyes: Names of colours of which that is one; empty for any.
    """

    trunk: tuple[Shape, ...] = ()
    sleeves: tuple[Shape, ...] = ()
    legs: tuple[Shape, ...] = ()
    tone: float | None = None
    dyes: tuple[str, ...] = ()


def _box(azimuth: float, half: float, top: float, bottom: float) -> Shape:
    return azimuth, ((-half, top), (half, top), (half, bottom), (-half, bottom))


def _band(top: float, bottom: float) -> Shape:
    return _box(0.0, _ROUND, top, bottom)


def _pair(azimuth: float, half: float, top: float, bottom: float) -> tuple[Shape, Shape]:
    return _box(azimuth, half, top, bottom), _box(-azimuth, half, top, bottom)


_SIDE, _BACK = np.pi / 2, np.pi
TRIMS: Mapping[str, Trim] = dict(
    open=Trim((_box(0.0, 0.42, 0.83, 0.0),)),
    zip=Trim((_box(0.0, 0.07, 0.83, 0.0),), dyes=("silver", "black", "grey", "mustard")),
    vee=Trim(((0.0, ((-0.42, 0.84), (0.42, 0.84), (0.0, 0.66))),),
             dyes=("white", "white", "sky", "black", "grey", "wine")),
    lapels=Trim(
        ((0.0, ((0.3, 0.84), (0.62, 0.8), (0.42, 0.75), (0.02, 0.66))),
         (0.0, ((-0.3, 0.84), (-0.62, 0.8), (-0.42, 0.75), (-0.02, 0.66)))),
        tone=1.5,
    ),
    tie=Trim((_box(0.0, 0.09, 0.81, 0.67),)),
    collar=Trim((_band(0.857, 0.825),)),
    neck=Trim(((0.0, ((-0.6, 0.84), (0.6, 0.84), (0.0, 0.76))),)),
    placket=Trim((_box(0.0, 0.09, 0.82, 0.75),), tone=0.7),
    buttons=Trim(tuple(_box(0.0, 0.07, up, up - 0.012) for up in (0.8, 0.75, 0.7, 0.65, 0.6, 0.55))),
    yoke=Trim((_band(0.838, 0.715),), (_box(0.0, _ROUND, -0.2, 0.3),)),
    chest=Trim((_band(0.75, 0.69),)),
    rib=Trim((_band(-0.03, 0.0),), (_box(0.0, _ROUND, 0.92, 1.0),), tone=0.6),
    sides=Trim(_pair(_SIDE, 0.6, 0.8, 0.0)),
    cuffs=Trim((), (_box(0.0, _ROUND, 0.85, 1.0),)),
    stripe=Trim((), (_box(_SIDE, 0.4, 0.0, 1.0),), (_box(_SIDE, 0.4, 0.0, 1.0),)),
    armband=Trim((), (_box(0.0, _ROUND, 0.2, 0.35),)),
    pockets=Trim(_pair(0.75, 0.33, 0.575, 0.505), tone=0.72),
    kangaroo=Trim(((0.0, ((-0.45, 0.6), (0.45, 0.6), (0.75, 0.52), (-0.75, 0.52))),), tone=0.78),
    badge=Trim((_box(0.5, 0.2, 0.755, 0.725),)),
    strings=Trim(_pair(0.16, 0.05, 0.81, 0.71), dyes=("white", "black", "silver")),
    braces=Trim((*_pair(0.55, 0.12, 0.83, 0.6), *_pair(_BACK - 0.55, 0.12, 0.83, 0.6))),
    belt=Trim((_band(0.605, 0.578),)),
    quilt=Trim(
        tuple(_band(up, up - 0.008) for up in np.arange(0.79, 0.36, -0.047).tolist()),
        tuple(_box(0.0, _ROUND, at, at + 0.05) for at in (0.2, 0.45, 0.7)), tone=0.55,
    ),
    hivis=Trim(
        (_band(0.62, 0.59), _band(0.545, 0.515), *_pair(0.65, 0.15, 0.83, 0.62),
         *_pair(_BACK - 0.65, 0.15, 0.83, 0.62)),
        dyes=("silver", "white"),
    ),
    hood=Trim(
        (_band(0.862, 0.822),
         (_BACK, ((-1.0, 0.86), (1.0, 0.86), (0.9, 0.79), (0.4, 0.735), (-0.4, 0.735), (-0.9, 0.79)))),
        tone=0.78,
    ),
    fur=Trim((_band(0.868, 0.832), (_BACK, ((-0.9, 0.85), (0.9, 0.85), (0.5, 0.79), (-0.5, 0.79)))),
             dyes=("beige", "brown", "grey", "black", "cream")),
    cargo=Trim(legs=(_box(_SIDE, 0.75, 0.35, 0.62),), tone=0.75),
    knees=Trim(legs=(_box(0.0, 0.7, 0.9, 1.0),), tone=1.6),
    scarf=Trim((_band(0.88, 0.815), _box(0.35, 0.24, 0.83, 0.63))),
    front=Trim(), back=Trim(),
)  # fmt: skip
"""Name -> trim, in the order in which they are drawn; ``front`` and ``back`` are :func:`print_shapes`."""

STRAPS: Mapping[str, tuple[Shape, ...]] = dict(
    backpack=_pair(0.62, 0.16, 0.83, 0.62),
    satchel=(
        (0.35, ((-0.95, 0.83), (-0.65, 0.83), (1.0, 0.54), (0.75, 0.54))),
        (_BACK, ((0.65, 0.83), (0.35, 0.83), (-1.35, 0.54), (-1.1, 0.54))),
    ),
    tote=(_box(0.95, 0.13, 0.83, 0.66), _box(_BACK - 0.95, 0.13, 0.83, 0.66)),
)  # fmt: skip
"""Bag on the left -> its straps over the trunk."""

PRINTS: Mapping[str, float] = dict(front=0.0, back=_BACK)
"""Trim that is a print -> azimuth of its middle."""


@lru_cache(maxsize=4096)
def print_shapes(number: int) -> tuple[np.ndarray, ...]:
    """A print on a garment: lines of letters, or a large shape.

    Args:
        number: Of the print.

    Returns:
        Polygons, float (n, 2) in -1..1: azimuth from the middle of the print and height.
    """
    rng = make_rng("print", number)
    if rng.random() < 0.5:
        shapes, lines = [], int(rng.integers(1, 4))
        for line in range(lines):
            top = 0.9 - 1.8 * line / lines
            ends = np.sort(rng.uniform(-1, 1, 2 * int(rng.integers(3, 7)))).reshape(-1, 2)
            low = top - 1.3 / lines * rng.uniform(0.6, 1, len(ends))
            for (left, right), bottom in zip(ends, low):
                shapes.append(
                    np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
                )
        return tuple(shapes)
    corners = int(rng.integers(3, 11))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 2)
    radii = rng.uniform(0.35, 1.0, corners) if rng.random() < 0.6 else np.full(corners, 0.9)
    return (np.stack([np.cos(angles) * radii, np.sin(angles) * radii], 1),)


# ---------------------------------------------------------------------------------------------------- heads


def _cap(azimuth: float, half: float, top: float, bottom: float) -> Shape:
    """A box whose sides follow the curve of the head."""
    levels = np.linspace(top, bottom, 7).tolist()
    left, right = [(-half, level) for level in levels], [(half, level) for level in levels]
    return azimuth, tuple(left + right[::-1])


def _hair(top: float, back: float, around: float = 1.75) -> tuple[Shape, ...]:
    return _cap(0.0, _ROUND, 1.0, top), _cap(_BACK, around, top + 0.05, back)


THIGH: Shape = 0.0, ((-0.7, 0.15), (0.7, 0.15), (0.5, 0.9), (-0.5, 0.9))
"""Where jeans are faded."""

NECK = _band(0.88, 0.838)
"""Where the skin of the neck shows, on the trunk."""

HAIRS: Mapping[str, tuple[float, tuple[Shape, ...]]] = dict(
    bald=(1.0, ()),
    balding=(1.02, (_cap(_BACK, 1.8, 0.4, -0.4),)),
    short=(1.05, _hair(0.5, -0.4)),
    curly=(1.28, _hair(0.4, -0.5, 2.0)),
    fringe=(1.08, _hair(0.25, -0.45)),
    bob=(1.16, _hair(0.5, -1.0, 2.15)),
    long=(1.1, _hair(0.5, -1.0, 2.1)),
    ponytail=(1.05, _hair(0.5, -0.5)),
    bun=(1.05, _hair(0.5, -0.5)),
)  # fmt: skip
"""Style of hair -> size relative to the skull, and what it covers; levels are -1 at the chin and 1 at the crown."""

HATS: Mapping[str, tuple[float, tuple[Shape, ...]]] = dict(
    cap=(1.12, (_cap(0.0, _ROUND, 1.0, 0.3),)),
    beanie=(1.17, (_cap(0.0, _ROUND, 1.0, 0.2), _cap(_BACK, 1.7, 0.25, -0.2))),
    brim=(1.14, (_cap(0.0, _ROUND, 1.0, 0.3),)),
    hood=(1.28, (_cap(0.0, _ROUND, 1.0, 0.5), _cap(_BACK, 2.2, 0.55, -1.0))),
    helmet=(1.27, (_cap(0.0, _ROUND, 1.0, 0.25), _cap(_BACK, 1.5, 0.3, -0.1))),
)  # fmt: skip
"""The same of hats."""

FACE: Mapping[str, Shape] = dict(
    eyes=_box(0.0, 0.75, 0.12, -0.02),
    mouth=_box(0.0, 0.35, -0.52, -0.6),
    beard=_cap(0.0, 1.35, -0.3, -1.0),
    glasses=_box(0.0, 1.2, 0.17, -0.08),
)
"""What is in a face."""


# ---------------------------------------------------------------------------------------------------- cloth


TILE, PERIODS = 128, 8
"""Side in pixels of a tile of cloth, a power of two, and how often a pattern is repeated along it."""


def _noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    coarse = rng.normal(size=(cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (TILE, TILE), interpolation=cv2.INTER_CUBIC))


Weave = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
WEAVES: Mapping[str, Weave] = dict(
    stripes=lambda up, across, rng: (up % 1 < rng.uniform(0.2, 0.6)) + 0 * across,
    pinstripes=lambda up, across, rng: (across % 1 < rng.uniform(0.15, 0.5)) + 0 * up,
    checks=lambda up, across, rng: 0.5 * (up % 1 < 0.45) + 0.5 * (across % 1 < 0.45),
    plaid=lambda up, across, rng: np.maximum(0.6 * (up % 1 < 0.3) + 0.4 * (across % 1 < 0.3),
                                             (up % 1 > 0.9) | (across % 1 > 0.9)),
    dots=lambda up, across, rng: (across % 1 - 0.5) ** 2 + (up % 1 - 0.5) ** 2 < 0.09,
    zigzag=lambda up, across, rng: (up + 0.5 * np.abs(across % 1 - 0.5)) % 1 < 0.45,
    camouflage=lambda up, across, rng: 0.5 * (_noise(rng, 20) > 0.1) + 0.5 * (_noise(rng, 24) > 0.4),
    floral=lambda up, across, rng: _noise(rng, 34) > 0.75,
    blotches=lambda up, across, rng: np.clip(_noise(rng, 12) * 0.6 + 0.3, 0, 1),
    knit=lambda up, across, rng: 0.35 * ((up * 3) % 1 < 0.5) + 0.15 * ((across * 3) % 1 < 0.5),
    denim=lambda up, across, rng: np.clip(0.2 + 0.14 * _noise(rng, 60) + 0.12 * _noise(rng, 8), 0, 1),
    gradient=lambda up, across, rng: np.abs(up / (PERIODS / 2) - 1) + 0 * across,
    tweed=lambda up, across, rng: np.clip(0.35 + 0.3 * _noise(rng, 90), 0, 1),
)  # fmt: skip
"""Pattern -> where it shows the second colour, 0..1, from coordinates in periods."""


@lru_cache(maxsize=512)
def weave(pattern: str, number: int) -> np.ndarray:
    """A tile of cloth.

    Args:
        pattern: Key of :data:`WEAVES`.
        number: Of the garment.

    Returns:
        Share of the second colour, float32 (128, 128), 0..1; repeats upwards and around.
    """
    steps = np.arange(TILE, dtype=np.float32) * (PERIODS / TILE)
    share = WEAVES[pattern](steps[:, None], steps[None, :], make_rng("weave", number))
    return np.ascontiguousarray(share, np.float32)
