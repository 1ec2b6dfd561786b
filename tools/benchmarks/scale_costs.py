"""What pseudo-labels of very many images cost, step by step, and the laws that follow."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from measuring import resident
from synthetic_features import IMAGES_PER_ID, NUM_CAMERAS, make_features

from mmreid_uda.utils import InputError, num_threads

__all__ = ["Law", "fit_law", "measure", "report"]

_GIB = 1 << 30
# How often the memory of a case is looked at, in seconds.
_GLANCE = 0.05
# 97.5 % quantiles of Student's distribution would need three sizes; with two there is no error to tell.
_TOO_FEW = 3


@dataclass(frozen=True)
class Law:
    """``seconds = a·N^b``.

    Args:
        factor: a.
        exponent: b.
        error: Standard error of b; nan for fewer than three sizes.
        spread: Standard deviation of the logarithms around the law; nan likewise.
    """

    factor: float
    exponent: float
    error: float
    spread: float

    def at(self, num: int) -> float:
        """Seconds for ``num`` images."""
        return self.factor * num**self.exponent


def fit_law(sizes: Sequence[int], costs: Sequence[float]) -> Law:
    """Least squares through the logarithms.

    Args:
        sizes: N, two at least, not all equal.
        costs: Seconds > 0.

    Returns:
        The law.
    """
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(costs, float))
    slope, offset = np.polyfit(x, y, 1)
    error = spread = float("nan")
    if len(x) >= _TOO_FEW:
        rest = y - (slope * x + offset)
        spread = float(np.sqrt((rest**2).sum() / (len(x) - 2)))
        error = spread / float(np.sqrt(((x - x.mean()) ** 2).sum()))
    return Law(float(np.exp(offset)), float(slope), error, spread)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run all cases.

    Args:
        args: The command line.

    Returns:
        ``cases``, a list of rows, ``laws`` per search and number of ranks, and the circumstances.
    """
    options = _options(args.clusterer)
    threads = args.threads or num_threads()
    cases = []
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        for num in args.num_images:
            path, identities = _write_features(Path(folder), num, args.dim, args.seed)
            labels: dict[str, np.ndarray] = {}
            for search in args.search:
                if search == "exact" and num > args.exact_up_to:
                    continue
                for ranks in args.ranks:
                    settings = {**options, "search": search, "max_memory": args.max_memory}
                    for _ in range(args.repetitions):
                        row, found = _run(path, settings, ranks, max(1, threads // ranks))
                        row.update(
                            images=num,
                            dim=args.dim,
                            search=search,
                            ranks=ranks,
                            **_agreement(found, identities, labels.get("exact")),
                        )
                        labels.setdefault(search, found)
                        cases.append(row)
                        print(_line(row), flush=True)
            path.unlink()
    return {
        "cases": cases,
        "laws": _laws(cases, args.predict),
        "predict": args.predict,
        "threads": threads,
    }


def _options(words: Sequence[str]) -> dict[str, Any]:
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"found --clusterer {word}, expected KEY=VALUE such as nprobe=32.")
        options[key] = yaml.safe_load(value)
    return options


def _write_features(folder: Path, num: int, dim: int, seed: int) -> tuple[Path, np.ndarray]:
    path = folder / f"{num}.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(num, dim))
    _, pids, _ = make_features(num, max(1, num // IMAGES_PER_ID), NUM_CAMERAS, dim, seed, out)
    out.flush()
    return path, pids


def _agreement(
    found: np.ndarray, identities: np.ndarray, exact: np.ndarray | None
) -> dict[str, float]:
    from mmreid_uda.clustering import cluster_quality

    quality = cluster_quality(found, identities)
    row = {"ari": quality["ari"], "f": quality["f_score"]}
    if exact is not None:
        row["ari_with_exact"] = cluster_quality(found, exact)["ari"]
    return row


def _run(
    path: Path, settings: Mapping[str, Any], ranks: int, threads: int
) -> tuple[dict[str, Any], np.ndarray]:
    """One case, in processes of its own."""
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(
                target=_work, args=(str(path), folder, dict(settings), rank, ranks, threads)
            )
            for rank in range(ranks)
        ]
        started = time.perf_counter()
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise InputError(
                f"found a case that ended with status {[process.exitcode for process in processes]}, expected labels: "
                "what it said stands above; fewer --num-images or a larger --max-memory may mend it."
            )
        parts = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(ranks)]
        found = np.load(Path(folder, "labels.npy"))
    row = parts[0]
    row["whole_seconds"] = time.perf_counter() - started
    for key in ("cpu_seconds", "peak", "anonymous"):
        row[key] = sum(part[key] for part in parts)
    row["peaks"] = [part["peak"] for part in parts]
    return row, found


def _work(
    path: str, folder: str, settings: dict[str, Any], rank: int, ranks: int, threads: int
) -> None:
    """The process of a rank."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch
    import torch.distributed as dist

    from mmreid_uda.clustering import JaccardDBSCAN
    from mmreid_uda.utils.dist import run_on_rank0

    torch.set_num_threads(threads)
    if ranks > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/join", rank=rank, world_size=ranks
        )
    clusterer = JaccardDBSCAN(**settings)
    features = np.load(path, mmap_mode="r")
    warm = np.array(features[:256])
    JaccardDBSCAN(**{**settings, "search": "exact"})(warm, seed=0, epoch=0)
    with _Watch() as watch:
        started, used = time.perf_counter(), time.process_time()
        prepared = clusterer.prepare(features, over_ranks=ranks > 1)
        seconds = {"search": time.perf_counter() - started}
        labels = run_on_rank0(lambda: clusterer(features, seed=0, epoch=0, prepared=prepared))
        total, cpu = time.perf_counter() - started, time.process_time() - used
    info = clusterer.info
    seconds.update(
        {
            name.removeprefix("seconds_"): value
            for name, value in info.items()
            if name.startswith("seconds_")
        }
    )
    seconds["rest"] = max(0.0, total - sum(seconds.values()))
    row = dict(
        seconds=seconds,
        total=total,
        cpu_seconds=cpu,
        peak=resident("VmHWM"),
        anonymous=watch.most,
        recall=info.get("search_recall", 1.0),
        clusters=int(labels.max()) + 1 if rank == 0 else 0,
        outliers=float((labels < 0).mean()) if rank == 0 else 0.0,
    )
    Path(folder, f"{rank}.json").write_text(json.dumps(row))
    if rank == 0:
        np.save(Path(folder, "labels.npy"), labels)
    if ranks > 1:
        dist.barrier()
        dist.destroy_process_group()


class _Watch:
    """The most memory of a process that no file holds, looked at from time to time."""

    def __enter__(self) -> _Watch:
        self.most = resident("RssAnon")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._stop.wait(_GLANCE):
            self.most = max(self.most, resident("RssAnon"))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _laws(cases: Sequence[Mapping[str, Any]], predict: int) -> list[dict[str, Any]]:
    """The law of every step, of the whole and of the memory, per search and number of ranks."""
    laws = []
    for search, ranks in dict.fromkeys((case["search"], case["ranks"]) for case in cases):
        own = [case for case in cases if (case["search"], case["ranks"]) == (search, ranks)]
        if len({case["images"] for case in own}) < 2:
            continue
        steps = {
            name: [case["seconds"].get(name, 0.0) for case in own] for name in own[0]["seconds"]
        }
        steps["total"] = [case["total"] for case in own]
        steps["anonymous GiB"] = [case["anonymous"] / _GIB for case in own]
        for step, costs in steps.items():
            if min(costs) <= 0:
                continue
            law = fit_law([case["images"] for case in own], costs)
            laws.append(
                dict(
                    search=search,
                    ranks=ranks,
                    step=step,
                    factor=law.factor,
                    exponent=law.exponent,
                    error=law.error,
                    predicted=law.at(predict),
                )
            )
    return laws


def report(metrics: dict[str, Any]) -> str:
    """The laws; the cases were printed as they came."""
    lines = [
        f"laws a·N^b, and what they give for {metrics['predict']:,} images ({metrics['threads']} threads in all)",
        f"{'search':8}{'ranks':>6}  {'step':15}{'b':>7}{'±':>7}{'predicted':>14}",
    ]
    lines += [
        f"{law['search']:8}{law['ranks']:6}  {law['step']:15}{law['exponent']:7.2f}{law['error']:7.2f}"
        f"{law['predicted']:14.1f}"
        for law in metrics["laws"]
    ]
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    steps = " ".join(f"{name} {value:.1f}" for name, value in row["seconds"].items())
    with_exact = f", with exact {row['ari_with_exact']:.4f}" if "ari_with_exact" in row else ""
    return (
        f"{row['images']:>9} x {row['dim']} {row['search']:6} {row['ranks']} rank(s): {row['total']:.1f} s "
        f"({row['cpu_seconds']:.1f} CPU-s; {steps}), {row['peak'] / _GIB:.2f} GiB resident at most, of which "
        f"{row['anonymous'] / _GIB:.2f} no file's, recall {row['recall']:.4f}, ARI {row['ari']:.4f}{with_exact}, "
        f"F {row['f']:.4f}, {row['clusters']} clusters, {row['outliers']:.1%} outliers"
    )
