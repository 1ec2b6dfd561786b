"""Who a synthetic pedestrian is: the attributes that make an identity, and the wardrobes they are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["COLORS", "Color", "Garment", "Identity", "Wardrobe", "pick", "sample_identity"]

Color = tuple[float, float, float]
"""Blue, green, red in 0..255, the order of OpenCV."""

COLORS: Mapping[str, tuple[int, int, int]] = {
    "black": (26, 26, 30),
    "charcoal": (58, 60, 66),
    "grey": (128, 130, 134),
    "silver": (184, 186, 190),
    "white": (236, 236, 232),
    "cream": (228, 216, 186),
    "beige": (196, 172, 134),
    "khaki": (142, 128, 86),
    "brown": (98, 64, 42),
    "olive": (84, 90, 48),
    "green": (42, 128, 66),
    "mint": (140, 206, 176),
    "teal": (24, 116, 122),
    "sky": (118, 176, 224),
    "blue": (38, 82, 176),
    "navy": (26, 36, 76),
    "denim": (66, 92, 138),
    "pale denim": (132, 158, 190),
    "purple": (104, 56, 134),
    "lilac": (180, 154, 210),
    "pink": (230, 140, 168),
    "magenta": (190, 42, 112),
    "red": (190, 36, 42),
    "wine": (106, 28, 44),
    "orange": (228, 116, 36),
    "mustard": (206, 160, 46),
    "yellow": (240, 214, 70),
}
"""Red, green, blue of the dyes, 0..255, before the light and the camera."""

SKINS = (
    (244, 208, 180),
    (228, 184, 150),
    (202, 152, 116),
    (158, 108, 76),
    (110, 72, 50),
    (76, 50, 38),
)
HAIRS = (
    (22, 18, 18),
    (46, 32, 26),
    (84, 54, 36),
    (132, 92, 54),
    (196, 160, 100),
    (150, 148, 148),
    (128, 54, 30),
)


@dataclass(frozen=True)
class Garment:
    """One piece of clothing.

    Attributes:
        kind: Cut, one of the keys of a :class:`Wardrobe`'s ``uppers`` or ``lowers``.
        color: Main colour.
        second: Colour of the pattern, of the sleeves or of what is worn below an open jacket.
        pattern: ``plain``, ``stripes``, ``pinstripes``, ``checks``, ``dots``, ``block``, ``sleeves`` or ``logo``.
        period: Length of one repetition of the pattern in body heights.
    """

    kind: str
    color: Color
    second: Color
    pattern: str = "plain"
    period: float = 0.06


@dataclass(frozen=True)
class Identity:
    """All that stays the same from image to image of one person. Lengths are in body heights.

    Attributes:
        build: Width of the body relative to the average.
        hips: Width of the hips relative to that of the shoulders.
        belly: How far the belly stands out.
        legs: Height of the hip joint.
        head: Size of the head relative to the average; short people have larger heads.
        skin: Colour of the skin.
        hair_style: ``bald``, ``short``, ``bob``, ``long``, ``ponytail`` or ``bun``.
        hair: Colour of the hair.
        upper: Garment of the upper body.
        lower: Garment of the legs.
        shoes: Colour of the shoes.
        bag: ``none``, ``backpack``, ``handbag``, ``satchel`` or ``suitcase``.
        bag_color: Its colour.
        bag_side: -1 or 1: the side on which it is carried.
        hat: ``none``, ``cap``, ``beanie``, ``brim`` or ``hood``.
        hat_color: Its colour.
        back_print: Whether the upper garment has a print on the back, in its second colour.
    """

    build: float
    hips: float
    belly: float
    legs: float
    head: float
    skin: Color
    hair_style: str
    hair: Color
    upper: Garment
    lower: Garment
    shoes: Color
    bag: str
    bag_color: Color
    bag_side: int
    hat: str
    hat_color: Color
    back_print: bool


@dataclass(frozen=True)
class Wardrobe:
    """What the people of a domain wear: choices with relative frequencies.

    Attributes:
        uppers: ``tshirt``, ``vest``, ``shirt``, ``jacket`` (may be open), ``coat`` (to the knees), ``dress``.
        lowers: ``trousers``, ``shorts``, ``skirt``, ``leggings``.
        patterns: Patterns of the upper garment.
        upper_colors: Names of :data:`COLORS`.
        lower_colors: Names of :data:`COLORS`.
        bags: Kinds of bag.
        hats: Kinds of hat.
    """

    uppers: Mapping[str, float]
    lowers: Mapping[str, float]
    patterns: Mapping[str, float]
    upper_colors: Mapping[str, float]
    lower_colors: Mapping[str, float]
    bags: Mapping[str, float]
    hats: Mapping[str, float]


def pick(rng: np.random.Generator, choices: Mapping[str, float]) -> str:
    """Draw a key with a probability proportional to its value.

    Args:
        rng: Source of the draw.
        choices: Key -> weight, >= 0, not all 0.

    Returns:
        The key.
    """
    names = list(choices)
    weights = np.array([choices[name] for name in names], dtype=np.float64)
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def sample_identity(rng: np.random.Generator, wardrobe: Wardrobe) -> Identity:
    """Draw a person.

    Args:
        rng: Generator of this identity.
        wardrobe: What people of the domain wear.

    Returns:
        The attributes that all images of the person share.
    """
    upper = _upper(rng, wardrobe)
    lower = Garment(
        pick(rng, wardrobe.lowers), _dye(rng, pick(rng, wardrobe.lower_colors)), (0.0, 0.0, 0.0)
    )
    return Identity(
        build=float(np.clip(rng.normal(1.0, 0.15), 0.74, 1.42)),
        hips=float(rng.uniform(0.72, 1.02)),
        belly=float(rng.uniform(0.0, 0.03)),
        legs=float(rng.uniform(0.475, 0.535)),
        head=float(rng.uniform(0.9, 1.16)),
        skin=_jitter(rng, SKINS[int(rng.integers(len(SKINS)))], 8),
        hair_style=pick(rng, dict(bald=0.7, short=4, bob=1.5, long=2, ponytail=1.3, bun=0.8)),
        hair=_jitter(
            rng, HAIRS[int(rng.choice(len(HAIRS), p=(0.3, 0.25, 0.15, 0.1, 0.1, 0.06, 0.04)))], 8
        ),
        upper=upper,
        lower=lower,
        shoes=_dye(
            rng, pick(rng, dict(black=4, white=3, brown=2, grey=1, red=0.6, blue=0.6, beige=0.8))
        ),
        bag=pick(rng, wardrobe.bags),
        bag_color=_dye(rng, str(rng.choice(list(COLORS)))),
        bag_side=1 if rng.random() < 0.5 else -1,
        hat=pick(rng, wardrobe.hats),
        hat_color=_dye(rng, str(rng.choice(list(COLORS)))),
        back_print=bool(rng.random() < 0.15),
    )


def _upper(rng: np.random.Generator, wardrobe: Wardrobe) -> Garment:
    """Draw an upper garment whose second colour can be told from the first."""
    first = pick(rng, wardrobe.upper_colors)
    candidates = {
        name: weight + 0.2
        for name, weight in wardrobe.upper_colors.items()
        if np.abs(np.subtract(COLORS[name], COLORS[first])).sum() > 120
    }
    return Garment(
        kind=pick(rng, wardrobe.uppers),
        color=_dye(rng, first),
        second=_dye(rng, pick(rng, candidates)),
        pattern=pick(rng, wardrobe.patterns),
        period=float(rng.uniform(0.035, 0.1)),
    )


def _dye(rng: np.random.Generator, name: str) -> Color:
    return _jitter(rng, COLORS[name], 14)


def _jitter(rng: np.random.Generator, rgb: tuple[int, int, int], amount: float) -> Color:
    """Vary brightness, and each channel a little; RGB in, BGR out."""
    varied = np.array(rgb) * rng.uniform(0.85, 1.12) + rng.uniform(-amount, amount, 3)
    red, green, blue = np.clip(varied, 4, 250).tolist()
    return blue, green, red
