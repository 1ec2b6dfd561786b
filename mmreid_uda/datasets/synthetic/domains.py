"""The synthetic domains: what people wear there, how the place looks, and what the cameras do to the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .appearance import Wardrobe

__all__ = ["DOMAINS", "NUM_CAMERAS", "Camera", "Domain", "sample_camera"]

NUM_CAMERAS = 6

Range = tuple[float, float]


@dataclass(frozen=True)
class Domain:
    """A place with its people and its cameras. Ranges are those that single cameras are drawn from.

    Attributes:
        scene: ``campus``, ``street`` or ``hall``.
        wardrobe: What people wear.
        exposure: Factor on the light.
        gamma: Exponent of the tone curve; above 1 darkens the middle tones.
        warmth: White balance: positive is yellowish, negative bluish; 0.2 changes red and blue by 20 %.
        saturation: 0 grey, 1 unchanged.
        pitch: See :class:`~mmreid_uda.datasets.synthetic.pedestrian.Pose`.
        rows: Height in pixels at which the person was filmed; the crop is enlarged from it.
        blur: Standard deviation of the blur in pixels of the crop.
        noise: Standard deviation of the noise, 0..255.
        quality: JPEG quality.
        sunlight: Contrast between the lit and the shaded side of a body.
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


def sample_camera(rng: np.random.Generator, domain: Domain) -> Camera:
    """Draw a camera of a domain.

    Args:
        rng: Generator of this camera.
        domain: The domain.

    Returns:
        The camera.
    """
    exposure, warmth = rng.uniform(*domain.exposure), rng.uniform(*domain.warmth)
    tint = rng.uniform(-0.04, 0.04)
    gains = (exposure * (1 - warmth), exposure * (1 + tint), exposure * (1 + warmth))
    rows = rng.uniform(*domain.rows)
    direction = rng.uniform(0, 2 * np.pi)
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

DOMAINS: Mapping[str, Domain] = dict(a=_CAMPUS, b=_STREET, c=_HALL)
"""``a`` summer on a campus; ``b`` winter in a street at dusk, dark clothes; ``c`` a hall from above, low resolution."""
