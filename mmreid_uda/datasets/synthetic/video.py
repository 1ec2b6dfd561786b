"""Rendered video: people walk through the views of cameras, cover each other, and a tracker follows them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, Fraction, Natural, Positive, checked

from .appearance import Identity
from .cache import write_jpeg
from .figure import Pose
from .lighting import draw_lit
from .renderer import CROP_SIZE, DomainRenderer, Sighting, expose

__all__ = [
    "FRAME_RATE",
    "FRAME_SIZE",
    "Box",
    "Passage",
    "Video",
    "VideoSpec",
    "cut",
    "write_sequence",
]

FRAME_SIZE = (360, 640)
"""Height and width of a frame in pixels."""
FRAME_RATE = 8.0
"""Frames per second."""

_FOCAL = 480.0
"""Height in pixels of a person at a distance of one body height."""
_REACH = 5.5
"""Seconds before and after the middle of a passage in which it can be in view."""
_DISTANCES = (2.4, 7.5)
"""Body heights to the nearest and the farthest place where people are drawn."""
_MARGIN = 160
"""Pixels around a frame in which people are drawn before they are cut off."""
_ASPECT = 0.46
"""Width of a box over its height."""
_DETECTED = 0.4
"""Share of a person that must be visible for the tracker to see the person."""
_PATIENCE = 8
"""Frames after which the tracker gives up a person it does not see."""
_CROSSING = 0.35
"""Intersection over union of two boxes that a tracker can mix up."""
_STEPS = 5.0
"""Radians of the gait for each body height that is walked."""
_ROWS = np.linspace(0.03, 0.97, 16)


@checked
@dataclass(frozen=True)
class VideoSpec:
    """What is filmed; equal specifications give equal frames.

    Attributes:
        cameras: Cameras that run at the same time and do not overlap, at most 3.
        people: People, numbered from ``first_pid``, each of whom passes ``rounds`` times.
        rounds: How often each person comes by; in turn through all cameras, in an order of the person's own.
        seconds: Length of the video, at least 12 seconds a round.
        switches: Share of the tracklets that go on with another person after a crossing, so far as people cross.
        first_pid: Number of the first person.
        seed: Seed of people, cameras, scenes and walks.
    """

    cameras: Count = 3
    people: Count = 30
    rounds: Count = 3
    seconds: Positive = 60.0
    switches: Fraction = 0.1
    first_pid: Count = 1
    seed: Natural = 0


@dataclass(frozen=True)
class Passage:
    """One walk of one person through the view of one camera. Lengths are in body heights, times in seconds.

    Attributes:
        pid: The person.
        round: How often the person came by before.
        camera: Number of the camera, 0-based.
        middle: Time at which the person is at ``x`` and ``distance``.
        x: Place to the right of the camera's axis.
        distance: Distance from the camera.
        speed: Per second.
        walk: Direction and gait.
        wobble: Phases in radians of the tracker's errors.
    """

    pid: int
    round: int
    camera: int
    middle: float
    x: float
    distance: float
    speed: float
    walk: Sighting
    wobble: tuple[float, ...]

    def at(self, time: float) -> tuple[float, float]:
        """Where the person is.

        Args:
            time: In seconds.

        Returns:
            Place to the right of the camera's axis, and distance.
        """
        gone = self.speed * (time - self.middle)
        return (
            self.x + gone * float(np.sin(self.walk.yaw)),
            self.distance - gone * float(np.cos(self.walk.yaw)),
        )


@dataclass(frozen=True)
class Box:
    """A person in a frame as the tracker sees it.

    Attributes:
        frame: Number of the frame, 0-based.
        pid: Who it is.
        round: How often the person came by before.
        track: Who the tracker thinks it is: a number within the camera, from 1.
        left, top, width, height: In pixels; the frame may cut it off.
        visible: Share that lies in the frame and that no nearer person covers, 0..1.
    """

    frame: int
    pid: int
    round: int
    track: int
    left: float
    top: float
    width: float
    height: float
    visible: float


class Video:
    """People who walk, the frames of the cameras that see them, and what a tracker makes of these.

    Args:
        spec: What is filmed.

    Raises:
        InputError: There are not so many cameras, or the video is too short.
    """

    def __init__(self, spec: VideoSpec) -> None:
        self.spec = spec
        self.renderer = DomainRenderer("video", spec.seed)
        if spec.cameras > len(self.renderer.cameras):
            raise InputError(
                f"found cameras={spec.cameras} for a rendered video, expected at most {len(self.renderer.cameras)}; "
                "change cameras"
            )
        if spec.seconds < 2 * (_REACH + 0.5) * spec.rounds:
            raise InputError(
                f"found seconds={spec.seconds:g} for a rendered video in which people come by {spec.rounds} times, "
                f"expected at least {2 * (_REACH + 0.5) * spec.rounds:g}; raise seconds, or lower rounds"
            )

    @property
    def num_frames(self) -> int:
        """Frames of each camera."""
        return round(self.spec.seconds * FRAME_RATE)

    @cached_property
    def passages(self) -> list[list[Passage]]:
        """The walks through each camera."""
        spec = self.spec
        rng = self.renderer.rng("video", spec.first_pid)
        length = spec.seconds / spec.rounds
        # People come by in one order, more or less: nobody is in two places at once.
        order = (rng.permutation(spec.people) + rng.uniform(size=spec.people)) / spec.people
        early = 0.5 - _REACH / length
        found: list[list[Passage]] = [[] for _ in range(spec.cameras)]
        for person, slot in enumerate(order.tolist()):
            cameras = np.concatenate(
                [rng.permutation(spec.cameras) for _ in range(-(-spec.rounds // spec.cameras))]
            )
            for number, camera in enumerate(cameras[: spec.rounds].tolist()):
                middle = length * (number + slot + rng.uniform(-early, early))
                passage = self._passage(spec.first_pid + person, number, camera, middle, rng)
                found[camera].append(passage)
        return found

    def _passage(
        self, pid: int, number: int, camera: int, middle: float, rng: np.random.Generator
    ) -> Passage:
        walk = self.renderer.sighting(camera, rng)
        return Passage(
            pid=pid,
            round=number,
            camera=camera,
            middle=middle,
            x=float(rng.uniform(-1.0, 1.0)),
            distance=float(rng.uniform(3.4, 5.6)),
            speed=float(rng.uniform(0.75, 1.05)),
            walk=replace(walk, stride=float(rng.uniform(0.3, 0.52))),
            wobble=tuple(rng.uniform(0, 2 * np.pi, 4).tolist()),
        )

    # ------------------------------------------------------------------------------------------------ geometry

    def _place(self, passage: Passage, frame: int) -> tuple[float, float, float] | None:
        """Column, row of the ground and height in pixels; None where the person is not in view."""
        time = frame / FRAME_RATE
        x, distance = passage.at(time)
        near, far = _DISTANCES
        if abs(time - passage.middle) > _REACH or not near < distance < far:
            return None
        height = _FOCAL / distance
        column = FRAME_SIZE[1] / 2 + x * height
        if not -0.3 * height < column < FRAME_SIZE[1] + 0.3 * height:
            return None
        return (
            column,
            self._horizon(passage.camera) + self._elevation(passage.camera) * height,
            height,
        )

    def _horizon(self, camera: int) -> float:
        scene = self.renderer.scenes[camera]
        return scene.horizon * FRAME_SIZE[0] / scene.image.shape[0]

    def _elevation(self, camera: int) -> float:
        """Height of the camera in body heights."""
        return 1 + self.renderer.cameras[camera].pitch

    def _seen(self, camera: int, frame: int) -> list[tuple[Passage, tuple[float, float, float]]]:
        """Who is in view, the farthest first."""
        places = [
            (passage, place)
            for passage in self.passages[camera]
            if (place := self._place(passage, frame)) is not None
        ]
        return sorted(places, key=lambda entry: entry[1][2])

    # ------------------------------------------------------------------------------------------------ tracker

    @cached_property
    def boxes(self) -> list[list[Box]]:
        """What the tracker finds in each camera, in the order of the frames."""
        return [self._track(camera) for camera in range(self.spec.cameras)]

    def _track(self, camera: int) -> list[Box]:
        """Follow people while they are seen; then give the wrong number to some of those who cross."""
        last: dict[int, tuple[int, int]] = {}  # number of the passage -> last frame, track
        found: list[Box] = []
        tracks = 0
        for frame in range(self.num_frames):
            for number, box in self._detections(camera, frame):
                before, track = last.get(number, (-_PATIENCE - 1, 0))
                if frame - before > _PATIENCE:
                    tracks += 1
                    track = tracks
                last[number] = (frame, track)
                found.append(replace(box, track=track))
        return self._mix_up(camera, found)

    def _detections(self, camera: int, frame: int) -> Iterator[tuple[int, Box]]:
        """Boxes in one frame, each with the number of its passage, of people who can be seen well enough."""
        seen = [
            (passage, _box(passage, frame, place)) for passage, place in self._seen(camera, frame)
        ]
        for order, (passage, box) in enumerate(seen):
            visible = _visible(box, [nearer for _, nearer in seen[order + 1 :]])
            if visible >= _DETECTED:
                yield id(passage), replace(box, visible=visible)

    def _mix_up(self, camera: int, boxes: list[Box]) -> list[Box]:
        """Let two tracks change their people where these cross, until the share of such tracks is reached."""
        frames: dict[int, list[int]] = {}
        crossings: dict[tuple[int, int], int] = {}
        for frame, group in itertools.groupby(boxes, key=lambda box: box.frame):
            together = list(group)
            for box in together:
                frames.setdefault(box.track, []).append(frame)
            for one, other in itertools.combinations(together, 2):
                if _overlap(one, other) >= _CROSSING:
                    crossings.setdefault((one.track, other.track), frame)
        wanted = round(self.spec.switches * len(frames) / 2)
        rng = self.renderer.rng("switches", camera, self.spec.first_pid)
        swaps: dict[int, tuple[int, int]] = {}  # track -> frame, the other track
        for number in rng.permutation(len(crossings)).tolist():
            (one, other), frame = list(crossings.items())[number]
            inside = all(
                frames[track][0] + _PATIENCE <= frame <= frames[track][-1] - _PATIENCE
                for track in (one, other)
            )
            if inside and len(swaps) < 2 * wanted and not {one, other} & set(swaps):
                swaps |= {one: (frame, other), other: (frame, one)}
        return [
            replace(box, track=swaps[box.track][1])
            if box.track in swaps and box.frame > swaps[box.track][0]
            else box
            for box in boxes
        ]

    # ------------------------------------------------------------------------------------------------ pictures

    def frame(self, camera: int, frame: int) -> np.ndarray:
        """Film one frame.

        Args:
            camera: Number of the camera, 0-based.
            frame: Number of the frame, 0-based.

        Returns:
            uint8 (360, 640, 3), BGR, before JPEG.
        """
        time = frame / FRAME_RATE
        canvas = self._backgrounds[camera].copy()
        for passage, (column, foot, height) in self._seen(camera, frame):
            x, y = column + _MARGIN, foot + _MARGIN
            left, right = max(0, round(x - 0.5 * height)), round(x + 0.5 * height)
            top, bottom = max(0, round(y - 1.2 * height)), round(y + 0.2 * height)
            patch = np.ascontiguousarray(canvas[top:bottom, left:right])
            patch[..., 3] = 0
            walk = passage.walk
            pose = Pose(
                yaw=walk.yaw,
                phase=walk.phase + _STEPS * passage.speed * time,
                stride=walk.stride,
                arms=walk.arms,
                pitch=self.renderer.cameras[camera].pitch,
            )
            rng = self.renderer.rng("folds", passage.pid, camera)
            place = (x - left, y - top, height)
            draw_lit(
                patch,
                self._people[passage.pid],
                pose,
                place,
                self.renderer.cameras[camera].sunlight,
                rng,
            )
            canvas[top:bottom, left:right] = patch
        picture = canvas[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN, :3]
        return self._film(picture, camera, frame)

    def _film(self, picture: np.ndarray, camera: int, frame: int) -> np.ndarray:
        settings = self.renderer.cameras[camera]
        sharpness = min(1.0, sum(settings.rows) / 2 / CROP_SIZE[0])
        size = (round(FRAME_SIZE[1] * sharpness), round(FRAME_SIZE[0] * sharpness))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        light = float(np.exp(0.1 * np.sin(frame / FRAME_RATE / 5 + camera)))
        exposed = expose(small, settings, light, self.renderer.rng("frame", camera, frame))
        filmed = cv2.resize(exposed, FRAME_SIZE[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.GaussianBlur(filmed, (0, 0), settings.blur), np.uint8)

    @cached_property
    def _people(self) -> dict[int, Identity]:
        first = self.spec.first_pid
        return {pid: self.renderer.identity(pid) for pid in range(first, first + self.spec.people)}

    @cached_property
    def _backgrounds(self) -> list[np.ndarray]:
        """Scenes at the size of a frame, with the margin around it and an empty silhouette."""
        found = []
        for scene in self.renderer.scenes:
            image = cv2.resize(scene.image, FRAME_SIZE[::-1], interpolation=cv2.INTER_AREA)
            padded = cv2.copyMakeBorder(
                image, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_REPLICATE
            )
            found.append(cv2.cvtColor(padded, cv2.COLOR_BGR2BGRA))
        return found


def cut(frame: np.ndarray, box: Box) -> np.ndarray:
    """Cut a box out of its frame.

    Args:
        frame: uint8 (360, 640, 3), BGR.
        box: May reach beyond the frame; what is outside is left away.

    Returns:
        uint8 (128, 64, 3), BGR.
    """
    left, top = max(0, round(box.left)), max(0, round(box.top))
    right, bottom = round(box.left + box.width), round(box.top + box.height)
    crop = frame[top:bottom, left:right]
    return np.asarray(cv2.resize(crop, CROP_SIZE[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def write_sequence(
    video: Video, camera: int, folder: str, update: Callable[[int], None] | None = None
) -> None:
    """Write what a camera filmed as a sequence of the MOTChallenge, with the tracks of the tracker and the truth.

    ``img1/000001.jpg`` and so on are the frames, ``seqinfo.ini`` describes them, ``TRACKS.txt`` is the tracker's result
    (``frame,id,left,top,width,height,confidence,x,y,z``; everything counts from 1), and ``gt/gt.txt`` has the same
    boxes with the numbers of the people (``frame,id,left,top,width,height,flag,class,visibility``).

    Args:
        video: The video.
        camera: Number of the camera, 0-based.
        folder: Where to; made if missing.
        update: Called after every frame with the number of frames done. Defaults to None.

    Raises:
        OSError: The folder cannot be written.
    """
    for name in ("img1", "gt"):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    places = [
        (box, f"{box.left + 1:.1f},{box.top + 1:.1f},{box.width:.1f},{box.height:.1f}")
        for box in video.boxes[camera]
    ]
    texts = {
        "seqinfo.ini": [
            "[Sequence]",
            f"name={os.path.basename(os.path.abspath(folder))}",
            "imDir=img1",
            f"frameRate={FRAME_RATE:g}",
            f"seqLength={video.num_frames}",
            f"imWidth={FRAME_SIZE[1]}",
            f"imHeight={FRAME_SIZE[0]}",
            "imExt=.jpg",
        ],
        "TRACKS.txt": [
            f"{box.frame + 1},{box.track},{place},{box.visible:.2f},-1,-1,-1"
            for box, place in places
        ],
        os.path.join("gt", "gt.txt"): [
            f"{box.frame + 1},{box.pid},{place},1,1,{box.visible:.2f}" for box, place in places
        ],
    }
    for name, lines in texts.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    for number in range(video.num_frames):
        path = os.path.join(folder, "img1", f"{number + 1:06d}.jpg")
        write_jpeg(path, video.frame(camera, number), video.renderer.cameras[camera].quality)
        if update is not None:
            update(number + 1)


def _box(passage: Passage, frame: int, place: tuple[float, float, float]) -> Box:
    """Where a tracker draws the box: near the person, with errors that change slowly."""
    time, (column, foot, height) = frame / FRAME_RATE, place
    high, across, down, wide = (
        float(np.sin(phase + rate * time))
        for phase, rate in zip(passage.wobble, (1.7, 1.3, 2.1, 0.9))
    )
    tall = height * (1.14 + 0.06 * high)
    width = _ASPECT * tall * (1 + 0.1 * wide)
    left = column + 0.05 * height * across - width / 2
    top = foot + height * (0.06 + 0.03 * down) - tall
    return Box(frame, passage.pid, passage.round, 0, left, top, width, tall, 1.0)


def _visible(box: Box, nearer: Sequence[Box]) -> float:
    """Share of the middle of a box that is in the frame and that the middles of no nearer boxes cover."""
    columns, rows = _middle(box, np.linspace(0.03, 0.97, 8)), box.top + box.height * _ROWS
    open_ = np.outer(
        (rows >= 0) & (rows < FRAME_SIZE[0]), (columns >= 0) & (columns < FRAME_SIZE[1])
    )
    for other in nearer:
        left, right = _middle(other, np.array((0.0, 1.0)))
        open_ &= ~np.outer(
            (rows >= other.top) & (rows < other.top + other.height),
            (columns >= left) & (columns < right),
        )
    return float(open_.mean())


def _middle(box: Box, shares: np.ndarray) -> np.ndarray:
    """Columns of the part of a box, six tenths of its width, that a body fills."""
    return box.left + box.width * (0.2 + 0.6 * shares)


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    both = max(0.0, width) * max(0.0, height)
    return both / (one.width * one.height + other.width * other.height - both)
