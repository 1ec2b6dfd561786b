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

import cv2

from mmreid_uda.apis import run_tool
from mmreid_uda.datasets.synthetic import (
    SyntheticSpec,
    contact_sheet,
    ensure_rendered,
    is_complete,
)
from mmreid_uda.utils import InputError


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data_root",
        nargs="?",
        help="folder of the data sets; domains go to <data_root>/synthetic/<variant>",
    )
    parser.add_argument(
        "--variants", nargs="+", default=["a", "b", "c"], help="domains (default: a b c)"
    )
    parser.add_argument("--num-train-ids", type=int, default=SyntheticSpec.num_train_ids)
    parser.add_argument("--num-test-ids", type=int, default=SyntheticSpec.num_test_ids)
    parser.add_argument("--images-per-id", type=int, default=SyntheticSpec.images_per_id)
    parser.add_argument(
        "--seed", type=int, default=0, help="the data sets' render_seed (default: 0)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes; more than 1 pays from some 1,000 ids (default: 1)",
    )
    parser.add_argument(
        "--contact-sheet",
        metavar="FILE",
        help="write a picture: a row per identity, a column per camera",
    )
    parser.add_argument(
        "--sheet-ids", type=int, default=9, help="identities in the picture (default: 9)"
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
    if num_ids < 1:
        raise InputError(f"--sheet-ids {num_ids} was given, expected at least 1; set --sheet-ids")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or not cv2.haveImageWriter(path):
        raise InputError(
            f"the picture cannot be written to '{path}', expected a .png or .jpg in a folder that exists; "
            "set --contact-sheet"
        )
    cv2.imwrite(path, contact_sheet(variants, num_ids, seed), [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"wrote {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the picture, render the domains, or both."""
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
