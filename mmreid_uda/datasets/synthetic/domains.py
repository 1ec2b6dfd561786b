"""The synthetic domains: what people wear there, how the place looks, and what the cameras do to the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .appearance import Wardrobe
from .places import PLACES

__all__ = ["DOMAINS", "Camera", "Domain", "Range", "sample_camera"]

Range = tuple[float, float]


@dataclass(frozen=True)
class Domain:
    """A place with its people and its cameras. Ranges are those that single cameras are drawn from.

    Attributes:
        scene: See :func:`~mmreid_uda.datasets.synthetic.scene.draw_scene`.
        wardrobe: What people wear.
        exposure: Factor on the light.
        gamma: Exponent of the tone curve; above 1 darkens the middle tones.
        warmth: White balance: positive is yellowish, negative bluish; 0.2 changes red and blue by 20 %.
        saturation: 0 grey, 1 unchanged.
        pitch: See :class:`~mmreid_uda.datasets.synthetic.figure.Pose`.
        rows: Height in pixels at which the person was filmed; the crop is enlarged from it.
        blur: Standard deviation of the blur in pixels of the crop.
        noise: Standard deviation of the noise, 0..255.
        quality: JPEG quality.
        sunlight: Contrast between the lit and the shaded side of a body.
        views: One for each camera: what differs there from the rest of the domain.
        hue: Turn of the colour circle in radians: filters of the sensor that are not those of the eye.
        haze: Share of the light that is scattered on its way, a grey veil; 0 none.
        walk: Images of one walk through a camera's view, or None for all images of a person there.
        facing: Direction in radians that most people walk in, or None to draw it.
        slack: How badly boxes are placed; 1 is a good detector.
        fill: Height of a person over that of the box.
        across: Where in the view people walk, 0..1 from left to right.
        ground: The same from the horizon to the camera, 0..1.
        aspect: Width of a box over half its height, at most 1, or None for boxes of the crop's shape.
        alike: Probability that a person wears the clothes of the first of their group of four, where it is not them.
        changes: Probability that a thing a person carries or wears is missing in a sighting, or a jacket open that is
            else closed; only where people are detailed.
        arms: What people do with their arms, see :class:`~mmreid_uda.datasets.synthetic.figure.Pose`.
        stride: Largest angle of the thighs of those who walk, in radians.
        busy: Share of images with other people behind; above 0 also with company, things in the way, light and shade,
            and borders of the frame in all their variety.
    """

    scene: str
    wardrobe: Wardrobe
    exposure: Range
    gamma: Range
    warmth: Range
    saturation: Range
    pitch: Range
    rows: Range
    blur: Range
    noise: Range
    quality: Range
    sunlight: Range
    views: tuple[Mapping[str, Any], ...] = ({},) * 6
    hue: Range = (0.0, 0.0)
    haze: Range = (0.0, 0.0)
    walk: int | None = None
    facing: float | None = None
    slack: float = 1.0
    fill: Range = (0.86, 0.99)
    across: Range = (0.05, 0.95)
    ground: Range = (0.35, 1.0)
    aspect: Range | None = None
    alike: float = 0.0
    changes: float = 0.0
    arms: Mapping[str, float] = field(
        default_factory=lambda: dict(swing=0.7, pockets=0.18, phone=0.12)
    )
    stride: Range = (0.3, 0.52)
    busy: float = 0.0

    def view(self, number: int) -> Domain:
        """The domain as one of its cameras has it.

        Args:
            number: Of the camera, 0-based.

        Returns:
            The domain with the differences of that camera.
        """
        return replace(self, **self.views[number])


@dataclass(frozen=True)
class Camera:
    """One camera of a domain; the attributes are those of :class:`Domain`, drawn.

    Attributes:
        gains: Factors of blue, green and red.
        curve: Gamma.
        saturation: 0 grey, 1 unchanged.
        pitch: 0 eye level, towards 1 high.
        rows: Smallest and largest resolution in rows.
        blur: In pixels.
        noise: In grey levels.
        quality: JPEG quality.
        sunlight: Contrast of the light on bodies, signed: positive comes from the right.
        yaws: Directions in radians that people mostly walk in here.
        occlusion: Probability that something stands in front.
        hue: Turn of the colour circle in radians.
        haze: Share of scattered light.
        slack: How badly boxes are placed.
        fill: Height of a person over that of the box.
    """

    gains: tuple[float, float, float]
    curve: float
    saturation: float
    pitch: float
    rows: Range
    blur: float
    noise: float
    quality: int
    sunlight: float
    yaws: tuple[float, float]
    occlusion: float
    hue: float
    haze: float
    slack: float
    fill: Range


def sample_camera(rng: np.random.Generator, domain: Domain) -> Camera:
    """Draw a camera of a domain.

    Args:
        rng: Generator of this camera.
        domain: The domain, as this camera has it.

    Returns:
        The camera.
    """
    exposure, warmth = rng.uniform(*domain.exposure), rng.uniform(*domain.warmth)
    tint = rng.uniform(-0.04, 0.04)
    gains = (exposure * (1 - warmth), exposure * (1 + tint), exposure * (1 + warmth))
    rows = rng.uniform(*domain.rows)
    direction = rng.uniform(0, 2 * np.pi)
    if domain.facing is not None:
        direction = domain.facing
    return Camera(
        gains=gains,
        curve=float(rng.uniform(*domain.gamma)),
        saturation=float(rng.uniform(*domain.saturation)),
        pitch=float(rng.uniform(*domain.pitch)),
        rows=(rows * 0.85, rows * 1.15),
        blur=float(rng.uniform(*domain.blur)),
        noise=float(rng.uniform(*domain.noise)),
        quality=int(rng.uniform(*domain.quality)),
        sunlight=float(rng.uniform(*domain.sunlight) * (1 if rng.random() < 0.5 else -1)),
        yaws=(float(direction), float(direction + np.pi + rng.uniform(-0.6, 0.6))),
        occlusion=float(rng.uniform(0.04, 0.24)),
        hue=float(rng.uniform(*domain.hue)),
        haze=float(rng.uniform(*domain.haze)),
        slack=domain.slack,
        fill=domain.fill,
    )


_CAMPUS = Domain(
    scene="campus",
    wardrobe=Wardrobe(
        uppers=dict(tshirt=5, vest=1, shirt=2, dress=1.2, jacket=0.5),
        lowers=dict(shorts=3, trousers=3, skirt=1.2, leggings=0.8),
        patterns=dict(plain=4, logo=2, stripes=1.5, block=1, checks=0.8, sleeves=0.8, dots=0.6, pinstripes=0.4),
        upper_colors=dict(
            white=3, black=1.5, grey=1.5, red=1.5, yellow=1, sky=1.2, blue=1.2, green=1, pink=1.2, orange=0.8,
            mint=0.7, purple=0.7, navy=0.8, magenta=0.6, teal=0.6, mustard=0.5, cream=0.7, lilac=0.5,
        ),
        lower_colors=dict(
            denim=2.5, black=2, khaki=1.2, beige=1, white=0.8, navy=1, grey=1, **{"pale denim": 1.5}, olive=0.6,
            red=0.4, pink=0.4, green=0.3,
        ),
        bags=dict(none=3, backpack=3, handbag=1, satchel=1),
        hats=dict(none=6, cap=1.5, brim=0.7),
    ),
    exposure=(0.9, 1.15), gamma=(0.85, 1.1), warmth=(-0.02, 0.1), saturation=(0.8, 1.15), pitch=(0.1, 0.45),
    rows=(100, 128), blur=(0.0, 0.6), noise=(1.0, 4.0), quality=(78, 95), sunlight=(0.12, 0.34),
)  # fmt: skip

_STREET = Domain(
    scene="street",
    wardrobe=Wardrobe(
        uppers=dict(jacket=4, coat=3, shirt=2, tshirt=0.4),
        lowers=dict(trousers=6, leggings=1.5, skirt=0.6),
        patterns=dict(plain=5, block=2, checks=1.2, stripes=0.8, sleeves=1.2, logo=0.5),
        upper_colors=dict(
            black=2, charcoal=1.5, navy=2, grey=1.4, brown=1.6, olive=1.5, khaki=1.2, wine=1.6, red=1.2, beige=1.2,
            teal=1.1, mustard=1, white=0.8, purple=0.9, blue=1, silver=0.8, orange=0.5, cream=0.8,
        ),
        lower_colors=dict(
            black=2.2, denim=2.5, navy=1.6, charcoal=1.2, grey=1.3, brown=1.3, khaki=1, beige=0.8, wine=0.4
        ),
        bags=dict(none=3, backpack=2, handbag=1.5, satchel=1.3),
        hats=dict(none=4, beanie=2.2, hood=0.8, cap=0.6),
    ),
    exposure=(0.68, 0.84), gamma=(1.0, 1.12), warmth=(-0.18, -0.08), saturation=(0.6, 0.75), pitch=(0.2, 0.6),
    rows=(80, 116), blur=(0.2, 0.6), noise=(2.0, 5.0), quality=(60, 85), sunlight=(0.03, 0.16),
)  # fmt: skip

_HALL = Domain(
    scene="hall",
    wardrobe=Wardrobe(
        uppers=dict(shirt=3.5, jacket=2.5, tshirt=2, coat=1, dress=1, vest=0.3),
        lowers=dict(trousers=5, skirt=1.5, shorts=0.7, leggings=1),
        patterns=dict(plain=5, pinstripes=1.2, checks=1.2, stripes=1.2, logo=0.8, sleeves=0.6, block=0.8, dots=0.5),
        upper_colors=dict(
            white=2.4, black=2, grey=1.5, navy=1.5, sky=1, blue=1, beige=1.2, cream=0.8, red=0.9, lilac=0.7,
            pink=0.8, green=0.8, brown=0.8, wine=0.8, mustard=0.7, purple=0.6, teal=0.8, orange=0.4, mint=0.5,
        ),
        lower_colors=dict(black=2.5, navy=1.6, grey=1.6, denim=2, beige=1, brown=0.8, charcoal=1, white=0.5, wine=0.3),
        bags=dict(none=2.5, suitcase=2, handbag=1.6, satchel=1.2, backpack=1.2),
        hats=dict(none=8, cap=0.7, brim=0.4, beanie=0.4),
    ),
    exposure=(0.85, 1.1), gamma=(0.8, 1.05), warmth=(-0.02, 0.18), saturation=(0.65, 1.0), pitch=(0.5, 0.95),
    rows=(52, 78), blur=(0.0, 0.7), noise=(2.0, 7.0), quality=(45, 80), sunlight=(0.02, 0.14),
)  # fmt: skip


def _camera(scene: str, facing: float, rows: Range, **fixed: float) -> Mapping[str, Any]:
    """A camera that is described rather than drawn; ``fixed`` are values in place of a domain's ranges."""
    pinned = {name: (value, value) for name, value in fixed.items()}
    return dict(scene=scene, facing=facing, rows=rows, **pinned)


