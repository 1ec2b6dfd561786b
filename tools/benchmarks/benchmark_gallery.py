"""Measure the back ends of galleries: adding, searching, deleting, memory, disk, and kills while items are added.

Features are synthetic, with identities, cameras and times. Each back end works in a process of its own. A search is one
query for its best matches: exact or approximate (after ``optimize``), among all items or those that a filter leaves, by
one or eight threads of one process. Recall is the share of the exact matches that an approximate search finds.

Examples:
    python tools/benchmarks/benchmark_gallery.py --json gallery.json
    python tools/benchmarks/benchmark_gallery.py --back-ends embedded --kills 20
    python tools/benchmarks/benchmark_gallery.py --back-ends server --server qdrant+http://localhost:6333/benchmark
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import resident, show
from synthetic_features import IMAGES_PER_ID, NUM_CAMERAS, make_features

from mmreid_uda.cli import ToolParser, at_least, run_tool, writable
from mmreid_uda.utils import num_threads

if TYPE_CHECKING:
    from mmreid_uda.gallery import Gallery, Items

BACK_ENDS = ("file", "embedded", "server")
THREADS = (1, 8)
# Items added at once where many are, and adds of one item each, of a file that is written whole each time.
_BATCH, _SINGLE, _SINGLE_FILE = 500, 50, 3
_SECONDS = 86400.0


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--num-gallery", type=at_least(100), default=100_000, help="items")
    parser.add_argument(
        "--num-queries", type=at_least(1), default=200, help="searches of each kind"
    )
    parser.add_argument("--dim", type=at_least(1), default=512, help="dimensions of a feature")
    parser.add_argument("--topk", type=at_least(1), default=10, help="matches per query")
    parser.add_argument(
        "--back-ends", nargs="+", choices=BACK_ENDS, default=["file", "embedded"], help="back ends"
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="where the server's gallery is made, default: qdrant-client's imitation, in Python",
    )
    parser.add_argument("--kills", type=at_least(0), default=0, help="kills while items are added")
    parser.add_argument("--seed", type=int, default=0, help="seed of the features")
    parser.add_argument(
        "--json", type=writable(), metavar="FILE", help="write the figures to this file"
    )
    return parser.parse_args()


def filters() -> dict[str, Any]:
    """What is searched: everything; one camera within a third of the time; all cameras but one."""
    from mmreid_uda.gallery import Filter

    return {
        "all": Filter(),
        "camera, time": Filter(cameras=["c0"], since=0, until=_SECONDS / 3),
        "not camera": Filter(not_cameras=["c0"]),
    }


def make_items(num: int, dim: int, seed: int) -> Items:
    """Synthetic items with cameras, times and identities."""
    from mmreid_uda.gallery import Items

    features, pids, camids = make_features(
        num, max(num // IMAGES_PER_ID, 2), NUM_CAMERAS, dim, seed
    )
    return Items.of(
        features,
        [f"crops/{n}.jpg" for n in range(num)],
        cameras=[f"c{one}" for one in camids],
        times=np.linspace(0, _SECONDS, num),
        tracklets=[f"t{n // 5}" for n in range(num)],
        identities=[f"p{one}" for one in pids],
        added=np.arange(num, dtype=float),
    )


def timed(search: Any, queries: np.ndarray, threads: int) -> tuple[dict[str, float], list[Any]]:
    """Search for one query after the other, by some threads.

    Returns:
        ``searches_per_second``, ``ms`` (median), ``p95_ms``, and the results.
    """

    def one(query: np.ndarray) -> tuple[float, Any]:
        started = time.perf_counter()
        [found] = search(query[None])
        return time.perf_counter() - started, found

    one(queries[0])
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        done = list(pool.map(one, queries))
        seconds = time.perf_counter() - started
    times = [1000 * spent for spent, _ in done]
    metrics = dict(
        searches_per_second=len(queries) / seconds,
        ms=statistics.median(times),
        p95_ms=float(np.quantile(times, 0.95)),
    )
    return metrics, [found for _, found in done]


def measure_searches(
    gallery: Gallery, queries: np.ndarray, topk: int, approximate: bool
) -> list[dict[str, Any]]:
    """Rows of the table of searches: exact ones, and approximate ones where they differ."""
    rows = []
    for name, where in filters().items():
        expected: list[set[str]] = []
        for exact in (True, False) if approximate else (True,):
            for threads in THREADS:

                def search(query: np.ndarray, where: Any = where, exact: bool = exact) -> Any:
                    return gallery.search(query, topk, where, exact=exact)

                metrics, results = timed(search, queries, threads)
                found = [{one.id for one in matches} for matches in results]
                expected = expected or found
                shares = [len(a & b) / max(len(a), 1) for a, b in zip(expected, found)]
                recall = statistics.mean(shares)
                rows.append(
                    dict(where=name, exact=exact, threads=threads, **metrics, recall=recall)
                )
    return rows


def measure_back_end(
    kind: str, url: str, num: int, num_queries: int, dim: int, topk: int, seed: int
) -> dict[str, Any]:
    """All figures of one back end.

    Returns:
        ``items_per_second`` of adds in batches, ``single_add_ms`` and its ``single_add_p95_ms``, ``optimize_seconds``,
        ``delete_ms`` of a hundredth by a filter, ``mib_on_disk``, ``mib_resident`` that opening and searching have
        added, and ``searches``.
    """
    from mmreid_uda.gallery import Filter, GallerySettings, open_gallery

    items = make_items(num + num_queries, dim, seed)
    assert items.features is not None
    queries = items.features[num:]
    batch = num if kind == "file" else _BATCH  # a file is written whole
    metrics: dict[str, Any] = {}
    with open_gallery(url, create=GallerySettings()) as gallery:
        started = time.perf_counter()
        for start in range(0, num, batch):
            gallery.add(items.take(range(start, min(start + batch, num))))
        gallery.flush()
        metrics["items_per_second"] = num / (time.perf_counter() - started)
        spent = []
        single = _SINGLE_FILE if kind == "file" else _SINGLE
        for n in range(num, num + min(single, num_queries)):
            started = time.perf_counter()
            gallery.add(items.take([n]))
            gallery.flush() if kind == "file" else None
            spent.append(1000 * (time.perf_counter() - started))
            gallery.delete(Filter(ids=[items.ids[n]]))
        metrics["single_add_ms"] = statistics.median(spent)
        metrics["single_add_p95_ms"] = float(np.quantile(spent, 0.95))
    del items, gallery
    before = resident("VmRSS")
    with open_gallery(url) as gallery:
        metrics["searches"] = measure_searches(gallery, queries, topk, False)
        metrics["mib_resident"] = (resident("VmRSS") - before) / 2**20
        started = time.perf_counter()
        gallery.optimize()
        metrics["optimize_seconds"] = time.perf_counter() - started
        if kind != "file":
            metrics["searches"] = measure_searches(gallery, queries, topk, True)
        started = time.perf_counter()
        metrics["deleted"] = gallery.delete(Filter(added_before=num / 100))
        metrics["delete_ms"] = 1000 * (time.perf_counter() - started)
    place = Path(url.partition(":")[2])
    if url.startswith("qdrant+local:"):
        place = place.parent
    files = [place] if place.is_file() else [one for one in place.rglob("*") if one.is_file()]
    metrics["mib_on_disk"] = sum(512 * one.stat().st_blocks for one in files) / 2**20
    return metrics


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all back ends, each in a process of its own, and kill some that add."""
    from gallery_crashes import kill_while_adding

    metrics: dict[str, Any] = {"threads": num_threads(), "back_ends": {}}
    metrics.update(
        {one: getattr(args, one) for one in ("num_gallery", "num_queries", "dim", "topk")}
    )
    with tempfile.TemporaryDirectory() as folder:
        urls = {
            "file": f"file:{folder}/gallery.npz",
            "embedded": f"embedded:{folder}/embedded",
            "server": args.server or f"qdrant+local:{folder}/local/items",
        }
        for kind in args.back_ends:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                size = (args.num_gallery, args.num_queries, args.dim, args.topk, args.seed)
                done = pool.submit(measure_back_end, kind, urls[kind], *size)
                metrics["back_ends"][kind] = done.result()
        if args.kills:
            metrics["kills"] = kill_while_adding(Path(folder) / "kills", args.kills, args.seed)
    return metrics


