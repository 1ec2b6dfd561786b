"""Draw queries with the gallery images nearest to them: right ones framed green, wrong ones red; print their names.

Example:
    python tools/visualization/rank_lists.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market \
        --worst --out work_dirs/rank_lists.png
    python tools/visualization/rank_lists.py query.npz gallery.npz --queries 8
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
    parser = ToolParser(description="Draw rank lists.")
    add_feature_arguments(parser)
    parser.add_argument("--queries", type=at_least(1), default=6, help="queries to draw")
    parser.add_argument(
        "--worst",
        action="store_true",
        help="the queries of lowest average precision, not some evenly spread over all",
    )
    parser.add_argument("--topk", type=at_least(1), default=10, help="gallery images per query")
    add_picture_argument(parser, "rank_lists.png")
    return parser.parse_args()


def main() -> None:
    """Rank, choose, draw."""
    args = parse_args()
    from mmreid_uda.apis.feature_set import choose_queries
    from mmreid_uda.visualization import draw_rank_list, write_picture

    images = features_of_arguments(args, "test")
    chosen, captions = choose_queries(images, args.queries, args.worst)
    rows = images.ranking(chosen, args.topk)
    write_picture(args.out, draw_rank_list(rows, captions))
    for (_, gallery), caption in zip(rows, captions):
        print(caption)
        for rank, one in enumerate(gallery, 1):
            print(f"{rank:6}  {'right' if one.right else 'wrong'}  {one.identity:>8}  {one.path}")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
