"""Measure pseudo-labels from a hundred thousand to millions of images: seconds, memory, recall, labels, laws.

Features of people seen by several cameras are generated into a file, 17 images of each person in the mean, and go
through the clusterer of the configs, from the file to labels. Every case runs in processes of its own: its memory is
the sum over them of the most that was resident, of which the file's pages, which the system may drop, are told apart.
Labels are compared with the identities, and with those of the exact search where that ran at the same size.

For each step a law ``a·N^b`` is fitted to the sizes measured, with the standard error of b, and carried on to
``--predict`` with the factor that holds one more case 19 times out of 20. With ``--ranks 1 2`` the share of a step that
ranks divide among each other is measured too, at the largest size, and the laws are carried on to ``--processes``.

Examples:
    python tools/benchmarks/scale.py --json scale.json
    python tools/benchmarks/scale.py --num-images 1000000 --search ivf --max-memory 12GiB
    python tools/benchmarks/scale.py --num-images 32768 65536 131072 --search exact ivf --ranks 1 2
    python tools/benchmarks/scale.py --num-images 2000000 --search ivf --cases scale.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, at_least, run_tool
from mmreid_uda.utils import InputError


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--num-images",
        type=at_least(100),
        nargs="*",
        default=[32_768, 131_072, 1_000_000],
        metavar="N",
        help="sizes; none with --cases alone",
    )
    parser.add_argument(
        "--search",
        nargs="+",
        default=["exact", "ivf"],
        metavar="KIND",
        help="searches of the clusterer, such as exact, ivf",
    )
    parser.add_argument(
        "--exact-up-to",
        type=at_least(0),
        default=131_072,
        metavar="N",
        help="leave the exact search out for more images",
    )
    parser.add_argument("--dim", type=at_least(1), default=256, help="dimensions of a feature")
    parser.add_argument(
        "--ranks", type=at_least(1), nargs="+", default=[1], metavar="P", help="processes"
    )
    parser.add_argument(
        "--threads",
        type=at_least(1),
        help="of each process (default: torch's own, divided among the most ranks)",
    )
    parser.add_argument("--max-memory", default="16GiB", help="budget of the clusterer")
    parser.add_argument(
        "--clusterer",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="more settings of JaccardDBSCAN, such as nprobe=32 k1=20",
    )
    parser.add_argument(
        "--predict",
        type=at_least(1),
        nargs="+",
        default=[1_000_000, 10_000_000],
        metavar="N",
        help="carry the laws on to so many images",
    )
    parser.add_argument(
        "--processes",
        type=at_least(1),
        nargs="+",
        default=[1, 8, 64],
        metavar="P",
        help="carry them on to so many processes",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the features")
    parser.add_argument(
        "--cases",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of --json: laws are fitted to their cases, too; of the same settings and machine",
    )
    add_output_options(parser, 1)
    return parser.parse_args()


def main() -> None:
    """Measure and show."""
    args = parse_args()
    from scale_costs import measure, report

    metrics = measure(args)
    show(args, metrics, report)
    if metrics["failed"]:
        raise InputError(metrics["failed"][0])


if __name__ == "__main__":
    run_tool(main)
