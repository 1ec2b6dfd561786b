"""Tracks as the MOTChallenge writes them, the frames they belong to, and which of their boxes are worth a crop."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmreid_uda.datasets.files import list_images, shown
from mmreid_uda.datasets.tables import read_lines
from mmreid_uda.utils import InputError

__all__ = ["Frames", "Tracks", "choose_boxes", "covered_shares", "read_tracks", "recording_name"]

# Of the ground truth of MOT16, MOT17 and MOT20, which has nine columns.
_TRUTH_COLUMNS = 9
_CLASSES = range(1, 14)


class Tracks(NamedTuple):
    """Boxes of tracked subjects.

    Args:
        frames: int64 (N,), numbers of frames as the file counts them.
        ids: int64 (N,), of tracks.
        boxes: float64 (N, 4), left, top, right and bottom edge in pixels, 0 at the edge of the frame.
        wanted: bool (N,), False for what the file marks as no subject; such boxes can still cover others.
        visible: float64 (N,), shares 0..1 that the file tells; NaN = it does not.
    """

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    wanted: np.ndarray
    visible: np.ndarray


def read_tracks(path: str | Path, classes: Collection[int] = (1,)) -> Tracks:
    """Read a file of tracks: results of a tracker, or ground truth.

    Columns are ``frame, id, left, top, width, height`` and, in results and MOT15, ``confidence, x, y, z``; in the
    ground truth of MOT16 and later ``flag, class, visibility``. Frames, and pixels, count from 1. A confidence may be
    any number, but where all are 0 or 1 and some are 1 they are flags, and 0 says: ignore.

    Args:
        path: The file.
        classes: Of ground truth that tells classes: those that are wanted; 1 = pedestrian, 7 = static person.

    Returns:
        Its boxes, in the order of the file.

    Raises:
        InputError: A row is no box, a track has two boxes in one frame, or there are detections without tracks.
    """
    rows, places = list[list[float]](), list[str]()
    for place, line in read_lines(str(path)):
        try:
            cells = [float(cell) for cell in re.split(r"[,;\s]+", line.rstrip(",; "))]
        except ValueError:
            cells = []
        whole = (
            len(cells) >= 6 and all(np.isfinite(cells[:6])) and not any(c % 1 for c in cells[:2])
        )
        if not whole or min(cells[4:6]) <= 0 or max(map(abs, cells)) > 2**40:
            raise InputError(
                f"{place} reads {shown(line)}, expected a box of a track: frame,id,left,top,width,height,confidence "
                "and more, with a width and height above 0; give the file of a tracker in the form of MOTChallenge"
            )
        if rows and len(cells) != len(rows[0]):
            raise InputError(
                f"{place} has {len(cells)} columns and the lines above {len(rows[0])}, expected one number of columns; "
                "mend the line"
            )
        rows.append(cells)
        places.append(place)
    if not rows:
        raise InputError(
            f"found no line in {shown(str(path))}, expected boxes of tracks; give the file of a tracker"
        )
    table = np.array(rows)
    frames, ids = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    if (ids < 0).any():
        raise InputError(
            f"{(ids < 0).sum()} of the {len(ids)} lines of {shown(str(path))} have the id -1: they are detections "
            "without tracks; run a tracker on them and give its result"
        )
    _, first, counts = np.unique(
        np.stack([frames, ids]), axis=1, return_index=True, return_counts=True
    )
    if (counts > 1).any():
        twice = first[counts > 1][0]
        raise InputError(
            f"track {ids[twice]} has {counts.max()} boxes in frame {frames[twice]} of {shown(str(path))}, the first in "
            f"{places[twice]}, expected one; mend the file, in which an id may stand for two subjects"
        )
    wanted, visible = np.ones(len(rows), bool), np.full(len(rows), np.nan)
    extra = table[:, 6:]
    if table.shape[1] == _TRUTH_COLUMNS:
        flags, kinds, visible = extra.T
        if not (np.isin(kinds, _CLASSES).all() and ((visible >= 0) & (visible <= 1)).all()):
            raise InputError(
                f"{shown(str(path))} has nine columns as the ground truth of MOT16 has, but its last two are no class "
                "(1 to 13) and visibility (0 to 1); give a file of ten columns, as trackers write"
            )
        wanted = (flags > 0) & np.isin(kinds, list(classes))
    elif extra.size and np.isin(extra[:, 0], (0, 1)).all() and extra[:, 0].any():
        wanted = extra[:, 0] > 0
    corner = table[:, 2:4] - 1
    boxes = np.concatenate([corner, corner + table[:, 4:6]], axis=1)
    return Tracks(frames, ids, boxes, wanted, visible)


def covered_shares(boxes: np.ndarray) -> np.ndarray:
    """How much of each box of one frame another one hides.

    Of two boxes the one whose lower edge is lower stands nearer to a camera that looks down on a ground, and hides the
    other; at equal height each counts as hidden.

    Args:
        boxes: float (N, 4), left, top, right, bottom.

    Returns:
        float64 (N,), the largest share 0..1 of the box that a single nearer one covers.
    """
    if len(boxes) < 2:
        return np.zeros(len(boxes))
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    nearer = boxes[None, :, 3] >= boxes[:, None, 3]
    np.fill_diagonal(nearer, False)
    return (shared * nearer).max(axis=1) / _areas(boxes)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def choose_boxes(
    tracks: Tracks,
    size: tuple[int, int],
    every: int = 1,
    min_size: tuple[int, int] = (16, 32),
    max_covered: float = 0.5,
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Choose the boxes that become crops.

    Args:
        tracks: Of one recording.
        size: Width and height of its frames.
        every: Take each n-th frame, from the first one that has a box.
        min_size: Smallest width and height in pixels inside the frame.
        max_covered: Largest share of a box that may be hidden: by the visibility of the file where it tells one, else
            by a nearer box (:func:`covered_shares`) or because it lies outside the frame.

    Returns:
        int64 (M,), positions of boxes, by frame and track; int64 (M, 4), their pixels: left, top, right, bottom
        (exclusive); and how many were left out, by reason.
    """
    inside = np.clip(np.rint(tracks.boxes), 0, [*size, *size]).astype(np.int64)
    large = ((inside[:, 2:] - inside[:, :2]) >= min_size).all(axis=1)
    covered = 1 - tracks.visible
    cut_off = 1 - _areas(np.clip(tracks.boxes, 0, [*size, *size])) / _areas(tracks.boxes)
    order = np.argsort(tracks.frames, kind="stable")
    _, starts = np.unique(tracks.frames[order], return_index=True)
    for one in np.split(order, starts[1:]):
        told = covered[one]
        hidden = np.maximum(covered_shares(tracks.boxes[one]), cut_off[one])
        covered[one] = np.where(np.isnan(told), hidden, told)
    due = (tracks.frames - tracks.frames.min()) % every == 0
    left_out: dict[str, int] = {}
    chosen = due
    for reason, holds in (
        ("no subject", tracks.wanted),
        (f"smaller than {min_size[0]}×{min_size[1]} pixels", large),
        (f"hidden to more than {max_covered:.0%}", covered <= max_covered),
    ):
        if count := int((chosen & ~holds).sum()):
            left_out[reason] = count
        chosen = chosen & holds
    places = np.flatnonzero(chosen)
    places = places[np.lexsort((tracks.ids[places], tracks.frames[places]))]
    return places, inside[places], left_out


