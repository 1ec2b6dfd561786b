"""Measure the server on loopback: searches a second and their latency, and what kills during an ingest cost.

The gallery is made of synthetic features with cameras and identities. Clients search by vectors, over one connection
each; they run on the same cores as the server. The network is left out: a stand-in makes features of added images.
Recall is the share of the exact matches that an approximate search finds.

Examples:
    python tools/benchmarks/benchmark_serve.py --json serve.json
    python tools/benchmarks/benchmark_serve.py --num-gallery 2000 --dim 64 --seconds 0.5 --kills 2
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import show
from serve_crashes import Client, Grid, ask, kill_while_adding, running
from synthetic_features import IMAGES_PER_ID, NUM_CAMERAS, make_features

from mmreid_uda.cli import ToolParser, at_least, number, run_tool, writable
from mmreid_uda.utils import num_threads
from mmreid_uda.utils.values import Positive

_TOPK = 10


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--num-gallery", type=at_least(100), default=100_000, help="items")
    parser.add_argument("--num-queries", type=at_least(1), default=200, help="different queries")
    parser.add_argument("--dim", type=at_least(1), default=512, help="dimensions of a feature")
    parser.add_argument(
        "--clients", nargs="+", type=at_least(1), default=[1, 8], help="that ask at once"
    )
    parser.add_argument(
        "--seconds", type=number(Positive), default=10.0, help="of each measurement"
    )
    parser.add_argument("--kills", type=at_least(0), default=20, help="SIGKILLs during an ingest")
    parser.add_argument("--seed", type=int, default=0, help="of features and moments")
    parser.add_argument("--json", type=writable(), metavar="FILE", help="write the figures to it")
    return parser.parse_args()


def make_gallery(folder: Path, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    """A gallery with cameras and identities, and what an approximate search needs.

    Args:
        folder: Where it is made.
        args: Of the command line.

    Returns:
        Features of other images of the same identities, float32 (Q, D); seconds that the graph has taken.
    """
    from mmreid_uda.gallery import GallerySettings, Items, open_gallery

    num, dim = args.num_gallery, args.dim
    features, pids, camids = make_features(
        num + args.num_queries, max(1, num // IMAGES_PER_ID), NUM_CAMERAS, dim, args.seed
    )
    settings = GallerySettings(fingerprint=Grid.fingerprint)
    with open_gallery(folder, create=settings, dim=dim) as gallery:
        for start in range(0, num, 1000):
            part = slice(start, min(start + 1000, num))
            gallery.add(
                Items.of(
                    features[part],
                    [f"{n}.jpg" for n in range(part.start, part.stop)],
                    cameras=camids[part].astype(str),
                    identities=pids[part].astype(str),
                )
            )
        started = time.perf_counter()
        gallery.optimize()
        return features[num:], time.perf_counter() - started


def queries(features: np.ndarray, **options: Any) -> list[bytes]:
    """Bodies of searches by features of one image each."""
    return [
        json.dumps({"features": [row.tolist()], "topk": _TOPK, **options}).encode()
        for row in np.round(features, 6).astype(float)
    ]


def measure_searches(port: int, bodies: list[bytes], clients: int, seconds: float) -> dict:
    """Let clients search at the same time.

    Args:
        port: Of the server.
        bodies: Of the searches.
        clients: How many.
        seconds: How long.

    Returns:
        ``searches_per_second``, ``latency_ms`` (median) and ``latency_p95_ms``.
    """
    times: list[list[float]] = [[] for _ in range(clients)]
    ask(port, bodies, min(1.0, seconds), [])
    threads = [
        threading.Thread(target=ask, args=(port, bodies[turn:] + bodies[:turn], seconds, own))
        for turn, own in enumerate(times)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    every = 1000 * np.concatenate([np.array(own) for own in times])
    return {
        "searches_per_second": len(every) / took,
        "latency_ms": float(np.median(every)),
        "latency_p95_ms": float(np.quantile(every, 0.95)),
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All cases on one server, then the kills."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "gallery")
        features, graph = make_gallery(folder, args)
        with running(folder) as (_, port):
            for filtered, where in (("none", {}), ("one camera", {"cameras": ["1"]})):
                exact = queries(features, exact=True, **where)
                approximate = queries(features, exact=False, **where)
                recall = _recall(port, exact, approximate)
                for name, bodies in (("exact", exact), ("approximate", approximate)):
                    for clients in args.clients:
                        found = measure_searches(port, bodies, clients, args.seconds)
                        rows.append(
                            dict(
                                search=name,
                                filter=filtered,
                                clients=clients,
                                recall=1.0 if name == "exact" else recall,
                                **found,
                            )
                        )
        crashes = kill_while_adding(folder, args.kills, seed=args.seed) if args.kills else None
    return {
        "num_gallery": args.num_gallery,
        "dim": args.dim,
        "topk": _TOPK,
        "threads": num_threads(),
        "optimize_seconds": graph,
        "rows": rows,
        "crashes": crashes,
    }


def _recall(port: int, exact: list[bytes], approximate: list[bytes]) -> float:
    client, found, wanted = Client(port), 0, 0
    for one, other in zip(exact, approximate):
        true = {match["id"] for match in client.post("search/vector", one)["matches"]}
        seen = {match["id"] for match in client.post("search/vector", other)["matches"]}
        found, wanted = found + len(true & seen), wanted + len(true)
    return found / wanted


def report(metrics: dict[str, Any]) -> str:
    """The figures as text.

    Args:
        metrics: Of :func:`measure`.

    Returns:
        Lines.
    """
    lines = [
        f"{metrics['num_gallery']} x {metrics['dim']}, {metrics['threads']} threads; graph in "
        f"{metrics['optimize_seconds']:.1f} s",
        f"{'search':12}{'filter':12}{'clients':>8}{'a second':>10}{'median ms':>11}{'p95 ms':>9}{'recall':>9}",
    ]
    lines += [
        f"{row['search']:12}{row['filter']:12}{row['clients']:8}{row['searches_per_second']:10.1f}"
        f"{row['latency_ms']:11.2f}{row['latency_p95_ms']:9.2f}{row['recall']:9.4f}"
        for row in metrics["rows"]
    ]
    if crashes := metrics["crashes"]:
        lines.append(
            f"{crashes['kills']} kills while {crashes['clients']} clients added: {crashes['acknowledged']} images "
            f"acknowledged, {crashes['lost']} lost; {crashes['extra']} more, {crashes['broken_extra']} of them broken"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and report."""
    args = parse_args()
    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
