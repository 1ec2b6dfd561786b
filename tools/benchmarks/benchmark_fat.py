"""Measure what FAT costs beside the triplet loss it bounds: time and memory of one pass over N images, with gradient.

The number of identities stays the same while N grows, so that a full triplet loss (every anchor with every positive and
every negative) is cubic, one of the hardest triplets over the whole set quadratic, and FAT (centroids of the whole set,
then batches against them) linear. Each is written as usual: the triplet losses on the matrix of all distances. CPU time
counts, and the best of several passes, so that other load matters little; memory is what a process of its own adds at
its peak.

Example:
    python tools/benchmarks/benchmark_fat.py --json work_dirs/fat.json --figure work_dirs/fat.png
"""

from __future__ import annotations

import argparse

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, run_tool

SIZES = {
    "full triplet": (512, 1024, 1536),
    "batch-hard": (1024, 2048, 4096),
    "FAT": (2048, 4096, 8192, 16384, 32768),
}
"""N of each side: what a side can do in some seconds."""
NEGATIVES = ("ctrdAll", "ctrdAvg", "ctrdHM", "batchNeg")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dim", type=int, default=256, help="dimensions of a feature")
    parser.add_argument("--num-ids", type=int, default=32, help="identities, whatever N is")
    parser.add_argument(
        "--negatives", choices=NEGATIVES, default="batchNeg", help="set of negatives"
    )
    for side, sizes in SIZES.items():
        name = f"--sizes-{side.replace(' ', '-').lower()}"
        parser.add_argument(name, dest=side, type=int, nargs="+", default=sizes, help="values of N")
    parser.add_argument("--skip-memory", action="store_true", help="do not measure the memory")
    add_output_options(parser, 5, figure=True)
    return parser.parse_args()


def main() -> None:
    """Measure and show."""
    args = parse_args()
    from fat_costs import draw, measure, report

    show(args, measure(args), report, draw)


if __name__ == "__main__":
    run_tool(main)