# Two cameras that see one crowd so differently that a stranger in the same camera looks more alike than the same person
# in the other one. Every image is a walk of its own, boxes are loose, and people keep to a path: the background of a
# camera is always there, the side that a person shows is not.
_PLAZA_AND_STREET = replace(
    _CAMPUS,
    walk=1, slack=2.0, fill=(0.74, 0.92), across=(0.25, 0.4), ground=(0.7, 0.9),
    views=(
        _camera(
            "campus", 0.4, (104, 120), exposure=1.08, gamma=1.0, warmth=0.15, saturation=1.0, hue=0.12, haze=0.0,
            pitch=0.2, blur=0.4, noise=2.0, quality=88, sunlight=0.3,
        ),
        _camera(
            "street", 1.3, (72, 84), exposure=0.83, gamma=0.85, warmth=-0.15, saturation=0.9, hue=-0.12, haze=0.12,
            pitch=0.4, blur=0.4, noise=6.0, quality=55, sunlight=0.2,
        ),
    ),
)  # fmt: skip

_HALL_AND_GATE = replace(
    _PLAZA_AND_STREET,
    views=(
        _camera(
            "hall", 0.1, (80, 92), exposure=0.95, gamma=0.9, warmth=0.02, saturation=0.85, hue=-0.1, haze=0.1,
            pitch=0.45, blur=0.5, noise=4.0, quality=65, sunlight=0.05,
        ),
        _camera(
            "campus", 2.0, (100, 116), exposure=0.9, gamma=1.1, warmth=-0.2, saturation=1.15, hue=0.2, haze=0.0,
            pitch=0.1, blur=0.3, noise=3.0, quality=80, sunlight=-0.3,
        ),
    ),
)  # fmt: skip

