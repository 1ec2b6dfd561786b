"""Measure searches for the neighbours of all images: seconds, recall of the lists, memory beside the features.

The features are synthetic, with identities and cameras, and mapped from a file as those of a large run are. A search is
written as its kind, behind a colon its ``nprobe`` or ``ef_search``, and behind a plus its ``refine``. Recall is the
share of the true neighbours of 1,000 images; memory is the largest private size during a search minus that before it
(Linux).

Examples:
    python tools/benchmarks/benchmark_neighbors.py --json neighbors.json
    python tools/benchmarks/benchmark_neighbors.py --num-samples 1000000 --search ivf:64
    python tools/benchmarks/benchmark_neighbors.py --num-samples 13000 --dim 2048 --search float32 int8
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import add_output_options, resident, show
from synthetic_features import IMAGES_PER_ID, NUM_CAMERAS, make_features

from mmreid_uda.cli import ToolParser, at_least, run_tool
from mmreid_uda.utils import InputError, num_threads

_EXACT, _KINDS = ("float32", "int8"), ("ivf", "pq", "hnsw")
_MIB = 1 << 20
_MOMENT = 0.02


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--num-samples", type=at_least(2), default=32_768, metavar="N")
    parser.add_argument("--dim", type=at_least(1), default=256, help="dimensions of a feature")
    parser.add_argument("--neighbors", type=at_least(1), default=31, metavar="K")
    parser.add_argument(
        "--search",
        nargs="+",
        type=parse_search,
        default=[parse_search(one) for one in ("float32", "int8", "ivf", "ivf:64+8", "pq", "hnsw")],
        metavar="KIND[:WIDTH][+REFINE]",
        help=f"of {', '.join(_EXACT + _KINDS)}; the width is 64 unless it is given",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the features")
    add_output_options(parser, 1)
    return parser.parse_args()


def parse_search(text: str) -> tuple[str, int, int]:
    """Kind, width and refine of a search; a ValueError says that it is none."""
    head, _, refine = text.partition("+")
    kind, _, width = head.partition(":")
    if kind not in _EXACT + _KINDS:
        raise ValueError(text)
    return kind, int(width or 64), int(refine or 0)


class Watch:
    """The largest private memory of this process while it lasts."""

    def __enter__(self) -> Watch:
        """Begin; what was freed before goes back, as it would be used again unseen."""
        ctypes.CDLL(None).malloc_trim(0)
        self.before = self.most = resident("RssAnon")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_MOMENT):
            self.most = max(self.most, resident("RssAnon"))


def search_once(rows: np.ndarray, k: int, search: tuple[str, int, int]) -> float:
    """Search; the recall, which exact searches do not measure."""
    from mmreid_uda.neighbors import find_neighbors, find_neighbors_approximately

    kind: Any
    kind, width, refine = search
    if kind in _EXACT:
        find_neighbors(rows, k, precision=kind)
        return 1.0
    options: dict[str, Any] = dict(nprobe=width, ef_search=width, refine=refine)
    return find_neighbors_approximately(rows, k, kind, **options)[1]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure every search.

    Returns:
        ``rows``: per search and repetition ``kind``, ``width``, ``refine``, ``seconds``, ``cpu_seconds``, ``recall``
        and ``mib``; and the circumstances.
    """
    num, k = args.num_samples, min(args.neighbors, args.num_samples)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        np.save(
            path,
            make_features(num, max(num // IMAGES_PER_ID, 2), NUM_CAMERAS, args.dim, args.seed)[0],
        )
        features = np.load(path, mmap_mode="r")
        for search in args.search:
            few = features[: max(2, min(num, 600))]
            search_once(few, min(k, len(few)), search)  # compiles the kernels, loads the package
            for _ in range(args.repetitions):
                started, cpu = time.perf_counter(), time.process_time()
                with Watch() as memory:
                    recall = search_once(features, k, search)
                row = dict(zip(("kind", "width", "refine"), search))
                row |= dict(
                    seconds=time.perf_counter() - started,
                    cpu_seconds=time.process_time() - cpu,
                    recall=recall,
                    mib=(memory.most - memory.before) / _MIB,
                )
                rows.append(row)
                print(line(row), flush=True)
    return dict(rows=rows, num_samples=num, dim=args.dim, neighbors=k, threads=num_threads())


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    exact = row["kind"] in _EXACT
    name = row["kind"] if exact else f"{row['kind']}:{row['width']}+{row['refine']}"
    return (
        f"{name:12}{row['seconds']:9.1f} s{row['cpu_seconds']:9.1f} CPU-s{row['recall']:8.3f} recall"
        f"{row['mib']:8.0f} MiB"
    )


def report(metrics: dict[str, Any]) -> str:
    """The fastest search."""
    best = min(metrics["rows"], key=lambda row: row["cpu_seconds"])
    return (
        f"{metrics['num_samples']} × {metrics['dim']}, {metrics['neighbors']} neighbours, {metrics['threads']} "
        f"threads: {best['kind']} is the fastest"
    )


def main() -> None:
    """Run the tool."""
    args = parse_args()
    if any(kind in _KINDS for kind, _, _ in args.search):
        from mmreid_uda.neighbors.vector_index import import_faiss

        import_faiss().omp_set_num_threads(num_threads())
    if not Path("/proc/self/status").exists():
        raise InputError(
            "found no /proc, expected Linux, which tells the memory of a process: measure there."
        )
    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
