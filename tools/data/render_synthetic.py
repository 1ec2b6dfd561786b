"""Render the synthetic domains, or a picture of what they look like.

Examples:
    python tools/data/render_synthetic.py data
    python tools/data/render_synthetic.py --contact-sheet sheet.png --variants a c
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmreid_uda.cli import PICTURES, ToolParser, at_least, run_tool, writable

if TYPE_CHECKING:
    from mmreid_uda.datasets.synthetic import SyntheticSpec


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "data_root",
        nargs="?",
        help="folder of the datasets; domains go to <data_root>/synthetic/<variant>",
    )
    parser.add_argument("--variants", nargs="+", default=["a", "b", "c", "d", "e"], help="domains")
    parser.add_argument("--num-train-ids", type=int, default=150, help="people to train on")
    parser.add_argument("--num-test-ids", type=int, default=100, help="people to test on")
    parser.add_argument("--images-per-id", type=int, default=10, help="images of a person")
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
    args = parser.parse_args(argv)
    if args.data_root is None and args.contact_sheet is None:
        parser.error("give data_root to render to, or --contact-sheet FILE, or both")
    return args


def show_progress(variant: str, done: int, total: int) -> None:
    """Keep one line of the terminal up to date; write a line at the end alone where there is no terminal."""
    terminal = sys.stderr.isatty()
    if terminal or done == total:
        line = f"domain {variant}: {done} of {total} identities"
        end = "\n" if done == total else ""
        print(f"\r{line}" if terminal else line, end=end, file=sys.stderr, flush=True)


def write_sheet(path: str, variants: Sequence[str], num_ids: int, seed: int) -> None:
    """Write the contact sheet; the ending of the file name chooses the format."""
    from mmreid_uda.datasets.synthetic import contact_sheet
    from mmreid_uda.visualization import write_picture

    write_picture(path, contact_sheet(variants, num_ids, seed))
    print(f"wrote {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the picture, render the domains, or both."""
    from mmreid_uda.datasets.synthetic import SyntheticSpec

    args = parse_args(argv)
    specs = [
        SyntheticSpec(variant, args.num_train_ids, args.num_test_ids, args.images_per_id, args.seed)
        for variant in args.variants
    ]
    if args.contact_sheet:
        write_sheet(args.contact_sheet, args.variants, args.sheet_ids, args.seed)
    if args.data_root:
        for spec in specs:
            render(args.data_root, spec, args.workers)


def render(data_root: str, spec: SyntheticSpec, workers: int) -> None:
    """Render one domain unless it is there already, and say where it lies."""
    from mmreid_uda.datasets.synthetic import ensure_rendered, is_complete

    start = time.monotonic()
    folder = os.path.join(data_root, "synthetic", spec.folder_name)
    if is_complete(folder, spec):
        print(f"{folder} is complete")
        return
    folder = ensure_rendered(
        data_root, spec, workers, lambda done, total: show_progress(spec.variant, done, total)
    )
    print(f"rendered {folder} in {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    run_tool(main)
