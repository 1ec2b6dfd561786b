"""MARS and DukeMTMC-VideoReID: data sets of tracklets, read as images that know their tracklet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split
from mmreid_uda.utils.values import Count

from .base_reid import ReIDDataset
from .clock import frame_time
from .dukemtmc import DukeMTMCreID
from .files import IMAGE_EXTENSIONS, is_folder, shown, walk_images
from .market1501 import JUNK
from .tables import read_lines

__all__ = ["MARS", "DukeVideo", "TrackletDataset"]


class TrackletDataset(ReIDDataset):
    """Images in one folder per split, whose paths tell identity, camera and tracklet.

    Published figures on these sets compare means of tracklets. Here an image is an image: each is trained on, and a
    test takes some of each tracklet, evenly spread, so its figures are not those of the papers.

    Args:
        data_root: See :class:`ReIDDataset`.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        test_images_per_tracklet: Images of a tracklet that a test takes. Defaults to 1, the one in the middle.
        **kwargs: See :class:`ReIDDataset`.
    """

    split_folders: ClassVar[dict[str, str]]
    pattern: ClassVar[re.Pattern[str]]
    """Of the path below the split's folder: groups ``pid``, ``camid``, ``tracklet`` and optionally ``frame``."""
    num_cameras: ClassVar[int]

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        test_images_per_tracklet: Count = 1,
        **kwargs: Any,
    ) -> None:
        self.test_images_per_tracklet = test_images_per_tracklet
        super().__init__(data_root, split, pipeline, **kwargs)

    def load_split(self) -> list[dict]:
        """Read the paths of the split's folder.

        Raises:
            InputError: The folder or a list is missing, or an image is named otherwise.
        """
        self.root = self.find_root(*self.split_folders.values())
        folder = os.path.join(self.root, self.split_folders[self.split])
        if not is_folder(folder):
            raise InputError(
                f"found no {shown(folder)} for split '{self.split}' of {self.name}, expected a folder of images; "
                "extract the archive again, name another set in test, or set test=[] to train without evaluation"
            )
        tracklets: dict[tuple[int, str], list[dict]] = {}
        for path in walk_images(folder, IMAGE_EXTENSIONS):
            record = self._record(folder, path)
            if record["pid"] != JUNK:
                tracklets.setdefault((record["camid"], record["tracklet"]), []).append(record)
        kept = [one for one in tracklets.values() if self._is_of_split(one[0])]
        if self.split != "train":
            kept = [_spread(one, self.test_images_per_tracklet) for one in kept]
        return [record for one in kept for record in one]

    def _record(self, folder: str, path: str) -> dict:
        match = self.pattern.fullmatch(path)
        if match is None or not 1 <= int(match["camid"]) <= self.num_cameras:
            raise InputError(
                f"{shown(path)} in {shown(folder)} is not named as the images of {self.name} are "
                f"({self.pattern.pattern}, cameras 1 to {self.num_cameras}); remove it, or set data_root to the folder "
                "of this dataset"
            )
        told = match.groupdict()
        return {
            "img_path": os.path.join(folder, *path.split("/")),
            "pid": int(told["pid"].lstrip("0") or 0),
            "camid": int(told["camid"]) - 1,
            "tracklet": f"{told['pid']}-{told['tracklet']}",
            "time": self._time(int(told["camid"]), told.get("frame")),
        }

    def _time(self, camera: int, frame: str | None) -> float | None:
        """Seconds of a frame; None where names do not tell any."""
        return None

    def _is_of_split(self, record: dict) -> bool:
        """Whether the tracklet of an image in the split's folder belongs to the split."""
        return True


