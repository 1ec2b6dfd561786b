"""Measure the evaluation beside the field's: ranking, and k-reciprocal re-ranking.

Three parts, on synthetic features with a camera bias:

* ``ranking``: mAP, CMC and mINP of given distances. ``python`` is the evaluator of the papers' code, a sort of the
  whole matrix and a loop over queries in NumPy; ``compiled`` the same algorithm as the field compiles it with Cython,
  here on one thread by numba; ``ours, plain`` runs without compiled kernels. With ``--peer`` also
  ``torchreid``: its own Cython evaluator. Its sdist lacks the source; a wheel that has it compiled is
  ``pip download --no-deps pyppbox-torchreid``, unzipped: ``--peer .../pyppbox_torchreid/metrics/rank_cylib``.
* ``end to end``: from features to figures, the matrix product included, beside the ``compiled`` evaluator.
* ``re-ranking``: from features to re-ranked distances, beside the official dense function.

With ``--ranks`` the last two are measured once more on processes that share the queries: CPU seconds of each.

All sides run in one process and take turns; medians are reported. Memory is what a side needs above its inputs,
measured in a process of its own.

Example:
    python tools/benchmarks/benchmark_evaluation.py --json evaluation.json
    python tools/benchmarks/benchmark_evaluation.py --num-gallery 32621 --ranks 1 2 --peer PATH/rank_cylib
    python tools/benchmarks/benchmark_evaluation.py --num-queries 11659 --num-gallery 82161 --skip-reference
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, at_least, run_tool

PARTS = ("ranking", "end to end", "re-ranking")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--num-queries", type=at_least(1), default=3368, help="queries")
    parser.add_argument("--num-gallery", type=at_least(1), default=15913, help="gallery images")
    parser.add_argument("--dim", type=at_least(1), default=2048, help="dimensions of a feature")
    parser.add_argument("--seed", type=int, default=0, help="seed of the features")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        help="what is measured",
    )
    parser.add_argument(
        "--skip-reference", action="store_true", help="measure our side only, for large problems"
    )
    parser.add_argument(
        "--peer", type=Path, metavar="FOLDER", help="folder of torchreid's compiled rank_cy"
    )
    parser.add_argument(
        "--ranks",
        type=at_least(1),
        nargs="+",
        default=[],
        metavar="P",
        help="processes that share the queries",
    )
    parser.add_argument("--skip-memory", action="store_true", help="do not measure the memory")
    add_output_options(parser, 3)
    return parser.parse_args()


def main() -> None:
    """Measure and show."""
    args = parse_args()
    from evaluation_costs import measure, report

    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
