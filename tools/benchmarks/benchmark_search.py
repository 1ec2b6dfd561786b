"""Measure the search in a gallery: seconds to build, latency of a query, and recall of flat, IVF and HNSW indexes.

The gallery and the queries are synthetic features with identities and cameras. Latency is that of one query at a time;
the rate is that of all queries in one call. Recall is the share of the true nearest images, those of the flat index,
that is found.

Examples:
    python tools/benchmarks/benchmark_search.py --json search.json
    python tools/benchmarks/benchmark_search.py --num-gallery 1000000 --dim 512 --index flat ivf
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from synthetic_features import make_features

from mmreid_uda.cli import ToolParser, at_least, run_tool, writable
from mmreid_uda.utils import num_threads
from mmreid_uda.utils.choices import INDEX_KINDS
from mmreid_uda.utils.files import write_json

if TYPE_CHECKING:
    from mmreid_uda.neighbors import VectorIndex


# Images per identity, and cameras, about as in Market-1501.
_IMAGES_PER_ID, _CAMERAS = 13, 6


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--num-gallery", type=at_least(1), default=100_000, help="gallery images")
    parser.add_argument("--num-queries", type=at_least(1), default=200, help="queries")
    parser.add_argument("--dim", type=at_least(1), default=2048, help="dimensions of a feature")
    parser.add_argument("--topk", type=at_least(1), default=10, help="matches per query")
    parser.add_argument(
        "--index", nargs="+", choices=INDEX_KINDS, default=list(INDEX_KINDS), help="indexes"
    )
    parser.add_argument(
        "--widths",
        nargs="+",
        type=at_least(1),
        default=[16, 64, 256],
        help="nprobe of ivf, ef_search of hnsw",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the features")
    parser.add_argument("--json", type=writable(), help="write the figures to this file")
    return parser.parse_args()


def measure_search(index: VectorIndex, queries: np.ndarray, topk: int) -> dict[str, Any]:
    """Search one by one, then all at once.

    Returns:
        ``latency_ms`` (median), ``latency_p95_ms``, ``queries_per_second``, and ``found``, int64 (Q, topk).
    """
    index.search(queries[:1], topk)
    times = []
    for query in queries:
        started = time.perf_counter()
        index.search(query[None], topk)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    _, found = index.search(queries, topk)
    together = time.perf_counter() - started
    return {
        "latency_ms": 1000 * statistics.median(times),
        "latency_p95_ms": 1000 * float(np.quantile(times, 0.95)),
        "queries_per_second": len(queries) / together,
        "found": found,
    }


def recall(found: np.ndarray, expected: np.ndarray) -> float:
    """Share of the expected images that was found, both int (Q, k)."""
    return float(np.mean([np.isin(true, near).mean() for true, near in zip(expected, found)]))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all indexes.

    Returns:
        ``rows``: per index and width (nprobe or ef_search) ``index``, ``width``, ``build_seconds``, the figures of
        :func:`measure_search` and ``recall``; and the circumstances.
    """
    from mmreid_uda.neighbors import VectorIndex

    num = args.num_gallery + args.num_queries
    features, _, _ = make_features(
        num, max(num // _IMAGES_PER_ID, 2), _CAMERAS, args.dim, args.seed
    )
    queries, gallery = features[: args.num_queries], features[args.num_queries :]
    expected = VectorIndex(gallery).search(queries, args.topk)[1]
    rows = []
    for kind in args.index:
        started = time.perf_counter()
        index = VectorIndex(gallery, kind, seed=args.seed)
        seconds = time.perf_counter() - started
        for width in args.widths[:1] if kind == "flat" else args.widths:
            index.nprobe = index.ef_search = width
            metrics = measure_search(index, queries, args.topk)
            score = recall(metrics.pop("found"), expected)
            # The flat index looks at all.
            looked_at = None if kind == "flat" else width
            row = dict(index=kind, width=looked_at, build_seconds=seconds, **metrics, recall=score)
            rows.append(row)
            print(report(row), flush=True)
        del index  # before the next one is built: each holds a copy of the features
    return {
        "rows": rows,
        "num_gallery": args.num_gallery,
        "num_queries": args.num_queries,
        "dim": args.dim,
        "topk": args.topk,
        "threads": num_threads(),
    }


def report(row: dict[str, Any]) -> str:
    """One line of the table."""
    width = "" if row["width"] is None else row["width"]
    return (
        f"{row['index']:5} {width:>5}{row['build_seconds']:10.1f}{row['latency_ms']:12.2f}"
        f"{row['latency_p95_ms']:10.2f}{row['queries_per_second']:12.0f}{row['recall']:9.3f}"
    )


def main() -> None:
    """Run the tool."""
    args = parse_args()
    from mmreid_uda.neighbors.vector_index import import_faiss

    if set(args.index) != {"flat"}:
        import_faiss().omp_set_num_threads(num_threads())
    print(
        f"{args.num_queries} queries, {args.num_gallery} × {args.dim}-d images, top {args.topk}, {num_threads()} "
        "threads"
    )
    print(
        f"{'index':5} {'width':>5}{'build s':>9}{'ms/query':>12}{'p95':>10}{'queries/s':>12}{'recall':>9}"
    )
    metrics = measure(args)
    if args.json:
        write_json(args.json, metrics)


if __name__ == "__main__":
    run_tool(main)
