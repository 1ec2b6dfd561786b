"""Draw what several runs have logged over each other: losses, accuracy, clusters.

Example:
    python tools/visualization/curves.py work_dirs/ise_mbv2_synthb work_dirs/ise_mbv2_synthb-seed2 \
        --curves loss '*/mAP' cluster/clusters --out work_dirs/curves.png
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mmreid_uda.cli import ToolParser, add_picture_argument, run_tool

DEFAULT = (
    "loss",
    "*/mAP",
    "*/R1",
    "cluster/clusters",
    "cluster/outlier_ratio",
    "cluster/ari_previous",
    "cluster/nmi",
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Draw the curves of several runs.")
    parser.add_argument("runs", nargs="+", help="work dirs")
    parser.add_argument(
        "--curves",
        nargs="+",
        default=DEFAULT,
        help="names or patterns of logged quantities",
    )
    add_picture_argument(parser, "curves.png")
    return parser.parse_args()


def run_names(folders: Sequence[str]) -> list[str]:
    """Name runs by the last part of their paths, or by as many parts as tell different folders apart."""
    paths = [Path(os.path.abspath(folder)).parts for folder in folders]
    for depth in range(1, max(map(len, paths))):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


def main() -> None:
    """Read, draw."""
    args = parse_args()
    from mmreid_uda.visualization import draw_curves, read_scalars, write_picture

    runs = dict(zip(run_names(args.runs), map(read_scalars, args.runs)))
    write_picture(args.out, draw_curves(runs, args.curves))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
