"""Draw pseudo-labels against the truth: pure clusters, identities that are split, clusters that have merged.

Frames: a pure cluster green; a split identity's clusters blue and orange in turn, its outliers grey; in a merged
cluster the most frequent person green, others red.

Example:
    python tools/visualization/cluster_collages.py configs/ise/ise_r50_market.py \
        work_dirs/ise_r50_market/pseudo_labels/epoch_070.npz --out work_dirs/clusters.png
"""

from __future__ import annotations

import argparse

from mmreid_uda.cli import ToolParser, add_config_options, add_picture_argument, at_least, run_tool


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Draw clusters against the truth.")
    parser.add_argument("config", help="config file, or its name: names the target")
    parser.add_argument("labels", help="pseudo_labels/epoch_<n>.npz of a run")
    parser.add_argument("--rows", type=at_least(1), default=3, help="rows per kind")
    parser.add_argument("--per-row", type=at_least(1), default=12, help="images per row")
    add_picture_argument(parser, "clusters.png")
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    """Read both, compare, draw."""
    args = parse_args()
    from mmreid_uda.apis import load_pseudo_labels
    from mmreid_uda.apis.feature_set import target_images
    from mmreid_uda.config import load_config
    from mmreid_uda.visualization import cluster_kinds, draw_cluster_collage, write_picture

    target = target_images(load_config(args.config, args.cfg_options))
    labels = load_pseudo_labels(args.labels, target.paths)
    kinds = cluster_kinds(labels, target.true_labels)
    picture = draw_cluster_collage(
        target.paths, labels, target.true_labels, args.rows, args.per_row
    )
    write_picture(args.out, picture)
    print(
        f"{len(kinds.pure)} clusters are pure, {len(kinds.split)} identities split, {len(kinds.merged)} clusters "
        f"merged: {args.out}"
    )


if __name__ == "__main__":
    run_tool(main)
