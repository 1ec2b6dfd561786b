"""Measure the pseudo-labels beside the papers' dense algorithm: seconds, memory, equality, growth.

Both go from unit features to labels: nearest neighbours, k-reciprocal Jaccard distance, DBSCAN. The reference is the
algorithm of SpCL, Cluster-Contrast and ISE in the vectorisation of their code: an exact faiss search, loops over images
around NumPy operations on rows of N×N matrices, scikit-learn's DBSCAN on the dense distances. Ours runs with kernels
(exact in float32, and with candidates found in int8), without kernels, as the clusterer of the configs, and with the
camera-aware distance of CA-Jaccard, which is shown beside float32.

The sides take turns in one process; medians of the repetitions are reported. Added memory is measured in a fresh
process per side: the largest resident size during the step minus the size before it, features and libraries loaded
(Linux only). Equality is checked where it can hold to the bit: with both sides starting from the same ranks and
similarities. The floor is half of an N×N×D product of float32 matrices at the best rate that this machine shows on
large blocks: an exact search cannot go below it without giving up float32.

Examples:
    python tools/benchmarks/benchmark_clustering.py --json clustering.json --figure clustering.png
    python tools/benchmarks/benchmark_clustering.py --num-samples 130000 --skip-reference
    python tools/benchmarks/benchmark_clustering.py --skip-reference --sides camera-aware
    python tools/benchmarks/benchmark_clustering.py --skip-reference --growth 4000 8000 16000 32000
    python tools/benchmarks/benchmark_clustering.py --dim 256 --skip-reference --growth 8192 32768 131072
"""

from __future__ import annotations

import argparse

from measuring import add_output_options, show
from synthetic_features import NUM_SAMPLES

from mmreid_uda.cli import ToolParser, at_least, number, run_tool
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Positive

# Names of the sides; what they do is imported once the command line is understood.
SIDES = ("reference", "float32", "int8", "without kernels", "camera-aware", "JaccardDBSCAN")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--num-samples",
        type=at_least(1),
        metavar="N",
        help=f"default {NUM_SAMPLES}, or all of --features",
    )
    parser.add_argument("--dim", type=at_least(1), default=2048, help="of synthetic features")
    parser.add_argument("--seed", type=int, default=0, help="of synthetic features")
    parser.add_argument(
        "--features",
        metavar="FILE.npy",
        help="float (N, D) features to use instead of synthetic ones",
    )
    parser.add_argument("--eps", type=number(Positive), default=0.6, help="radius of DBSCAN")
    parser.add_argument("--min-samples", type=at_least(1), default=4, help="of DBSCAN")
    parser.add_argument("--k1", type=at_least(1), default=30, help="of the Jaccard distance")
    parser.add_argument("--k2", type=at_least(1), default=6, help="of the Jaccard distance")
    parser.add_argument(
        "--growth",
        type=at_least(1),
        nargs="+",
        default=[],
        metavar="N",
        help="sizes for the growth over N",
    )
    parser.add_argument(
        "--skip-reference", action="store_true", help="ours alone, where N×N does not fit"
    )
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=SIDES,
        default=[],
        help="only these, beside float32, on which the others are measured",
    )
    parser.add_argument("--gpu", action="store_true", help="search for neighbours on the GPU")
    add_output_options(parser, 3, figure=True)
    args = parser.parse_args()
    if len(set(args.growth)) == 1:
        raise InputError(
            f"found --growth {args.growth}, expected at least 2 sizes: name another, or leave it out."
        )
    return args


def main() -> None:
    """Measure and show."""
    args = parse_args()
    from clustering_costs import measure
    from clustering_report import draw, report

    show(args, measure(args), report, draw)


if __name__ == "__main__":
    run_tool(main)
