"""Crops of rendered video, with time and tracklet: what is rendered, and the dataset that reads it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils.choices import Split
from mmreid_uda.utils.values import Fraction, Natural, checked

from ..market1501 import MarketStyleDataset
from .cache import ensure_rendered, write_jpeg
from .video import FRAME_RATE, Box, Video, VideoSpec, cut

__all__ = ["SyntheticVideo", "SyntheticVideoSpec"]

_EVERY = 4
"""Frames from one crop of a person to the next."""
_CHUNK = 100
"""Frames of a job."""

Part = Literal["train", "test"]
_NumIds = Annotated[int, Ge(2)]


@checked
@dataclass(frozen=True)
class SyntheticVideoSpec:
    """What is rendered; equal specifications give equal images.

    Attributes:
        cameras: 1, or 3 that differ strongly.
        num_train_ids: People in the video for training, numbered from 1.
        num_test_ids: Further people, in another video by the same cameras.
        switches: See :class:`VideoSpec`.
        seed: Seed of people, cameras, scenes and walks.
    """

    cameras: Literal[1, 3] = 1
    num_train_ids: _NumIds = 24
    num_test_ids: _NumIds = 16
    switches: Fraction = 0.1
    seed: Natural = 0

    unit: ClassVar[str] = "pieces of video"

    @property
    def folder_name(self) -> str:
        """Name that differs for other parameters."""
        name = f"video{self.cameras}"
        if self == SyntheticVideoSpec(self.cameras):
            return name
        return (
            f"{name}_train{self.num_train_ids}_test{self.num_test_ids}_switches{self.switches:g}"
            f"_seed{self.seed}"
        )

    def video(self, part: Part) -> VideoSpec:
        """The video for training, or the one for tests.

        Args:
            part: Which.

        Returns:
            Everyone comes by four times, or twice in each of the three cameras; some five people are in view at once.
        """
        people = self.num_train_ids if part == "train" else self.num_test_ids
        rounds = 4 if self.cameras == 1 else 2 * self.cameras
        return VideoSpec(
            cameras=self.cameras,
            people=people,
            rounds=rounds,
            seconds=rounds * max(14.0, 1.25 * people / self.cameras),
            switches=self.switches,
            first_pid=1 if part == "train" else 1 + self.num_train_ids,
            seed=self.seed,
        )

    def jobs(self) -> list[tuple[Part, int, int]]:
        """What is rendered in one go.

        Returns:
            Part, camera and first frame of pieces of video.
        """
        parts: tuple[Part, ...] = ("train", "test")
        return [
            (part, camera, first)
            for part in parts
            for camera in range(self.cameras)
            for first in range(0, round(self.video(part).seconds * FRAME_RATE), _CHUNK)
        ]

    def render(self, folder: str, job: tuple[Part, int, int]) -> None:
        """Render the crops of one piece of video.

        Args:
            folder: Where the three folders lie.
            job: Part, camera and first frame.
        """
        part, camera, first = job
        video = _video(self.video(part))
        queries = _queries(video) if part == "test" else set()
        boxes = [box for box in video.boxes[camera] if first <= box.frame < first + _CHUNK]
        for number, group in itertools.groupby(boxes, key=lambda box: box.frame):
            if number % _EVERY:
                continue
            frame = video.frame(camera, number)
            for box in group:
                split = "bounding_box_train"
                if part == "test":
                    if box.round < video.spec.rounds // 2:
                        if box not in queries:
                            continue
                        split = "query"
                    else:
                        split = "bounding_box_test"
                name = f"{box.pid:04d}C{camera + 1}T{box.track:04d}F{number:06d}.jpg"
                write_jpeg(
                    os.path.join(folder, split, name),
                    cut(frame, box),
                    video.renderer.cameras[camera].quality,
                )


@lru_cache(maxsize=2)
def _video(spec: VideoSpec) -> Video:
    return Video(spec)


def _queries(video: Video) -> set[Box]:
    """The best box of every walk: the one that shows most of the person, and of such ones the largest."""
    found: dict[tuple[int, int], Box] = {}
    for box in itertools.chain(*video.boxes):
        if box.frame % _EVERY == 0:
            best = found.setdefault((box.pid, box.round), box)
            if (box.visible, box.height) > (best.visible, best.height):
                found[box.pid, box.round] = box
    return set(found.values())


@DATASETS.register_module()
class SyntheticVideo(MarketStyleDataset):
    """Crops of people in rendered video, who cover each other, with the times and tracklets of a tracker that errs.

    Rendered on first use to ``<data_root>/synthetic/video<cameras>/``, two crops a second of everyone in view. Names
    such as ``0012C2T0007F000148.jpg`` tell the person (for diagnostics), the camera, what the tracker takes for one
    person (tracklet 7 of camera 2), and the frame, at 8 frames a second on one clock. People leave and come back, so a
    person has several tracklets; a share of the tracklets, ``switches``, goes on with another person after a crossing.

    Queries are the clearest crop of every walk in the first half of the test video, and the gallery is the second half,
    in which people come back. Of one camera the test images tell no camera: all matches would be in the same one, and
    not count.

    Args:
        data_root: Folder of the datasets.
        split: ``'train'``, ``'query'`` or ``'gallery'``.
        pipeline: See :class:`ReIDDataset`.
        cameras: 1, or 3 that differ strongly and do not overlap.
        num_train_ids: People in the video for training, at least 2.
        num_test_ids: Further people in the video for tests, at least 2.
        switches: Share of the tracklets that a mistake of the tracker leads from one person to another, 0..1, so far as
            people cross.
        render_seed: Seed of people, cameras, scenes and walks.
        name: See :class:`ReIDDataset`. Defaults to ``'synthv<cameras>'``.
        **kwargs: See :class:`ReIDDataset`.

    Raises:
        InputError: A parameter is out of range or the folder cannot be written.

    Example:
        >>> train_dataloader = dict(dataset=dict(type='SyntheticVideo', data_root='data', cameras=3))
    """

    name = "synthetic video"
    pattern = r"(?P<pid>\d+)C(?P<camid>\d+)T(?P<tracklet>\d+)F(?P<frame>\d+)"
    frame_rate = FRAME_RATE

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        cameras: Literal[1, 3] = 1,
        num_train_ids: _NumIds = 24,
        num_test_ids: _NumIds = 16,
        switches: Fraction = 0.1,
        render_seed: Natural = 0,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        spec = SyntheticVideoSpec(cameras, num_train_ids, num_test_ids, switches, render_seed)
        folder = ensure_rendered(data_root, spec)
        self.cameras = range(1, cameras + 1)
        super().__init__(folder, split, pipeline, name=name or f"synthv{cameras}", **kwargs)

    def load_split(self) -> list[dict]:
        """Read the crops of a split; see :meth:`ReIDDataset.load_split`."""
        records = super().load_split()
        if len(self.cameras) == 1 and self.split != "train":
            for record in records:
                record["camid"] = None
        return records
