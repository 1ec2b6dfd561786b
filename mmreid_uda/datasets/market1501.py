"""Market-1501, and the layout it gave to the field: three folders whose file names hold identity and camera."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError

from .base_reid import ReIDDataset
from .clock import frame_time, lone_value
from .files import IMAGE_EXTENSIONS, is_folder, list_images, shown

__all__ = ["Market1501", "MarketStyleDataset"]

JUNK = -1
"""Identity of detections that are neither a person of the set nor a clean distractor; they are never loaded."""


class MarketStyleDataset(ReIDDataset):
    """A dataset with one folder per split and names like ``0002_c1s1_000451_03.jpg``.

    An adapter is its class attributes. Images of identity -1 are dropped; identity 0, where a set has it, is an
    ordinary identity of the gallery (distractors). Image files of every kind are read, since somebody may have added
    some, and other files left alone, because the releases hold some such as ``Thumbs.db``.
    """

    split_folders: ClassVar[Mapping[str, str]] = {
        "train": "bounding_box_train",
        "query": "query",
        "gallery": "bounding_box_test",
    }
    pattern: ClassVar[str] = r"(?P<pid>-?\d+)_c(?P<camid>\d+)"
    """Groups ``pid`` and ``camid``; where names tell them ``frame``, ``sequence`` in which frames are counted, and
    ``tracklet`` within the camera."""
    frame_rate: ClassVar[float] = 25.0
    """Frames per second, which make seconds of the group ``frame``."""
    first_frames: ClassVar[Mapping[int, int]] = {}
    """Camera number -> frames by which its recording began after the others' count; 0 unless given."""
    pid_range: ClassVar[range | None] = None
    """Identities that can occur, or None for any."""
    cameras: Sequence[int] = ()
    """Camera numbers of the file names; their positions are the ``camids``."""

    @classmethod
    def offers(cls, split: str, **options: Any) -> bool:
        """See :meth:`ReIDDataset.offers`: a set that is only trained on has no folders for tests."""
        return split in cls.split_folders

    def load_split(self) -> list[dict]:
        """Read identity and camera off the file names of the split's folder.

        Raises:
            InputError: The set has no such split or no folder of it, or a file is named otherwise.
        """
        if self.split not in self.split_folders:
            raise InputError(
                f"{self.name} has no split '{self.split}', only {', '.join(self.split_folders)}; "
                "use it as a source and name another dataset for testing"
            )
        self.root = self.find_root(*self.split_folders.values())
        folder = os.path.join(self.root, self.split_folders[self.split])
        if self.split != "train" and not os.path.exists(folder) and not is_folder(folder):
            raise InputError(
                f"found no {shown(folder)} for split '{self.split}' of {self.name}, expected a folder of images; "
                "extract the archive again, name another set in test, or set test=[] to train without evaluation"
            )
        records = [self._record(folder, name) for name in list_images(folder, IMAGE_EXTENSIONS)]
        if lone_value(record["time"] for record in records):
            for record in records:
                record["time"] = None
        return [record for record in records if record["pid"] != JUNK]

    def _record(self, folder: str, name: str) -> dict:
        match = re.match(self.pattern, name)
        if match is None:
            raise InputError(
                f"{shown(name)} in '{folder}' does not match the file names of {self.name} ({self.pattern}); remove "
                "the file, or set data_root to the folder of this dataset"
            )
        pid, camera = int(match["pid"]), int(match["camid"])
        path = os.path.join(folder, name)
        told = {key: int(value) for key, value in match.groupdict("").items() if value.isdigit()}
        time = None
        if "frame" in told:
            frame = told["frame"] + self.first_frames.get(camera, 0)
            time = frame_time(frame, self.frame_rate, told.get("sequence", 0))
        return {
            "img_path": path,
            "pid": self._pid(pid, path),
            "camid": self._camid(camera, path),
            "time": time,
            "tracklet": told.get("tracklet"),
        }

    def _pid(self, pid: int, path: str) -> int:
        if self.pid_range is not None and pid != JUNK and pid not in self.pid_range:
            raise InputError(
                f"'{path}' has identity {pid}, expected {self.pid_range[0]} to {self.pid_range[-1]} in {self.name}; "
                "set data_root to the folder of this dataset"
            )
        return pid

    def _camid(self, camera: int, path: str) -> int:
        if camera not in self.cameras:
            raise InputError(
                f"'{path}' has camera {camera}, expected one of {', '.join(map(str, self.cameras))} in {self.name}; "
                "set data_root to the folder of this dataset"
            )
        return self.cameras.index(camera)


@DATASETS.register_module()
class Market1501(MarketStyleDataset):
    """Market-1501 (Zheng et al., ICCV 2015): 6 cameras on a campus, detected pedestrians.

    Train 751 ids / 12,936 images, query 750 / 3,368, gallery 751 (with the distractors, identity 0) / 15,913 after
    the 3,819 junk images of identity -1 are dropped.

    Names such as ``0002_c1s1_000451_03.jpg`` tell the recording (s1) and the frame in it (451), which becomes a time at
    25 frames per second, the rate that is usual in the literature; the release does not say it.

    For research use; get a copy from its authors. Args: see :class:`ReIDDataset`.
    """

    name = "market1501"
    folder_names = ("market1501", "Market-1501-v15.09.15", "Market-1501")
    pattern = r"(?P<pid>-?\d+)_c(?P<camid>\d+)(s(?P<sequence>\d+)_(?P<frame>\d{6}))?"
    pid_range = range(0, 1502)
    cameras = range(1, 7)
