"""Puts a person into a scene and films it: one crop of a synthetic re-ID dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import cv2
import numpy as np

from mmreid_uda.utils import InputError, make_rng

from ..transforms import filming as sensor
from .appearance import Identity, as_sighted, pick, sample_identity
from .company import cut_off, draw_cover, draw_others
from .domains import DOMAINS, Camera, Range, sample_camera
from .figure import Pose
from .frames import read_frames
from .lighting import cast_shadow, draw_lit, draw_patches
from .pedestrian import draw_pedestrian
from .scene import HEIGHT, WIDTH, Scene, draw_occluder, draw_scene, horizon_of

__all__ = [
    "CROP_SIZE",
    "DomainRenderer",
    "Sighting",
    "contact_sheet",
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
        backgrounds: Folder of empty frames that serve the cameras in turn, in place of drawn places.

    Attributes:
        views: The domain as each of its cameras has it.
        cameras: The domain's cameras.

    Raises:
        InputError: There is no such domain.
    """

    def __init__(
        self,
        variant: str,
        seed: int = 0,
        num_cameras: int | None = None,
        backgrounds: str | None = None,
    ) -> None:
        if variant not in DOMAINS:
            raise InputError(
                f"there is no rendered domain '{variant}', expected one of {', '.join(DOMAINS)}; change variant"
            )
        self.variant = variant
        self.seed = seed
        self.backgrounds = backgrounds
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
        if self.backgrounds is not None:
            frames = read_frames(self.backgrounds, (HEIGHT, WIDTH))
            return [
                Scene(frames[number % len(frames)], horizon_of(camera.pitch))
                for number, camera in enumerate(self.cameras)
            ]
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
        if who is not None and view.changes:
            who = as_sighted(who, self.rng("occasion", sighting.occasion), view.changes)
        if view.busy:
            picture = self._busy(canvas, who, sighting, step, rng, sloppy)
        else:
            picture = self._quiet(canvas, who, sighting, step, rng, sloppy)
        if view.aspect is not None:
            picture = _detect(picture, view.aspect, rng)
        return film(picture, camera, sighting.light, rng)

    def _quiet(
        self,
        canvas: np.ndarray,
        who: Identity | None,
        sighting: Sighting,
        step: int,
        rng: np.random.Generator,
        sloppy: bool,
    ) -> np.ndarray:
        """The person, now and then with one other person or thing."""
        camera = self.cameras[sighting.camera]
        if rng.random() < 0.12:
            self._stranger(canvas, camera, rng, front=False)
        if who is not None:
            self._person(canvas, who, sighting, step, rng, sloppy)
        if rng.random() < camera.occlusion:
            if rng.random() < 0.3:
                self._stranger(canvas, camera, rng, front=True)
            else:
                draw_occluder(canvas, self.views[sighting.camera].scene, rng)
        return cv2.cvtColor(canvas, cv2.COLOR_BGRA2BGR)

    def _busy(
        self,
        canvas: np.ndarray,
        who: Identity | None,
        sighting: Sighting,
        step: int,
        rng: np.random.Generator,
        sloppy: bool,
    ) -> np.ndarray:
        """The person among others, behind things, in light and shade, at the border of the frame."""
        camera, busy = self.cameras[sighting.camera], self.views[sighting.camera].busy
        stranger = _Stranger(self.variant, self.seed)
        others = partial(draw_others, canvas, camera, sighting.yaw, stranger, rng)
        if rng.random() < busy:
            others(front=False)
        if who is not None:
            self._person(canvas, who, sighting, step, rng, sloppy)
            cast_shadow(canvas, camera.sunlight, camera.pitch)
        if rng.random() < busy * min(1.0, 4 * abs(camera.sunlight)):
            draw_patches(canvas, float(rng.uniform(0.2, 0.6)), rng)
        if rng.random() < camera.occlusion:
            draw_cover(canvas, rng)
        if rng.random() < camera.occlusion:
            others(front=True)
        picture = cv2.cvtColor(canvas, cv2.COLOR_BGRA2BGR)
        return cut_off(picture, rng) if rng.random() < 0.25 * busy else picture

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


@dataclass(frozen=True)
class _Stranger:
    """Gives the strangers of a domain by number; equal for equal domains, unlike functions."""

    variant: str
    seed: int

    def __call__(self, number: int) -> Identity:
        return _stranger_identity(self.variant, self.seed, number)


@lru_cache(maxsize=256)
def _stranger_identity(variant: str, seed: int, number: int) -> Identity:
    rng = make_rng(seed, "synthetic", variant, "stranger", number)
    return sample_identity(rng, DOMAINS[variant].wardrobe)


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
    variants: Sequence[str] = ("a", "b", "c"),
    num_ids: int = 12,
    seed: int = 0,
    num_cameras: int | None = None,
    backgrounds: str | None = None,
) -> np.ndarray:
    """Picture of what the domains look like: a row per identity, a column per camera, domains side by side.

    Args:
        variants: Domains.
        num_ids: Identities of each.
        seed: Seed of the domains.
        num_cameras: See :class:`DomainRenderer`.
        backgrounds: See :class:`DomainRenderer`.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    blocks: list[np.ndarray] = []
    for variant in variants:
        renderer = DomainRenderer(variant, seed, num_cameras, backgrounds)
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
