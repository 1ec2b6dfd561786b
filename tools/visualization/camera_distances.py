"""Draw histograms of the distances within cameras and across cameras, of one person and of two.

Example:
    python tools/visualization/camera_distances.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market \
        --out work_dirs/camera_distances.png
"""

from __future__ import annotations

import argparse

from mmreid_uda.cli import (
    ToolParser,
    add_feature_arguments,
    add_picture_argument,
    at_least,
    features_of_arguments,
    run_tool,
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Draw distances within and across cameras.")
    add_feature_arguments(parser, "test")
    parser.add_argument("--bins", type=at_least(1), default=100, help="intervals between 0 and 2")
    add_picture_argument(parser, "camera_distances.png")
    return parser.parse_args()


def main() -> None:
    """Count all pairs, draw."""
    args = parse_args()
    from mmreid_uda.visualization import camera_histograms, draw_camera_distances, write_picture

    images = features_of_arguments(args)
    histograms = camera_histograms(images.features, images.pids, images.cameras, args.bins)
    write_picture(args.out, draw_camera_distances(histograms, f"{len(images.paths)} images"))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
