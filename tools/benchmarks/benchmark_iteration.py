"""Measure what an iteration of a mean teacher costs beside the bare passes of its networks: seconds and memory.

The reference runs every student forward and backward and every teacher forward, on the same images, and lets the same
optimiser make a step: no labels, no classifiers, no losses, no averages. Ours is the whole iteration of a training: the
batch as the loader gives it, normalisation, losses, backward pass, optimiser, ``EMAHook``'s update. Both take turns in
one process; the ratio is the median over pairs. Added memory is that of a first iteration in a fresh process, with the
model loaded (Linux only).

Example:
    python tools/benchmarks/benchmark_iteration.py configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py --json mmt.json
"""

from __future__ import annotations

import argparse

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, add_config_options, run_tool


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Time iterations of a mean teacher.")
    parser.add_argument("config", help="config of MMT, ABMT or a kin")
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
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
