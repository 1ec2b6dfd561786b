"""Build a gallery of images, and find in it who is on other images.

Examples:
    python tools/search_gallery.py build configs/ise/ise_r50_market.py CHECKPOINT crops/ --out gallery.npz --index hnsw
    python tools/search_gallery.py query configs/ise/ise_r50_market.py CHECKPOINT gallery.npz query.jpg --topk 5 --json
    python tools/search_gallery.py query configs/ise/ise_r50_market.py CHECKPOINT gallery.npz target --split query
    python tools/search_gallery.py query configs/ise/ise_r50_market.py CHECKPOINT gallery.npz target --split query \
        --time-prior work_dirs/ise_r50_market
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmreid_uda.cli import (
    ToolParser,
    add_image_options,
    add_inferencer_arguments,
    add_time_prior,
    at_least,
    images_of_arguments,
    inferencer_of_arguments,
    run_tool,
    time_prior_of_arguments,
    writable,
)
from mmreid_uda.utils.choices import INDEX_KINDS

if TYPE_CHECKING:
    from mmreid_uda.gallery import Match


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
    add_time_prior(query)
    query.add_argument("--json", action="store_true", help="print JSON in place of the table")
    for command in (build, query):
        add_image_options(command)
        add_inferencer_arguments(command)
    return parser.parse_args()


def as_table(queries: list[str], results: Sequence[Sequence[Match]]) -> str:
    """One block per query: rank, score with a time prior if there is one, cosine similarity and path of each match."""
    lines = []
    for query, matches in zip(queries, results):
        lines.append(query)
        lines += [
            f"{rank:6}  {_score(match)}{match.similarity:7.4f}  {match.path}"
            for rank, match in enumerate(matches, 1)
        ]
    return "\n".join(lines)


def _score(match: Match) -> str:
    """The score of a search with a time prior, for the table."""
    return "" if match.score is None else f"{match.score:.4f}  "


def as_json(queries: list[str], results: Sequence[Sequence[Match]]) -> str:
    """A list with ``query`` and ``matches`` (id, path, similarity and what else is known) of each query."""
    answers = [
        dict(query=query, matches=[known_of(match) for match in matches])
        for query, matches in zip(queries, results)
    ]
    return json.dumps(answers, indent=2)


def known_of(match: Match) -> dict[str, Any]:
    """The values of a match that are known."""
    return {
        name: value
        for name, value in match._asdict().items()
        if value not in ("", None) and value == value
    }


def main() -> None:
    """Build or query."""
    args = parse_args()
    from mmreid_uda.apis import Sightings
    from mmreid_uda.evaluation import TimePrior

    options = time_prior_of_arguments(args) if args.command == "query" else None
    prior = None if options is None else TimePrior.of_run(**options)
    inferencer = inferencer_of_arguments(args, args.config, args.checkpoint)
    if args.command == "query":
        inferencer.load_gallery(args.gallery)  # the wrong file is told before images are read
    named = images_of_arguments(args, inferencer.cfg, args.images)
    images, sightings = named.paths, Sightings.of(named.labels, len(named.paths))
    if args.command == "build":
        gallery = inferencer.build_gallery(
            images, args.index, args.nprobe, args.ef_search, sightings
        )
        gallery.save(args.out)
        print(f"{len(gallery)} images in a {args.index} index: {args.out}")
        return
    results = inferencer.search(images, args.topk, prior, sightings)
    if prior is not None:
        text = (
            f"ranked by looks and by {prior.num_journeys} ways between cameras in {args.time_prior}"
        )
        print(f"{text}: score, then cosine similarity", file=sys.stderr)
    print((as_json if args.json else as_table)(images, results))


if __name__ == "__main__":
    run_tool(main)
