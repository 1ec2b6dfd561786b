"""Draw features on a plane by t-SNE or UMAP, coloured by identity, camera or pseudo-label.

With ``--supports`` ISE's support samples are drawn as rings: what each image of a cluster becomes when it is moved
towards the nearest other cluster (Zhang et al., CVPR 2022).

Examples:
    python tools/visualization/embedding.py features.npz --color camera
    python tools/visualization/embedding.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market \
        --labels work_dirs/ise_r50_market/pseudo_labels/epoch_070.npz --supports 0.5 --out work_dirs/supports.png
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from mmreid_uda.cli import (
    ToolParser,
    add_feature_arguments,
    add_picture_argument,
    at_least,
    features_of_arguments,
    number,
    run_tool,
)
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Fraction

if TYPE_CHECKING:
    from mmreid_uda.apis import FeatureSet


COLORS = {"id": "identity", "camera": "camera", "pseudo": "pseudo-label"}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Draw features on a plane.")
    add_feature_arguments(parser, "train")
    parser.add_argument(
        "--color",
        choices=COLORS,
        help="what the colours are (default: pseudo with --labels, else id)",
    )
    parser.add_argument("--labels", help="pseudo_labels/epoch_<n>.npz of a run")
    parser.add_argument(
        "--supports", type=number(Fraction), metavar="LAMBDA", help="ISE's lambda, 0..1"
    )
    parser.add_argument(
        "--groups", type=at_least(1), default=15, help="identities, or clusters, to show"
    )
    parser.add_argument("--method", choices=("tsne", "umap"), default="tsne", help="way to lay out")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the layout")
    add_picture_argument(parser, "embedding.png")
    return parser.parse_args()


def choose_images(images: FeatureSet, labels: np.ndarray | None, groups: int) -> np.ndarray:
    """Images of the largest clusters with all images of their people, or of the people with most images.

    Args:
        images: N images.
        labels: int (N,), pseudo-labels, or None.
        groups: Clusters or people to take.

    Returns:
        int (M,), ascending. All images, where neither people nor clusters are known.
    """
    from mmreid_uda.visualization import in_largest

    if labels is None:
        chosen = in_largest(images.pids, groups)
    else:
        chosen = in_largest(labels, groups)
        chosen |= np.isin(images.pids, images.pids[chosen & (images.pids >= 0)])
    return np.flatnonzero(chosen | (not chosen.any()))


def main() -> None:
    """Choose, move, lay out, draw."""
    args = parse_args()
    import torch
    import torch.nn.functional as F

    from mmreid_uda.apis import load_pseudo_labels
    from mmreid_uda.models.layers import support_samples
    from mmreid_uda.structures import class_means
    from mmreid_uda.visualization import draw_embedding, project, write_picture

    color = args.color or ("pseudo" if args.labels else "id")
    if args.labels is None and (color == "pseudo" or args.supports is not None):
        raise InputError(
            "found no --labels, expected the pseudo-labels of a run for --color pseudo and --supports: give "
            "WORK_DIR/pseudo_labels/epoch_<n>.npz."
        )
    images = features_of_arguments(args)
    labels = load_pseudo_labels(args.labels, images.paths) if args.labels else None
    chosen = choose_images(images, labels, args.groups)
    groups = images.cameras if color == "camera" else images.pids
    if labels is not None and color == "pseudo":
        groups = labels
    features, groups = images.features[chosen], groups[chosen]
    supports, support_groups = np.empty((0, features.shape[1]), np.float32), None
    if args.supports is not None and labels is not None:
        # Centroids are those of all clusters: the nearest other one need not be on the picture.
        inlier = labels[chosen] >= 0
        centroids = F.normalize(
            class_means(
                torch.from_numpy(images.features), torch.from_numpy(labels), int(labels.max()) + 1
            ),
            dim=1,
        )
        supports = support_samples(
            torch.from_numpy(features[inlier]),
            torch.from_numpy(labels[chosen][inlier]),
            centroids,
            args.supports,
        ).numpy()
        support_groups = groups[inlier]
    points = project(np.concatenate([features, supports]), args.method, args.seed)
    title = f"{len(features)} images by {COLORS[color]}" + (
        f", rings: supports at lambda {args.supports:g}" if support_groups is not None else ""
    )
    figure = draw_embedding(
        points[: len(features)], groups, points[len(features) :], support_groups, title
    )
    write_picture(args.out, figure)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