def _spread(records: list[dict], num: int) -> list[dict]:
    """At most ``num`` of an ordered list, evenly spread."""
    num = min(num, len(records))
    return [records[(2 * place + 1) * len(records) // (2 * num)] for place in range(num)]


@DATASETS.register_module()
class MARS(TrackletDataset):
    """MARS (Zheng et al., ECCV 2016): tracklets of Market-1501's people, detected and followed; 6 cameras.

    Train 625 ids / 8,298 tracklets, test 636 ids / 12,180 tracklets, of which ``info/query_IDX.mat`` names 1,980 as
    queries. Names such as ``0001C1T0001F001.jpg`` tell the place in the tracklet (F) and no time.

    For research use; get a copy from its authors. Args: see :class:`TrackletDataset`.
    """

    name = "mars"
    folder_names = ("mars", "MARS-v160809")
    split_folders: ClassVar[dict[str, str]] = {
        "train": "bbox_train",
        "query": "bbox_test",
        "gallery": "bbox_test",
    }
    pattern = re.compile(r"(.*/)?(?P<pid>\d{4}|00-1)C(?P<camid>\d)T(?P<tracklet>\d{4})F\d{3,}\.\w+")
    num_cameras = 6

    def load_split(self) -> list[dict]:
        """Read the paths of the split's folder, and for a test split the lists of the release."""
        self.root = self.find_root(*self.split_folders.values())
        self._queries = set() if self.split == "train" else self._read_queries()
        return super().load_split()

    def _is_of_split(self, record: dict) -> bool:
        asked = (record["camid"], record["tracklet"]) in self._queries
        return self.split == "train" or asked == (self.split == "query")

    def _read_queries(self) -> set[tuple[int, str]]:
        """Camera and tracklet of the queries: ``query_IDX.mat`` counts rows of a table that counts rows of a list."""
        from scipy.io import loadmat

        info = os.path.join(self.root, "info")
        names = [line for _, line in read_lines(os.path.join(info, "test_name.txt"))]
        tables = []
        for file, key in (
            ("tracks_test_info.mat", "track_test_info"),
            ("query_IDX.mat", "query_IDX"),
        ):
            try:
                tables.append(np.asarray(loadmat(os.path.join(info, file))[key], dtype=np.int64))
            except (OSError, KeyError, TypeError, ValueError, NotImplementedError) as error:
                raise InputError(
                    f"{shown(os.path.join(info, file))} holds no {key} ({error}), expected the file of the release; "
                    "put it there, or set test=[] to train without evaluation"
                ) from error
        tracks, rows = tables[0].reshape(-1, 4), tables[1].ravel()
        if len(rows) and not 1 <= rows.min() <= rows.max() <= len(tracks):
            raise InputError(
                f"query_IDX.mat in {shown(info)} names rows {rows.min()} to {rows.max()}, expected 1 to {len(tracks)}; "
                "take all files of info/ from one release"
            )
        firsts = tracks[rows - 1, 0]
        if len(firsts) and not 1 <= firsts.min() <= firsts.max() <= len(names):
            raise InputError(
                f"tracks_test_info.mat in {shown(info)} names images up to {firsts.max()}, and test_name.txt has "
                f"{len(names)}; take all files of info/ from one release"
            )
        records = [self._record(info, names[first - 1]) for first in firsts]
        return {(record["camid"], record["tracklet"]) for record in records}


@DATASETS.register_module()
class DukeVideo(TrackletDataset):
    """DukeMTMC-VideoReID (Wu et al., CVPR 2018): tracklets of DukeMTMC; 8 cameras.

    Train 702 ids / 2,196 tracklets, gallery 702 ids / 2,636. Names such as ``0001_C6_F0099_X30823.jpg`` (or
    ``0001C6F0099X30823.jpg``) tell the frame (X), which counts from the start of the camera's recording as in
    :class:`DukeMTMCreID`: 30,823 counted from the first camera's start would lie before the training minutes.

    DukeMTMC was withdrawn by its authors in 2019; this project neither offers nor links to a copy.
    Args: see :class:`TrackletDataset`.
    """

    name = "duke-video"
    folder_names = ("duke-video", "DukeMTMC-VideoReID")
    split_folders: ClassVar[dict[str, str]] = {
        split: split for split in ("train", "query", "gallery")
    }
    pattern = re.compile(
        r"\d+/(?P<tracklet>\d+)/(?P<pid>\d{4})_?C(?P<camid>\d)_?F\d+_?X(?P<frame>\d+)\.\w+"
    )
    num_cameras = 8

    def _time(self, camera: int, frame: str | None) -> float | None:
        assert frame is not None
        number = int(frame) + DukeMTMCreID.first_frames[camera]
        return frame_time(number, DukeMTMCreID.frame_rate)
