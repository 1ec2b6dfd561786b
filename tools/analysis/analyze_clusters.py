"""Which eps, min_samples, k1, k2 or K for these features? Cluster with every combination, print and plot the outcome.

The search for neighbours, most of the work, is done once for all settings. What is recommended for each min_samples is
the choice of k1='auto' and eps='auto', for which no label is needed (docs/tuning.md). Where identities are known, its
F-score is held against the best of the sweep. --rho adds the radius of the papers' rule, the mean of the smallest
ρ-share of all distances (MMT: 1.6e-3, ABMT: 2e-3).

Examples:
    python tools/analysis/analyze_clusters.py features.npz --eps 0.3 0.4 0.5 0.6 0.7
    python tools/analysis/analyze_clusters.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market --k1 20 30
    python tools/analysis/analyze_clusters.py features.npz --k1 5 10 20 40 --min-samples 2 4
    python tools/analysis/analyze_clusters.py features.npz --num-clusters 300 500 700
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmreid_uda.cli import (
    ToolParser,
    add_feature_arguments,
    add_picture_argument,
    at_least,
    features_of_arguments,
    run_tool,
)

if TYPE_CHECKING:
    from mmreid_uda.clustering import SweepResult
    from mmreid_uda.neighbors.jaccard import Variant


COLUMNS = ("clusters", "outliers", "largest", "nmi", "ari", "f_score")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Sweep the parameters of clustering.")
    add_feature_arguments(parser, "train")
    parser.add_argument(
        "--eps", type=float, nargs="+", default=[0.3, 0.4, 0.5, 0.6, 0.7], help="radii of DBSCAN"
    )
    parser.add_argument(
        "--min-samples", type=at_least(1), nargs="+", default=[4], help="neighbours of a core image"
    )
    parser.add_argument(
        "--k1", type=at_least(1), nargs="+", default=[30], help="neighbours of the reciprocal sets"
    )
    parser.add_argument(
        "--k2",
        type=at_least(1),
        nargs="+",
        help="neighbours of the query expansion (default: what goes with each k1)",
    )
    parser.add_argument(
        "--variant", choices=("faiss", "full"), default="faiss", help="kind of Jaccard distance"
    )
    parser.add_argument("--rho", type=float, help="print the eps of the papers' rule, too")
    parser.add_argument(
        "--near-zero",
        choices=("drop", "count"),
        default="drop",
        help="pairs at distance 0 in the rule of --rho",
    )
    parser.add_argument(
        "--num-clusters", type=at_least(1), nargs="+", metavar="K", help="sweep K-means, not DBSCAN"
    )
    parser.add_argument("--seed", type=at_least(0), default=1, help="of K-means, and of the choice")
    add_picture_argument(parser, "clusters.png")
    return parser.parse_args()


def table(results: Sequence[SweepResult]) -> str:
    """One line per setting: what was set, what came out."""
    settings = list(results[0].setting)
    columns = [name for name in COLUMNS if name in results[0].metrics]
    lines = ["".join(f"{name:>13}" for name in [*settings, *columns])]
    for result in results:
        values = [result.setting[name] for name in settings]
        values += [result.metrics[name] for name in columns]
        lines.append("".join(f"{value:13.4g}" for value in values))
    return "\n".join(lines)


def rho_radii(results: Sequence[SweepResult], rho: float) -> str:
    """The radius of the ρ-rule for every k1 and k2."""
    found = {
        (result.setting["k1"], result.setting["k2"]): result.metrics["rho_eps"]
        for result in results
        if "rho_eps" in result.metrics
    }
    if not found:
        return "no eps by the rule of rho: no two images are at a distance above 0"
    return "\n".join(
        f"k1 {k1:g}, k2 {k2:g}: eps {eps:.3f} by the rule of rho {rho:g}"
        for (k1, k2), eps in found.items()
    )


def recommendation(
    features: np.ndarray,
    min_samples: int,
    variant: Variant,
    seed: int,
    truth: np.ndarray | None,
    best: float,
) -> str:
    """What ``'auto'`` chooses, and how good its labels are."""
    from mmreid_uda.clustering import JaccardDBSCAN, cluster_quality

    clusterer = JaccardDBSCAN("auto", min_samples, k1="auto", variant=variant)
    labels = clusterer(features, seed=seed, epoch=0)
    assert clusterer.chosen is not None
    words = f"recommended with min_samples {min_samples}: {clusterer.chosen.words}"
    if truth is None:
        return words
    found = cluster_quality(labels, truth)["f_score"]
    return f"{words}; its F-score is {found:.3f}, the best of the sweep {best:.3f}"


def main() -> None:
    """Sweep, print, draw."""
    args = parse_args()
    from mmreid_uda.clustering import sweep_dbscan, sweep_kmeans
    from mmreid_uda.visualization import draw_cluster_sweep, write_picture

    images = features_of_arguments(args)
    truth = images.pids if (images.pids >= 0).any() else None
    if args.num_clusters:
        sweep = sweep_kmeans(images.features, args.num_clusters, seed=args.seed, true_labels=truth)
    else:
        sweep = sweep_dbscan(
            images.features,
            args.eps,
            args.min_samples,
            args.k1,
            args.k2,
            variant=args.variant,
            rho=args.rho,
            near_zero=args.near_zero,
            true_labels=truth,
        )
    results = list(sweep)
    print(table(results))
    if not args.num_clusters:
        best = max(result.metrics.get("f_score", 0.0) for result in results)
        for least in args.min_samples:
            print(recommendation(images.features, least, args.variant, args.seed, truth, best))
        if args.rho is not None:
            print(rho_radii(results, args.rho))
    identities = None if truth is None else len(np.unique(truth[truth >= 0]))
    if identities is not None:
        print(f"{identities} identities in truth")
    write_picture(args.out, draw_cluster_sweep(results, identities))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
