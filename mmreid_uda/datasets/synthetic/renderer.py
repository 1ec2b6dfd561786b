"""Puts a person into a scene and films it: one crop of a synthetic re-ID dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import cv2
import numpy as np

from mmreid_uda.utils import make_rng

from ..transforms import filming as sensor
from .appearance import Identity, as_sighted, pick, sample_identity
from .domains import DOMAINS, Camera, Range, sample_camera
from .figure import Pose
from .pedestrian import draw_pedestrian
from .scene import Scene, draw_occluder, draw_scene

__all__ = [
    "CROP_SIZE",
    "DomainRenderer",
    "Sighting",
    "contact_sheet",
    "draw_lit",
    "expose",
    "film",
]

CROP_SIZE = (128, 64)
"""Height and width in pixels of a finished crop; it is drawn at twice that size."""

_HEIGHT, _WIDTH = 2 * CROP_SIZE[0], 2 * CROP_SIZE[1]


@dataclass(frozen=True)
class Sighting:
    """What the consecutive images of one person in one camera have in common.

    Attributes:
        camera: 0-based number of the camera.
        yaw: Direction of walking in radians.
        phase: Phase of the gait in the first image.
        stride: Largest angle of the thighs.
        arms: See :class:`~mmreid_uda.datasets.synthetic.figure.Pose`.
        x: Place in the scene, 0..1.
        ground: Place in the scene, 0..1 from the horizon to the camera.
        light: Factor on the brightness: in the sun or in a shadow.
        occasion: Number of what the person has on this occasion, where that changes.
    """

    camera: int
    yaw: float
    phase: float
    stride: float
    arms: str
    x: float
    ground: float
    light: float
    occasion: int = 0


class DomainRenderer:
    """Renders crops of one domain; equal arguments give equal images.

    Args:
        variant: One of :data:`~mmreid_uda.datasets.synthetic.domains.DOMAINS`.
        seed: Seed of everything that is drawn.
        num_cameras: Number of cameras, at least 1; more than the domain describes are drawn from its views in turn.
            Defaults to those that it describes.

    Attributes:
        views: The domain as each of its cameras has it.
        cameras: The domain's cameras.
    """

    def __init__(self, variant: str, seed: int = 0, num_cameras: int | None = None) -> None:
        self.variant = variant
        self.seed = seed
        self.domain = DOMAINS[variant]
        described = len(self.domain.views)
        self.views = [
            self.domain.view(number % described) for number in range(num_cameras or described)
        ]
        self.cameras = [
            sample_camera(self.rng("camera", number), view)
            for number, view in enumerate(self.views)
        ]

    def rng(self, *keys: int | str) -> np.random.Generator:
        """Generator of one part of the domain.

        Args:
            *keys: Name of the part.

        Returns:
            A new generator, equal for equal keys.
        """
        return make_rng(self.seed, "synthetic", self.variant, *keys)

    @cached_property
    def scenes(self) -> list[Scene]:
        """Background of every camera."""
        return [
            draw_scene(
                self.views[number].scene, camera.pitch, camera.sunlight, self.rng("scene", number)
            )
            for number, camera in enumerate(self.cameras)
        ]

    def identity(self, number: int) -> Identity:
        """The person with a number.

        Args:
            number: Any, 0-based.

        Returns:
            The person.
        """
        rng = self.rng("identity", number)
        who = sample_identity(rng, self.domain.wardrobe)
        if self.domain.alike and rng.random() < self.domain.alike and number % 4:
            # Strangers in the same clothes: body, hair and shoes have to tell them apart.
            like = self.identity(number - number % 4)
            who = replace(who, upper=like.upper, lower=like.lower)
            if rng.random() < 0.5:
                who = replace(who, bag=like.bag, bag_color=like.bag_color)
        return who

    def sighting(self, camera: int, rng: np.random.Generator) -> Sighting:
        """Draw how a person walks through a camera's view.

        Args:
            camera: Number of the camera, 0-based.
            rng: Generator of this sighting.

        Returns:
            The walk.
        """
        main = self.cameras[camera].yaws[int(rng.integers(2))]
        view = self.views[camera]
        yaw = main + rng.normal(0, 0.35) if rng.random() < 0.8 else rng.uniform(0, 2 * np.pi)
        return Sighting(
            camera=camera,
            yaw=float(yaw),
            phase=float(rng.uniform(0, 2 * np.pi)),
            stride=float(rng.uniform(*view.stride)) if rng.random() < 0.8 else 0.06,
            arms=pick(rng, view.arms),
            x=float(rng.uniform(*view.across)),
            ground=float(rng.uniform(*view.ground)),
            light=float(np.exp(rng.normal(0, 0.12))),
            occasion=int(rng.integers(1 << 30)) if view.changes else 0,
        )

    def render(
        self,
        who: Identity | None,
        sighting: Sighting,
        step: int,
        rng: np.random.Generator,
        *,
        sloppy: bool = False,
    ) -> np.ndarray:
        """Render one crop.

        Args:
            who: The person, or None for a false detection that shows the background.
            sighting: The person's walk through the camera's view.
            step: Number of the image within the sighting.
            rng: Generator of this image.
            sloppy: Whether the box is badly placed (junk and distractors).

        Returns:
            uint8 (128, 64, 3), BGR, before JPEG.
        """
        camera, view = self.cameras[sighting.camera], self.views[sighting.camera]
        x = sighting.x + 0.012 * step * np.sin(sighting.yaw) + rng.normal(0, 0.006)
        size = 0.55 + 0.6 * sighting.ground
        background = self.scenes[sighting.camera].window(
            float(np.clip(x, 0, 1)), sighting.ground, size
        )
        canvas = cv2.cvtColor(background, cv2.COLOR_BGR2BGRA)
        canvas[..., 3] = 0
        if rng.random() < 0.12:
            self._stranger(canvas, camera, rng, front=False)
        if who is not None:
            if view.changes:
                who = as_sighted(who, self.rng("occasion", sighting.occasion), view.changes)
            self._person(canvas, who, sighting, step, rng, sloppy)
        picture = canvas[..., :3]
        if rng.random() < camera.occlusion:
            if rng.random() < 0.3:
                self._stranger(canvas, camera, rng, front=True)
            else:
                draw_occluder(canvas, view.scene, rng)
        if view.aspect is not None:
            picture = _detect(picture, view.aspect, rng)
        return film(picture, camera, sighting.light, rng)

    def _person(
        self,
        canvas: np.ndarray,
        who: Identity,
        sighting: Sighting,
        step: int,
        rng: np.random.Generator,
        sloppy: bool,
    ) -> None:
        camera = self.cameras[sighting.camera]
        spread = 5.0 if sloppy else camera.slack
        height = _HEIGHT * float(rng.uniform(*camera.fill) if not sloppy else rng.uniform(0.7, 1.5))
        foot = _HEIGHT * (0.5 + float(rng.normal(0, 0.02 * spread))) + height / 2
        x = _WIDTH * (0.5 + float(rng.normal(0, 0.035 * spread)))
        pose = Pose(
            yaw=sighting.yaw + float(rng.normal(0, 0.12)),
            phase=sighting.phase + 1.9 * step + float(rng.normal(0, 0.5)),
            stride=sighting.stride,
            arms=sighting.arms,
            pitch=camera.pitch,
            lean=float(rng.normal(0, 0.012)),
            light=camera.sunlight,
        )
        draw_lit(canvas, who, pose, (x, foot, height), camera.sunlight, rng)

    def _stranger(
        self, canvas: np.ndarray, camera: Camera, rng: np.random.Generator, front: bool
    ) -> None:
        """Another person, further away or in front and cut off by the edge of the crop."""
        who = _stranger_identity(self.variant, self.seed, int(rng.integers(64)))
        side = 0.0 if rng.random() < 0.5 else float(_WIDTH)
        pose = Pose(
            yaw=float(rng.uniform(0, 2 * np.pi)),
            phase=float(rng.uniform(0, 6)),
            stride=0.4,
            pitch=camera.pitch,
        )
        height = _HEIGHT * float(rng.uniform(1.0, 1.15) if front else rng.uniform(0.55, 0.85))
        inwards = float(rng.uniform(0, 26))
        foot = _HEIGHT * (1.06 if front else 0.5 + 0.45 * height / _HEIGHT)
        draw_pedestrian(canvas, who, pose, abs(side - inwards), foot, height)
        if not front:
            canvas[..., 3] = 0


def _detect(picture: np.ndarray, aspect: Range, rng: np.random.Generator) -> np.ndarray:
    """Cut the box of a detector whose boxes are narrower than the crop, which they are then stretched to."""
    width = round(_WIDTH * float(rng.uniform(*aspect)))
    left = round((_WIDTH - width) * float(np.clip(rng.normal(0.5, 0.15), 0, 1)))
    return cv2.resize(
        picture[:, left : left + width], (_WIDTH, _HEIGHT), interpolation=cv2.INTER_LINEAR
    )


@lru_cache(maxsize=256)
def _stranger_identity(variant: str, seed: int, number: int) -> Identity:
    rng = make_rng(seed, "synthetic", variant, "stranger", number)
    return sample_identity(rng, DOMAINS[variant].wardrobe)


def draw_lit(
    canvas: np.ndarray,
    who: Identity,
    pose: Pose,
    place: tuple[float, float, float],
    sunlight: float,
    rng: np.random.Generator,
) -> None:
    """Draw a person with the light on the body and the shadow on the ground.

    Args:
        canvas: uint8 (H, W, 4), BGR and an empty silhouette, drawn on in place.
        who: The person.
        pose: How the person is seen.
        place: Column of the body's axis, row of the ground and height of the person in pixels.
        sunlight: See :class:`~mmreid_uda.datasets.synthetic.domains.Camera`.
        rng: Generator of the folds of the clothes.
    """
    x, foot, height = place
    _contact_shadow(canvas, x, foot, height, sunlight)
    draw_pedestrian(canvas, who, pose, x, foot, height)
    _light_body(canvas, x, height, sunlight, rng)


def _contact_shadow(
    canvas: np.ndarray, x: float, foot: float, height: float, sunlight: float
) -> None:
    """Darken the ground below the feet, and a cast shadow away from the light."""
    size = canvas.shape[1::-1]
    shadow = np.zeros((size[1] // 4, size[0] // 4), np.uint8)
    length = height * (0.1 + abs(sunlight))
    center = ((x - np.sign(sunlight) * length * 0.6) / 4, (foot - 2) / 4)
    axes = (max(1, round(length / 4)), max(1, round(height * 0.025 / 4)))
    cv2.ellipse(shadow, (round(center[0]), round(center[1])), axes, 0.0, 0.0, 360.0, 120.0, -1)
    soft = cv2.resize(cv2.blur(shadow, (5, 3)), size, interpolation=cv2.INTER_LINEAR)
    canvas[..., :3] = cv2.multiply(canvas[..., :3], cv2.merge([255 - soft] * 3), scale=1 / 255)


def _light_body(
    canvas: np.ndarray, x: float, height: float, sunlight: float, rng: np.random.Generator
) -> None:
    """Shade the silhouette: a lit and a dark side, folds of cloth, darker legs."""
    rows, width = canvas.shape[:2]
    columns = np.clip((np.arange(width) - x) / (0.14 * height), -1.3, 1.3)
    sides = 1 + 0.9 * sunlight * columns - 0.06 * columns**2
    folds = cv2.resize(
        rng.normal(0, 0.085, (26, 10)).astype(np.float32),
        (width, rows),
        interpolation=cv2.INTER_CUBIC,
    )
    shade = (sides[None, :] + folds) * np.linspace(1.04, 0.9, rows)[:, None]
    weight = canvas[..., 3] / np.float32(255)
    factor = (1 + weight * (shade - 1)).astype(np.float32)
    lit = cv2.multiply(canvas[..., :3], cv2.merge([factor] * 3), dtype=cv2.CV_8U)
    canvas[..., :3] = lit


def film(picture: np.ndarray, camera: Camera, light: float, rng: np.random.Generator) -> np.ndarray:
    """What a camera makes of a picture: resolution, blur, colour, tone curve and noise.

    Args:
        picture: uint8 (256, 128, 3), BGR.
        camera: The camera.
        light: Factor on the brightness of this image.
        rng: Generator of this image.

    Returns:
        uint8 (128, 64, 3), BGR.
    """
    rows = min(CROP_SIZE[0], round(rng.uniform(*camera.rows)))
    small = sensor.coarsen(picture, rows)
    # The sensor sees the light before the person is cut out and enlarged: noise is as coarse as the resolution.
    frame = expose(small, camera, light, rng)
    crop = cv2.resize(frame, CROP_SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    blur = camera.blur * rng.uniform(0.6, 1.4)
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), blur) if blur > 0.2 else crop, np.uint8)


def expose(
    picture: np.ndarray, camera: Camera, light: float, rng: np.random.Generator
) -> np.ndarray:
    """What the sensor of a camera makes of the light: colour, tone curve and noise.

    Args:
        picture: uint8 (H, W, 3), BGR.
        camera: The camera.
        light: Factor on the brightness.
        rng: Generator of the noise.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    return sensor.expose(
        picture,
        rng,
        gains=np.array(camera.gains, np.float32) * np.float32(light),
        curve=camera.curve,
        saturation=camera.saturation,
        hue=camera.hue,
        haze=camera.haze,
        noise=camera.noise,
    )


def contact_sheet(
    variants: Sequence[str] = ("a", "b", "c"), num_ids: int = 12, seed: int = 0
) -> np.ndarray:
    """Picture of what the domains look like: a row per identity, a column per camera, domains side by side.

    Args:
        variants: Domains.
        num_ids: Identities of each.
        seed: Seed of the domains.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    blocks: list[np.ndarray] = []
    for variant in variants:
        renderer = DomainRenderer(variant, seed)
        rows = [
            np.hstack([_sample(renderer, pid, camera) for camera in range(len(renderer.cameras))])
            for pid in range(1, num_ids + 1)
        ]
        block = np.vstack(rows)
        blocks += [np.full((len(block), 8, 3), 255, np.uint8), block]
    return np.hstack(blocks[1:])


def _sample(renderer: DomainRenderer, pid: int, camera: int) -> np.ndarray:
    rng = renderer.rng("sheet", pid, camera)
    return renderer.render(renderer.identity(pid), renderer.sighting(camera, rng), 0, rng)
