"""Measure a pack of many thumbnails beside the same thumbnails as files: opening it, and loading from a cold cache.

Rendered pedestrians, moved and lit anew for each of N images, 17 a person, are written into a pack and, with --files,
into a folder as well. A dataset is opened on either, and a training's loader without network reads some of its images,
in random order and in that of the list: first after the system was told to forget their pages (posix_fadvise,
DONTNEED), then again. The names and places of files stay in the system's memory, which favors them; what came from the
disk is told by the kernel. One process, one thread.

Examples:
    python tools/benchmarks/benchmark_pack.py --images 131072 --files --folder /tmp/thumbnails
    python tools/benchmarks/benchmark_pack.py --images 1000000 --sample 50000 --json pack_1m.json
"""

from __future__ import annotations

import argparse

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, at_least, run_tool


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Measure a pack beside files.")
    parser.add_argument("--images", type=at_least(17), default=2000, help="N, number of thumbnails")
    parser.add_argument(
        "--sample", type=at_least(1), default=10000, help="images to load each time"
    )
    parser.add_argument("--files", action="store_true", help="measure a folder of files, too")
    parser.add_argument(
        "--folder", help="where both are made, and found again (default: a temporary one)"
    )
    parser.add_argument("--batch-size", type=at_least(1), default=64, help="images per batch")
    add_output_options(parser, 3)
    return parser.parse_args()


def main() -> None:
    """Measure and show."""
    args = parse_args()
    from pack_costs import measure, report

    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
