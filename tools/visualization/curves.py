"""Draw what several runs have logged over each other: losses, accuracy, clusters.

Example:
    python tools/visualization/curves.py work_dirs/ise_mbv2_synthb work_dirs/ise_mbv2_synthb-seed2 \
        --curves loss '*/mAP' cluster/clusters --out work_dirs/curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmreid_uda.apis import run_tool
from mmreid_uda.visualization import draw_curves, read_scalars, write_picture

DEFAULT = ("loss", "*/mAP", "*/R1", "cluster/clusters", "cluster/outlier_ratio", "cluster/nmi")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Draw the curves of several runs.")
    parser.add_argument("runs", nargs="+", help="work dirs")
    parser.add_argument(
        "--curves",
        nargs="+",
        default=DEFAULT,
        help=f"names or patterns of logged quantities (default: {' '.join(DEFAULT)})",
    )
    parser.add_argument("--out", default="work_dirs/curves.png", help="picture to write")
    return parser.parse_args()


def main() -> None:
    """Read, draw."""
    args = parse_args()
    runs = {Path(run).name: read_scalars(run) for run in args.runs}
    write_picture(args.out, draw_curves(runs, args.curves))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
