"""Cut crops of tracked people, animals or vehicles out of a video, with camera, time and tracklet of each.

Crops go to OUT/CAMERA/, and a row of each to OUT/crops.csv, which a config reads as target=OUT/crops.csv. Call it once
for each recording; crops of several cameras come together in one OUT. An import that was cut off goes on when it is
called again; one that is complete is left as it is.

Examples:
    python tools/data/import_tracks.py door.mp4 door.txt --camera door --out data/shop
    python tools/data/import_tracks.py hall/frames/ hall.txt --camera hall --out data/shop --frame-rate 25 --every 5
    python tools/data/import_tracks.py MOT17-02-FRCNN/ MOT17-02-FRCNN/gt/gt.txt --camera 2 --out data/mot
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmreid_uda.cli import ToolParser, at_least, number, run_tool, writable_folder
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path, write_json
from mmreid_uda.utils.run_lock import alone
from mmreid_uda.utils.values import Fraction, Positive

__all__ = ["import_crops"]

COLUMNS = ("path", "camid", "time", "tracklet", "frame", "left", "top", "width", "height")
_PLAIN_NAME = re.compile(r"[^/\\.\0][^/\\\0]*")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(
        description="Cut crops of tracked subjects out of a video, with camera, time and tracklet of each."
    )
    parser.add_argument(
        "frames", help="video, folder of images named by number, or sequence of MOTChallenge"
    )
    parser.add_argument(
        "tracks", help="boxes as MOTChallenge writes them: frame,id,left,top,width,height,..."
    )
    parser.add_argument("--camera", required=True, help="name of the camera")
    parser.add_argument("--out", required=True, type=writable_folder, help="folder of the crops")
    parser.add_argument(
        "--recording",
        help="name of the recording, of which a camera may have several (default: that of the file)",
    )
    parser.add_argument(
        "--start",
        help="time of the first frame, in seconds or as a date such as 2026-05-01T12:00:00 (default: 0)",
    )
    parser.add_argument(
        "--frame-rate",
        type=number(Positive),
        help="frames per second (default: that of the video, or of seqinfo.ini)",
    )
    parser.add_argument(
        "--first-frame", type=int, default=1, help="number that the tracks give the first frame"
    )
    parser.add_argument("--every", type=at_least(1), default=1, help="take each n-th frame")
    parser.add_argument("--min-width", type=at_least(1), default=16, help="in pixels")
    parser.add_argument("--min-height", type=at_least(1), default=32, help="in pixels")
    parser.add_argument(
        "--max-covered",
        type=number(Fraction),
        default=0.5,
        help="share of a box that a nearer one, or the edge of the frame, may hide",
    )
    parser.add_argument(
        "--classes",
        type=int,
        nargs="+",
        default=[1],
        help="of ground truth that tells classes: 1 = pedestrian, 7 = static person",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="take the place of an import of the same recording with other tracks or options",
    )
    return parser.parse_args()


def import_crops(args: argparse.Namespace) -> str:
    """Cut the crops of one recording, and list them.

    Args:
        args: Of the command line.

    Returns:
        What was done, for the user.

    Raises:
        InputError: Frames or tracks cannot be read or do not belong together, no box is left, or the place is taken.
    """
    from mot_tracks import Frames, choose_boxes, read_tracks, recording_name

    camera = plain_name(args.camera, "--camera")
    recording = plain_name(args.recording or recording_name(args.frames), "--recording")
    frames = Frames(args.frames, args.first_frame)
    tracks = read_tracks(args.tracks, args.classes)
    rate = args.frame_rate or frames.rate
    if rate is None:
        raise InputError(
            f"found no frame rate of {args.frames!r}, expected frames per second, which make times of frames: give "
            "--frame-rate."
        )
    low, high = int(tracks.frames.min()), int(tracks.frames.max())
    if low < frames.numbers[0] or (frames.path.is_dir() and high > frames.numbers[1]):
        raise InputError(
            f"the tracks have boxes in the frames {low} to {high}, and {args.frames!r} has {frames.numbers[0]} to "
            f"{frames.numbers[1]}, expected tracks of these frames: give the right file, or --first-frame 0 if the "
            "tracks count from 0."
        )
    places, pixels, left_out = choose_boxes(
        tracks, frames.size, args.every, (args.min_width, args.min_height), args.max_covered
    )
    omitted = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    if not len(places):
        raise InputError(
            f"found no box to crop among the {len(tracks.frames):,} of {args.tracks!r} (left out: {omitted}), expected "
            "some: lower --min-width, --min-height or raise --max-covered, or see --classes."
        )
    start = start_of(args.start)
    rows = [
        {
            "path": f"{camera}/{recording}_{track:06d}_{frame:08d}.jpg",
            "camid": camera,
            "time": f"{start + (frame - args.first_frame) / rate:.4f}",
            "tracklet": f"{recording}-{track}",
            "frame": frame,
            **dict(zip(COLUMNS[5:], (left, top, right - left, bottom - top))),
        }
        for frame, track, (left, top, right, bottom) in zip(
            tracks.frames[places].tolist(), tracks.ids[places].tolist(), pixels.tolist()
        )
    ]
    out = Path(args.out)
    place = out / camera / f".{recording}.json"
    told = json.dumps([rows, frames.size, frames.numbers])
    state = dict(import_of=hashlib.sha256(told.encode()).hexdigest())
    with alone(place):
        before = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
        same = {key: before.get(key) for key in state} == state
        if same and before["complete"]:
            return f"{out / camera} has all {len(rows):,} crops of {recording} already"
        if before and not same:
            # Of one that was cut off nothing is listed yet.
            if before["complete"] and not args.replace:
                raise InputError(
                    f"{str(out)!r} holds an import of {recording!r} by "
                    f"camera {camera!r} with other tracks or options, expected another recording or the same import: "
                    "give --replace to take its place, or --recording NAME for another one."
                )
            remove(out, camera, recording)
        elif not before:
            refuse_second_clock(out, camera, recording, args.start)
        write_json(place, dict(state, complete=False))
        cut(out, rows, frames)
        merge(out, rows, camera, recording)
        write_json(place, dict(state, complete=True))
    num_tracks = len({row["tracklet"] for row in rows})
    return (
        f"{len(rows):,} crops of {num_tracks:,} tracklets of camera {camera} are in {out / camera}"
        f"{f' (left out: {omitted})' if omitted else ''}; list of all cameras: {out / 'crops.csv'}"
    )


def plain_name(name: str, option: str) -> str:
    """A name that can stand in one of a file."""
    from mmreid_uda.datasets.unknown import known

    if known(name) != name or not _PLAIN_NAME.fullmatch(name):
        raise InputError(
            f"found {option} {name!r}, expected a name without slashes, a dot or blanks at its start, that does not "
            "stand for something unknown: choose another one."
        )
    return name


def start_of(text: str | None) -> float:
    """Seconds of ``--start``."""
    from mmreid_uda.datasets.clock import read_time

    return 0.0 if text is None else read_time(text, None, "--start")


def cut(out: Path, rows: Sequence[Mapping[str, Any]], frames: Any) -> None:
    """Write the crops that are not there yet; each is there as a whole or not at all."""
    import cv2

    from mmreid_uda.utils.progress import show_progress

    missing: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        if not (out / row["path"]).is_file():
            missing.setdefault(row["frame"], []).append(row)
    waiting = sum(map(len, missing.values()))
    done = len(rows) - waiting
    for frame, image in frames.read(missing):
        if (image.shape[1], image.shape[0]) != frames.size:
            raise InputError(
                f"frame {frame} of {str(frames.path)!r} has {image.shape[1]}×{image.shape[0]} pixels and the first "
                f"one {frames.size[0]}×{frames.size[1]}, expected one size: convert the frames."
            )
        for row in missing[frame]:
            left, top = row["left"], row["top"]
            crop = image[top : top + row["height"], left : left + row["width"]]
            encoded, content = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])
            if not encoded:
                raise OSError(f"OpenCV cannot encode {row['path']!r}")
            # Hidden, so that nobody reads a half-written crop; not flushed one by one, which would take minutes.
            partial = (out / row["path"]).with_name(f".{Path(row['path']).name}.part")
            partial.write_bytes(content.tobytes())
            os.replace(partial, out / row["path"])
            done += 1
        show_progress(f"camera {row['camid']}", done, len(rows), "crops")


def merge(out: Path, rows: Sequence[Mapping[str, Any]], camera: str, recording: str) -> None:
    """List the crops of a recording in place of those that were listed of it."""
    path = out / "crops.csv"
    with alone(path):
        old = [row for row in listed(path) if not of_recording(row, camera, recording)]
        everything = sorted([*old, *rows], key=lambda row: row["path"])
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(everything)
        with atomic_path(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def listed(path: Path) -> list[dict[str, str]]:
    """The rows of crops.csv; none where it is not there."""
    from mmreid_uda.datasets.tables import read_table

    if not path.is_file():
        return []
    table = read_table(str(path), set(COLUMNS))
    if list(table.header) != list(COLUMNS):
        raise InputError(
            f"'{path}' has the columns {', '.join(table.header)}, expected {', '.join(COLUMNS)} as this tool writes "
            "them: give another --out, or move the file away."
        )
    return [dict(row) for row in table.rows]


def of_recording(row: Mapping[str, Any], camera: str, recording: str) -> bool:
    """Whether a row lists a crop of a recording."""
    return row["camid"] == camera and str(row["tracklet"]).rpartition("-")[0] == recording


def remove(out: Path, camera: str, recording: str) -> None:
    """Remove what an earlier import of a recording has left."""
    if (out / "crops.csv").is_file():
        merge(out, [], camera, recording)
    name = re.compile(r"\.?" + re.escape(recording) + r"_\d{6,}_\d{8,}\.jpg(\.part)?")
    for path in (out / camera).iterdir():
        if name.fullmatch(path.name):
            path.unlink()


def refuse_second_clock(out: Path, camera: str, recording: str, start: str | None) -> None:
    """Refuse a further recording of a camera that would begin at second 0 as well: its times would be wrong."""
    others = {
        str(row["tracklet"]).rpartition("-")[0]
        for row in listed(out / "crops.csv")
        if row["camid"] == camera
    }
    if others - {recording} and start is None:
        raise InputError(
            f"camera {camera!r} has the recording {min(others)!r} already, and {recording!r} would begin at second 0 "
            "as well, expected times that tell them apart: give --start, the time of its first frame."
        )


def main() -> None:
    """Import and report."""
    args = parse_args()
    print(import_crops(args))


if __name__ == "__main__":
    run_tool(main)