def report(metrics: dict[str, Any]) -> str:
    """Two tables."""
    lines = [
        f"{metrics['num_gallery']} items × {metrics['dim']}, top {metrics['topk']}, {metrics['threads']} threads",
        f"{'':10}{'items/s':>10}{'add ms':>9}{'p95':>9}{'delete ms':>11}{'optimize s':>12}{'disk MiB':>10}"
        f"{'RSS MiB':>9}",
    ]
    for kind, one in metrics["back_ends"].items():
        lines.append(
            f"{kind:10}{one['items_per_second']:10.0f}{one['single_add_ms']:9.1f}{one['single_add_p95_ms']:9.1f}"
            f"{one['delete_ms']:11.1f}{one['optimize_seconds']:12.1f}{one['mib_on_disk']:10.0f}{one['mib_resident']:9.0f}"
        )
    lines.append(
        f"{'':10}{'among':14}{'':13}{'threads':>8}{'searches/s':>12}{'ms':>8}{'p95':>8}{'recall':>8}"
    )
    for kind, one in metrics["back_ends"].items():
        lines += [
            f"{kind:10}{row['where']:14}{'exact' if row['exact'] else 'approximate':13}{row['threads']:8}"
            f"{row['searches_per_second']:12.0f}{row['ms']:8.2f}{row['p95_ms']:8.2f}{row['recall']:8.3f}"
            for row in one["searches"]
        ]
    if kills := metrics.get("kills"):
        lines.append(
            f"{kills['kills']} kills: {kills['acknowledged']} changes acknowledged, {kills['lost']} of "
            f"{kills['items']} items lost"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the tool."""
    args = parse_args()
    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
