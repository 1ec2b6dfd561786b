"""Measure where the seconds and bytes of one epoch go, end to end: listing, labels, iterations, checkpoint, test.

Thumbnails of 64 x 32 pixels are drawn into a folder, a texture for each of N / 17 people, seen by six cameras; the
Runner trains one epoch on them as ``tools/train.py`` would, and every part of it is timed without those inside it, so
that the parts add up to the whole. Images are loaded in the process itself, where their cost is seen. With ``--iters``
only so many iterations are run, and their parts are counted as often as the whole epoch would; the report says so.

Examples:
    python tools/benchmarks/benchmark_epoch.py --images 32621 --json epoch_32k.json
    python tools/benchmarks/benchmark_epoch.py --images 131072 --iters 200 --folder /tmp/thumbnails
"""

from __future__ import annotations

import argparse

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, add_config_options, at_least, run_tool


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Time an epoch, part by part.")
    parser.add_argument(
        "config",
        nargs="?",
        default="configs/cluster_contrast/cluster-contrast_mbv2_synthb.py",
        help="config of a method without source",
    )
    parser.add_argument(
        "--images", type=at_least(100), default=2000, help="N, images of the target"
    )
    parser.add_argument("--iters", type=at_least(1), help="iterations to run (default: N / batch)")
    parser.add_argument(
        "--folder", help="where the images are drawn, and found again (default: a temporary one)"
    )
    parser.add_argument("--num-workers", type=at_least(0), default=0, help="loading processes")
    add_config_options(parser)
    add_output_options(parser)
    return parser.parse_args()


def main() -> None:
    """Measure and show."""
    args = parse_args()
    from epoch_costs import measure, report

    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
