"""Who a synthetic pedestrian is: the attributes that make an identity, and the wardrobes they are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .garments import LOWERS, TRIMS, UPPERS

__all__ = [
    "COLORS",
    "Body",
    "Color",
    "Garment",
    "Identity",
    "Wardrobe",
    "as_sighted",
    "pick",
    "sample_identity",
]

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
        pattern: ``plain``, ``stripes``, ``pinstripes``, ``checks``, ``dots``, ``block``, ``sleeves`` or ``logo``; of
            detailed people ``plain``, ``sleeves`` or a key of :data:`~mmreid_uda.datasets.synthetic.garments.WEAVES`.
        period: Length of one repetition of the pattern in body heights.
        trims: Keys of :data:`~mmreid_uda.datasets.synthetic.garments.TRIMS` with their colours.
        number: Of its prints and its cloth.
    """

    kind: str
    color: Color
    second: Color
    pattern: str = "plain"
    period: float = 0.06
    trims: tuple[tuple[str, Color], ...] = ()
    number: int = 0


@dataclass(frozen=True)
class Body:
    """What is drawn of detailed people only. Lengths are in body heights.

    Attributes:
        stoop: How far the shoulders are in front of the hips.
        spread: How far the elbows are away from the body.
        step: Length of the steps relative to the average.
        footwear: ``shoes``, ``sneakers`` or ``boots``.
        extras: What else they wear or carry (keys of :data:`EXTRAS`), with its colour.
    """

    stoop: float
    spread: float
    step: float
    footwear: str
    extras: tuple[tuple[str, Color], ...] = ()


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
        hair_style: ``bald``, ``short``, ``bob``, ``long``, ``ponytail`` or ``bun``; of detailed people also
            ``balding``, ``curly`` or ``fringe``.
        hair: Colour of the hair.
        upper: Garment of the upper body.
        lower: Garment of the legs.
        shoes: Colour of the shoes.
        bag: ``none``, ``backpack``, ``handbag``, ``satchel`` or ``suitcase``; of detailed people also ``tote`` or
            ``shopping``.
        bag_color: Its colour.
        bag_side: -1 or 1: the side on which it is carried.
        hat: ``none``, ``cap``, ``beanie``, ``brim`` or ``hood``; of detailed people also ``helmet``.
        hat_color: Its colour.
        back_print: Whether the upper garment has a print on the back, in its second colour.
        body: What makes a person detailed, or None.
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
    body: Body | None = None


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
        extras: Key of :data:`EXTRAS` -> probability; makes people detailed, whose garments are keys of
            :data:`~mmreid_uda.datasets.synthetic.garments.UPPERS` and
            :data:`~mmreid_uda.datasets.synthetic.garments.LOWERS`.
        usual: Share of people in a dark jacket and jeans.
    """

    uppers: Mapping[str, float]
    lowers: Mapping[str, float]
    patterns: Mapping[str, float]
    upper_colors: Mapping[str, float]
    lower_colors: Mapping[str, float]
    bags: Mapping[str, float]
    hats: Mapping[str, float]
    extras: Mapping[str, float] | None = None
    usual: float = 0.0


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
    # What Generator.choice does, without its checks: people are drawn by the thousand.
    upto = np.cumsum(weights / weights.sum())
    return names[int(np.searchsorted(upto / upto[-1], rng.random(), side="right"))]


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
    who = Identity(
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
    return who if wardrobe.extras is None else _detailed(rng, who, wardrobe)


EXTRAS: Mapping[str, tuple[str, ...]] = dict(
    scarf=tuple(COLORS),
    beard=("black", "charcoal", "brown", "grey"),
    glasses=("black", "charcoal", "brown"),
    phone=("black",),
    paper=("white", "cream", "silver"),
    umbrella=tuple(COLORS),
    pushchair=("black", "navy", "red", "teal", "grey"),
    bicycle=("black", "red", "silver", "blue", "green"),
)
"""What detailed people may wear or carry -> names of the colours it has."""

_USUAL: Mapping[str, Mapping[str, float]] = dict(
    uppers=dict(jacket=3, bomber=1, puffer=2, parka=1, hoodie=1.5, blazer=0.7, coat=1.3),
    colors=dict(black=5, charcoal=2, navy=2, brown=1),
    lowers=dict(jeans=4, trousers=2, skinny=1),
    lower_colors=dict(denim=3, navy=1.5, black=2.5, charcoal=1, **{"pale denim": 1}),
)
_DARK = dict(black=5, charcoal=2, navy=1.5, brown=1.5, grey=1, beige=0.7)
_FADED = ("jeans", "skinny")


def _detailed(rng: np.random.Generator, who: Identity, wardrobe: Wardrobe) -> Identity:
    """Give a person what plainly drawn people do not have."""
    upper, lower = who.upper, who.lower
    if rng.random() < wardrobe.usual:
        upper = replace(
            upper,
            kind=pick(rng, _USUAL["uppers"]),
            color=_dye(rng, pick(rng, _USUAL["colors"])),
            pattern="plain" if rng.random() < 0.8 else upper.pattern,
        )
        lower = replace(
            lower,
            kind=pick(rng, _USUAL["lowers"]),
            color=_dye(rng, pick(rng, _USUAL["lower_colors"])),
        )
    faded = lower.kind in _FADED
    woven = rng.random() < (0.4 if faded else 0.15)
    lower = replace(
        lower,
        second=_toned(lower.color, 1.45 if faded else float(rng.uniform(0.5, 1.8))),
        pattern="plain" if not woven else "denim" if faded else pick(rng, _LOWER_WEAVES),
        period=float(rng.uniform(0.02, 0.06)),
        trims=_trims(rng, LOWERS[lower.kind].trims, lower.color),
        number=int(rng.integers(4096)),
    )
    if upper.pattern in ("knit", "tweed", "denim", "blotches"):
        upper = replace(upper, second=_toned(upper.color, float(rng.uniform(1.2, 2.0))))
    upper = replace(
        upper,
        trims=_trims(rng, UPPERS[upper.kind].trims, upper.color),
        number=int(rng.integers(4096)),
    )
    child, heavy = rng.random() < 0.06, rng.random() < 0.12
    extras = wardrobe.extras or {}
    return replace(
        who,
        upper=upper,
        lower=lower,
        build=who.build * float(rng.uniform(1.1, 1.35) if heavy else 1.0),
        belly=who.belly + 0.03 * heavy,
        head=1.32 if child else who.head * 0.98,
        legs=who.legs - 0.04 * child,
        hair_style=pick(rng, _HAIR_STYLES),
        bag_color=_dye(rng, pick(rng, _DARK)) if rng.random() < 0.6 else who.bag_color,
        hat_color=_dye(rng, pick(rng, _DARK)) if rng.random() < 0.5 else who.hat_color,
        back_print=False,
        body=Body(
            stoop=float(np.clip(rng.normal(0.012, 0.016), -0.015, 0.06)),
            spread=float(rng.uniform(0.0, 0.03)),
            step=float(rng.uniform(0.85, 1.3)),
            footwear=pick(rng, dict(shoes=4, sneakers=3, boots=2)),
            extras=tuple(
                (name, _dye(rng, str(rng.choice(EXTRAS[name]))))
                for name, chance in extras.items()
                if rng.random() < chance
            ),
        ),
    )


_LOWER_WEAVES = dict(pinstripes=1, checks=1, plaid=1, camouflage=1, floral=1, tweed=2, stripes=0.3)
_HAIR_STYLES = dict(
    bald=0.5, balding=0.7, short=4, curly=1, fringe=1.2, bob=1.5, long=2, ponytail=1.2, bun=0.7
)


def _trims(
    rng: np.random.Generator, chances: Mapping[str, float], color: Color
) -> tuple[tuple[str, Color], ...]:
    """Draw which trims a garment of a colour has, in the order in which they are drawn."""
    chosen = []
    for name, trim in TRIMS.items():
        if rng.random() < chances.get(name, 0.0):
            dye = _dye(rng, str(rng.choice(trim.dyes or list(COLORS))))
            chosen.append((name, dye if trim.tone is None else _toned(color, trim.tone)))
    return tuple(chosen)


def _toned(color: Color, tone: float) -> Color:
    blue, green, red = (min(250.0, 6 * (tone > 1) + channel * tone) for channel in color)
    return blue, green, red


def as_sighted(who: Identity, rng: np.random.Generator, chance: float) -> Identity:
    """A detailed person as they are on one occasion: without some things, a jacket open that else is closed.

    Args:
        who: The person.
        rng: Generator of the occasion.
        chance: Probability, 0..1, that one thing is not as it usually is.

    Returns:
        The person with the same body and the same garments.
    """
    dropped = rng.random(4) < chance
    bag = "none" if dropped[0] else who.bag
    hat = "none" if dropped[1] else who.hat
    upper, body = who.upper, who.body
    if dropped[2] and "open" in UPPERS[upper.kind].trims:
        closed = tuple(trim for trim in upper.trims if trim[0] != "open")
        opened = (("open", upper.second), *upper.trims)
        upper = replace(upper, trims=closed if closed != upper.trims else opened)
    if body is not None and dropped[3]:
        kept = tuple(extra for extra in body.extras if extra[0] in _GROWN)
        body = replace(body, extras=kept)
    return replace(who, bag=bag, hat=hat, upper=upper, body=body)


_GROWN = ("beard", "glasses")


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
