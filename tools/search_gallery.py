"""Build a gallery of images, and find in it who is on other images.

Examples:
    python tools/search_gallery.py build configs/ise/ise_r50_market.py CHECKPOINT crops/ --out gallery.npz --index hnsw
    python tools/search_gallery.py query configs/ise/ise_r50_market.py CHECKPOINT gallery.npz query.jpg --topk 5 --json
    python tools/search_gallery.py query configs/ise/ise_r50_market.py CHECKPOINT gallery.npz target --split query
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from mmreid_uda.cli import (
    ToolParser,
    add_image_options,
    add_inferencer_arguments,
    at_least,
    images_of_arguments,
    inferencer_of_arguments,
    run_tool,
    writable,
)
from mmreid_uda.utils.choices import INDEX_KINDS

if TYPE_CHECKING:
    from mmreid_uda.apis import Match


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Search a gallery of images.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="write the gallery of a folder")
    query = commands.add_parser("query", help="search a gallery")
    for command in (build, query):
        command.add_model()
    build.add_argument("images", nargs="+", help="folders, images, or datasets")
    build.add_argument("--out", type=writable(".npz"), required=True, help="the .npz file to write")
    build.add_argument(
        "--index", choices=INDEX_KINDS, default="flat", help="kind of index; flat is exact"
    )
    build.add_argument(
        "--nprobe", type=at_least(1), default=64, help="lists that a search of ivf looks at"
    )
    build.add_argument(
        "--ef-search", type=at_least(1), default=64, help="candidates that a search of hnsw keeps"
    )
    query.add_argument("gallery", help="file of `build`, extract_features.py or run_onnx.py")
    query.add_argument("images", nargs="+", help="folders, images, or datasets")
    query.add_argument("--topk", type=at_least(1), default=10, help="matches per query")
    query.add_argument("--json", action="store_true", help="print JSON in place of the table")
    for command in (build, query):
        add_image_options(command)
        add_inferencer_arguments(command)
    return parser.parse_args()


def as_table(queries: list[str], results: list[list[Match]]) -> str:
    """One block per query: rank, cosine similarity and path of each match."""
    lines = []
    for query, matches in zip(queries, results):
        lines.append(query)
        lines += [
            f"{rank:6}  {match.similarity:7.4f}  {match.path}"
            for rank, match in enumerate(matches, 1)
        ]
    return "\n".join(lines)


def as_json(queries: list[str], results: list[list[Match]]) -> str:
    """A list with ``query`` and ``matches`` (path, similarity, position) of each query."""
    answers = [
        dict(query=query, matches=[match._asdict() for match in matches])
        for query, matches in zip(queries, results)
    ]
    return json.dumps(answers, indent=2)


def main() -> None:
    """Build or query."""
    args = parse_args()
    inferencer = inferencer_of_arguments(args, args.config, args.checkpoint)
    if args.command == "query":
        inferencer.load_gallery(args.gallery)  # the wrong file is told before images are read
    images = images_of_arguments(args, inferencer.cfg, args.images).paths
    if args.command == "build":
        gallery = inferencer.build_gallery(images, args.index, args.nprobe, args.ef_search)
        gallery.save(args.out)
        print(f"{len(gallery)} images in a {args.index} index: {args.out}")
        return
    results = inferencer.search(images, args.topk)
    print((as_json if args.json else as_table)(images, results))


if __name__ == "__main__":
    run_tool(main)