_VIDEO = replace(
    _CAMPUS,
    views=(
        _camera(
            "street", 1.2, (104, 120), exposure=1.0, gamma=1.0, warmth=0.05, saturation=0.9, hue=0.0, haze=0.0,
            pitch=0.3, blur=0.5, noise=3.0, quality=80, sunlight=0.2,
        ),
        _camera(
            "campus", 0.5, (110, 126), exposure=1.08, gamma=1.0, warmth=0.2, saturation=1.0, hue=0.15, haze=0.0,
            pitch=0.2, blur=0.4, noise=2.0, quality=88, sunlight=0.3,
        ),
        _camera(
            "hall", 2.0, (76, 88), exposure=0.76, gamma=0.85, warmth=-0.19, saturation=0.85, hue=-0.12, haze=0.12,
            pitch=0.45, blur=0.5, noise=6.0, quality=60, sunlight=0.05,
        ),
    ),
)  # fmt: skip


_WORLD_WARDROBE = Wardrobe(
    uppers=dict(
        tshirt=2.4, longsleeve=1.2, polo=1, tank=0.7, shirt=1.5, blouse=0.8, sweater=1.5, hoodie=1.8, cardigan=1,
        jacket=3, bomber=0.9, puffer=1.8, gilet=0.6, parka=1.5, blazer=1.1, coat=1.7, longcoat=0.6, vest=0.5, dress=0.8,
        longdress=0.5,
    ),
    lowers=dict(
        trousers=3, jeans=4.5, wide=1, skinny=1.6, cargo=0.8, track=0.9, shorts=1.3, hotpants=0.3, leggings=1,
        skirt=1, longskirt=0.5,
    ),
    patterns=dict(
        plain=9, stripes=1, pinstripes=0.5, checks=0.7, plaid=0.9, dots=0.4, zigzag=0.2, camouflage=0.5, floral=0.7,
        blotches=0.6, knit=0.8, denim=0.6, tweed=0.8, gradient=0.4, sleeves=0.8,
    ),
    upper_colors=dict(
        black=5, charcoal=2, navy=2, grey=1.8, white=1.8, brown=1.2, olive=1, khaki=0.8, wine=0.8, red=1.2, beige=1,
        blue=1, sky=0.7, green=0.7, teal=0.6, pink=0.7, purple=0.6, silver=0.7, cream=0.6, denim=0.9, orange=0.4,
        mustard=0.5, yellow=0.4, mint=0.3, lilac=0.3, magenta=0.3, **{"pale denim": 0.3},
    ),
    lower_colors=dict(
        denim=3.5, black=3.5, navy=2, charcoal=1.6, grey=1.2, brown=0.9, khaki=0.9, beige=0.9, olive=0.5, white=0.5,
        wine=0.3, red=0.3, pink=0.2, green=0.2, cream=0.3, purple=0.2, **{"pale denim": 1.5},
    ),
    bags=dict(none=4.5, backpack=1.8, handbag=0.8, satchel=1.6, tote=1, shopping=0.9, suitcase=0.5),
    hats=dict(none=8, cap=0.8, beanie=0.9, brim=0.3, hood=0.7, helmet=0.2),
    extras=dict(
        scarf=0.12, beard=0.12, glasses=0.18, phone=0.06, paper=0.06, umbrella=0.04, pushchair=0.02, bicycle=0.02
    ),
    usual=0.25,
)  # fmt: skip