class Frames:
    """The frames of a recording, by the numbers that tracks give them.

    Args:
        path: A video file; a folder of images whose names end in the number of the frame; or a sequence of
            MOTChallenge, with ``seqinfo.ini`` and ``img1/``.
        first: Number of the first frame of a video. Defaults to 1, as in MOTChallenge.

    Attributes:
        size: Width and height.
        rate: Frames per second; None = unknown.
        numbers: Of the first and the last frame.

    Raises:
        InputError: There are no frames there, or none that can be decoded.
    """

    def __init__(self, path: str | Path, first: int = 1) -> None:
        import cv2

        self.path = Path(path)
        self.first = first
        self._images: dict[int, str] = {}
        if self.path.is_dir():
            info = _sequence_info(self.path)
            folder = self.path / info.get("imDir", "img1")
            self._images = _numbered(folder if folder.is_dir() else self.path)
            sample = cv2.imread(next(iter(self._images.values())))
            rate: str | float | None = info.get("frameRate")
            self.numbers = (min(self._images), max(self._images))
        elif self.path.is_file():
            video = cv2.VideoCapture(str(self.path))
            found, sample = video.read()
            rate = video.get(cv2.CAP_PROP_FPS)
            self.numbers = (first, first + int(video.get(cv2.CAP_PROP_FRAME_COUNT)) - 1)
            video.release()
            sample = sample if found else None
        else:
            raise InputError(
                f"found nothing at {shown(str(path))}, expected a video file or a folder of frames; correct the path"
            )
        if sample is None:
            raise InputError(
                f"no frame of {shown(str(path))} can be decoded, expected a video or images that OpenCV reads; convert "
                "it, for instance to MP4 with H.264, or to a folder of images"
            )
        self.size = (sample.shape[1], sample.shape[0])
        self.rate = _positive(rate)

    def read(self, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode frames.

        Args:
            numbers: Of the frames, ascending.

        Yields:
            Number and pixels, uint8 (H, W, 3), BGR.

        Raises:
            InputError: One of them is not there, or cannot be decoded.
        """
        import cv2

        if self._images:
            for number in numbers:
                image = cv2.imread(self._images[number]) if number in self._images else None
                yield number, self._decoded(image, number)
            return
        video = cv2.VideoCapture(str(self.path))
        try:
            at = self.first
            for number in numbers:
                # Seeking by number is inexact in many files; passing frames over is not.
                while at < number and video.grab():
                    at += 1
                found, image = video.read() if at == number else (False, None)
                at += 1
                yield number, self._decoded(image if found else None, number)
        finally:
            video.release()

    def _decoded(self, image: np.ndarray | None, number: int) -> np.ndarray:
        if image is None:
            raise InputError(
                f"frame {number} of {shown(str(self.path))} is not there or cannot be decoded, and the tracks have "
                f"boxes in it (the recording has about {self.numbers[0]} to {self.numbers[1]}); give the frames that "
                "these tracks were made of, or another --first-frame"
            )
        return image


def recording_name(path: str | Path) -> str:
    """What a recording is called: its file, or the folder of its sequence.

    Args:
        path: As for :class:`Frames`.

    Returns:
        A name; of MOT17, where each sequence is there for three detectors with one and the same video, that of the
        sequence.
    """
    path = Path(os.path.abspath(path))
    folder = path.parent if path.name in ("img1", "frames", "images") and path.is_dir() else path
    name = folder.name if folder.is_dir() else folder.stem
    return re.sub(r"^(MOT17-\d+)-(DPM|FRCNN|SDP)$", r"\1", name)


def _sequence_info(folder: Path) -> dict[str, str]:
    """``seqinfo.ini`` in the folder of a sequence, or beside the folder of its images; nothing where there is none."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    for place in (folder / "seqinfo.ini", folder.parent / "seqinfo.ini"):
        if place.is_file():
            try:
                parser.read(place, encoding="utf-8")
                return dict(parser["Sequence"])
            except (configparser.Error, KeyError, UnicodeError) as error:
                raise InputError(
                    f"{shown(str(place))} is no seqinfo.ini of MOTChallenge ({error}), expected a section [Sequence]; "
                    "mend it or move it away"
                ) from error
    return {}


def _numbered(folder: Path) -> dict[int, str]:
    """Images of a folder by the numbers that their names end in."""
    numbered: dict[int, str] = {}
    for name in list_images(str(folder)):
        digits = re.search(r"([0-9]{1,18})$", os.path.splitext(name)[0])
        if digits is None or int(digits[1]) in numbered:
            raise InputError(
                f"{shown(name)} in {shown(str(folder))} does not end in a number of its own, expected names of frames "
                "such as 000001.jpg; rename it or move it away"
            )
        numbered[int(digits[1])] = str(folder / name)
    return dict(sorted(numbered.items()))


def _positive(value: str | float | None) -> float | None:
    try:
        rate = float(value or 0)
    except ValueError:
        return None
    return rate if 0 < rate < 1e6 else None
