"""Render the synthetic domains, a picture of what they look like, or video of people who walk through several cameras.

Examples:
    python tools/data/render_synthetic.py data
    python tools/data/render_synthetic.py --contact-sheet sheet.png --variants a c
    python tools/data/render_synthetic.py video --cameras 3 --seconds 60 --out data/rendered_video
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmreid_uda.cli import (
    PICTURES,
    ToolParser,
    at_least,
    number,
    run_tool,
    writable,
    writable_folder,
)
from mmreid_uda.utils.values import Fraction, Positive

if TYPE_CHECKING:
    from mmreid_uda.datasets.synthetic import SyntheticSpec


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; behind the word ``video`` it has other options."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["video"]:
        return parse_video_args(words[1:])
    parser = ToolParser(
        description=f"{__doc__.splitlines()[0]} For options of the last: video --help."
    )
    parser.add_argument(
        "data_root",
        nargs="?",
        help="folder of the datasets; domains go to <data_root>/synthetic/<variant>; or the word 'video'",
    )
    parser.add_argument("--variants", nargs="+", default=["a", "b", "c", "d", "e"], help="domains")
    parser.add_argument("--num-train-ids", type=int, default=150, help="people to train on")
    parser.add_argument("--num-test-ids", type=int, default=100, help="people to test on")
    parser.add_argument("--images-per-id", type=int, default=10, help="images of a person")
    parser.add_argument(
        "--num-cameras",
        type=at_least(1),
        help="cameras; for the domain 'world' as many as you like",
    )
    parser.add_argument(
        "--backgrounds",
        metavar="FOLDER",
        help="empty frames of your cameras, in place of drawn places",
    )
    parser.add_argument("--seed", type=int, default=0, help="the datasets' render_seed")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes; more than 1 pays from some 1,000 ids",
    )
    parser.add_argument(
        "--contact-sheet",
        type=writable(*PICTURES),
        metavar="FILE",
        help="write a picture: a row per identity, a column per camera",
    )
    parser.add_argument(
        "--sheet-ids", type=at_least(1), default=9, help="identities in the picture"
    )
    parser.set_defaults(film=False)
    args = parser.parse_args(words)
    if args.data_root is None and args.contact_sheet is None:
        parser.error("give data_root to render to, or --contact-sheet FILE, or both")
    return args


def parse_video_args(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line behind the word ``video``."""
    parser = ToolParser(
        description="Render the frames of cameras that people walk through, with the tracks of a tracker."
    )
    parser.add_argument(
        "--out",
        required=True,
        type=writable_folder,
        help="folder; cameras go to c1, c2 and c3 in it",
    )
    parser.add_argument("--cameras", type=at_least(1), default=3, help="at most 3")
    parser.add_argument(
        "--seconds", type=number(Positive), default=60.0, help="length of the video"
    )
    parser.add_argument("--people", type=at_least(1), default=30, help="people who walk there")
    parser.add_argument(
        "--rounds",
        type=at_least(1),
        help="how often each of them comes by (default: once for each camera)",
    )
    parser.add_argument(
        "--switches",
        type=number(Fraction),
        default=0.1,
        help="share of the tracks that go on with another person after a crossing",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of people, cameras and walks")
    parser.set_defaults(film=True)
    return parser.parse_args(argv)


def film(args: argparse.Namespace) -> None:
    """Write frames, tracks and truth of every camera."""
    from mmreid_uda.datasets.synthetic import Video, VideoSpec, write_sequence
    from mmreid_uda.utils.progress import Progress

    rounds = args.rounds or args.cameras
    video = Video(
        VideoSpec(args.cameras, args.people, rounds, args.seconds, args.switches, seed=args.seed)
    )
    for camera in range(args.cameras):
        folder = os.path.join(args.out, f"c{camera + 1}")
        update = Progress(f"filming {folder}", video.num_frames, "frames").update
        write_sequence(video, camera, folder, update)
        tracks = len({box.track for box in video.boxes[camera]})
        print(f"wrote {folder}: {video.num_frames} frames, {tracks} tracks in TRACKS.txt")


def write_sheet(args: argparse.Namespace) -> None:
    """Write the contact sheet; the ending of the file name chooses the format."""
    from mmreid_uda.datasets.synthetic import contact_sheet
    from mmreid_uda.visualization import write_picture

    sheet = contact_sheet(
        args.variants, args.sheet_ids, args.seed, args.num_cameras, args.backgrounds
    )
    write_picture(args.contact_sheet, sheet)
    print(f"wrote {args.contact_sheet}")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the picture, render the domains, or both; or film."""
    args = parse_args(argv)
    if args.film:
        film(args)
        return
    from mmreid_uda.datasets.synthetic import SyntheticSpec

    specs = [
        SyntheticSpec(
            variant,
            args.num_train_ids,
            args.num_test_ids,
            args.images_per_id,
            args.seed,
            args.num_cameras,
            args.backgrounds,
        )
        for variant in args.variants
    ]
    if args.contact_sheet:
        write_sheet(args)
    if args.data_root:
        for spec in specs:
            render(args.data_root, spec, args.workers)


def render(data_root: str, spec: SyntheticSpec, workers: int) -> None:
    """Render one domain unless it is there already, and say where it lies."""
    from mmreid_uda.datasets.synthetic import ensure_rendered, is_complete
    from mmreid_uda.utils.progress import show_progress

    start = time.monotonic()
    folder = os.path.join(data_root, "synthetic", spec.folder_name)
    if is_complete(folder, spec):
        print(f"{folder} is complete")
        return
    folder = ensure_rendered(
        data_root,
        spec,
        workers,
        lambda done, total: show_progress(f"domain {spec.variant}", done, total, "identities"),
    )
    print(f"rendered {folder} in {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    run_tool(main)