# Anybody in front of any camera: what a network learns here is to be of use in places that were never drawn.
_WORLD = Domain(
    scene="campus",
    wardrobe=_WORLD_WARDROBE,
    views=tuple(dict(scene=kind) for kind in PLACES),
    exposure=(0.8, 1.7), gamma=(0.7, 1.2), warmth=(-0.25, 0.25), saturation=(0.4, 1.2), pitch=(0.0, 0.9),
    rows=(40, 128), blur=(0.0, 1.0), noise=(0.5, 8.0), quality=(30, 95), sunlight=(0.02, 0.34),
    hue=(-0.2, 0.2), haze=(0.0, 0.2), walk=1, slack=1.5, fill=(0.8, 1.1), aspect=(0.65, 1.0), alike=0.3,
    busy=0.5, changes=0.2, stride=(0.25, 0.62),
    arms=dict(swing=5, pockets=1.6, phone=0.8, front=1, crossed=0.5, carry=0.8, wide=0.6),
)  # fmt: skip

DOMAINS: Mapping[str, Domain] = dict(
    a=_CAMPUS, b=_STREET, c=_HALL, d=_PLAZA_AND_STREET, e=_HALL_AND_GATE, video=_VIDEO, world=_WORLD
)
"""``a`` summer on a campus; ``b`` winter in a street at dusk, dark clothes; ``c`` a hall from above, low resolution;
``d`` and ``e`` two cameras each, as unlike as real ones; ``video`` three cameras that people walk through; ``world``
any number of cameras, drawn as widely as they go, and detailed people."""
