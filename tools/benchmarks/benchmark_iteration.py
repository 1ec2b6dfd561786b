"""Measure what an iteration of an algorithm costs beside the bare passes of its networks: seconds and memory.

The reference runs the encoders that the algorithm runs, on the same images: every student forward and backward, every
teacher forward; and lets the same optimiser make a step: no labels, no classifiers, no losses, no averages. Ours is the
whole iteration of a training: the batch as the loader gives it, normalisation, losses, backward pass, optimiser, the
move of teachers. Both take turns in one process; the ratio is the median over pairs. Parts take turns with them:
``preprocessing``, ``losses`` (all that is computed from features, forward and backward) and ``averages``. Seconds are
those of the processor where the networks run on it, so that a busy machine can be measured on. With ``--memory`` the
memory is compared, too, that a first iteration adds in a fresh process (Linux only).

Examples:
    python tools/benchmarks/benchmark_iteration.py                                  # one config of each method
    python tools/benchmarks/benchmark_iteration.py configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py --memory --json mmt.json
    python tools/benchmarks/benchmark_iteration.py --cfg-options input_size=64,32 global_batch_size=32
"""

from __future__ import annotations

import argparse

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, add_config_options, at_least, run_tool

METHODS = [
    "configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py",
    "configs/abmt/abmt_mbv2_syntha2synthb.py",
    "configs/cluster_contrast/cluster-contrast_mbv2_synthb.py",
    "configs/ise/ise_mbv2_synthb.py",
    "configs/fat/fat_mbv2_synthb.py",
    "configs/ptl/ptl_mbv2_synthb.py",
]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Time iterations of algorithms.")
    parser.add_argument(
        "configs", nargs="*", default=METHODS, help="configs (default: a small one of each method)"
    )
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument(
        "--clusters",
        type=at_least(2),
        default=150,
        help="classes that classifiers and memories have",
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="compare the memory that a first iteration adds as well",
    )
    add_config_options(parser)
    add_output_options(parser, 10)
    return parser.parse_args()


def main() -> None:
    """Measure and show."""
    args = parse_args()
    from iteration_costs import measure, report

    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
