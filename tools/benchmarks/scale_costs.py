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
from measuring import processor, resident
from scipy.stats import t as student
from synthetic_features import IMAGES_PER_ID, NUM_CAMERAS, make_features

from mmreid_uda.utils import InputError, num_threads

__all__ = ["Law", "fit_law", "measure", "report", "serial_share"]

_GIB = 1 << 30
# How often the memory of a case is looked at, in seconds.
_GLANCE = 0.05
# A line leaves something over for its error from three cases on.
_TOO_FEW = 3
# What part of the cases to come an interval shall hold.
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Law:
    """``seconds = a·N^b``.

    Args:
        factor: a.
        exponent: b.
        error: Standard error of b; nan for fewer than three cases.
        spread: Standard deviation of the logarithms around the law; nan likewise.
        sizes: N of the cases.
    """

    factor: float
    exponent: float
    error: float
    spread: float
    sizes: tuple[int, ...]

    def at(self, num: int) -> float:
        """Seconds for ``num`` images."""
        return self.factor * num**self.exponent

    def times(self, num: int) -> float:
        """The factor by which one case of ``num`` images is above or below the law at most, 19 times out of 20.

        It is the prediction interval of a line through the logarithms, and knows nothing of what begins to count
        beyond the cases (caches, disks, networks).
        """
        count, x = len(self.sizes), np.log(self.sizes)
        far = (np.log(num) - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
        quantile = student.ppf((1 + _CONFIDENCE) / 2, count - 2) if count >= _TOO_FEW else np.nan
        return float(np.exp(quantile * self.spread * np.sqrt(1 + 1 / count + far)))


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
    return Law(float(np.exp(offset)), float(slope), error, spread, tuple(map(int, sizes)))


def serial_share(alone: float, together: float, ranks: int) -> float:
    """The share of a step that its ranks do not divide among each other (Amdahl, AFIPS 1967).

    Args:
        alone: Seconds of one rank.
        together: Seconds of several, each with as many cores.
        ranks: How many, two at least.

    Returns:
        ``s`` of ``together = alone·(s + (1 - s)/ranks)``, kept within 0..1.
    """
    return min(1.0, max(0.0, (together / alone - 1 / ranks) / (1 - 1 / ranks)))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run all cases.

    Args:
        args: The command line.

    Returns:
        ``cases``, a list of rows, ``laws`` per search, the ``outlook`` where ranks were measured, the circumstances,
        and ``failed``, sentences about cases that gave nothing: what was measured beside them is not lost.

    Raises:
        InputError: All have failed.
    """
    options = _options(args.clusterer)
    threads = args.threads or max(1, num_threads() // max(args.ranks))
    cases = [case for path in args.cases for case in _earlier(path)]
    failed = []
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
                        try:
                            row, found = _run(path, settings, ranks, threads)
                        except InputError as error:
                            failed.append(f"{num} x {args.dim} {search} {ranks} rank(s): {error}")
                            print(failed[-1], flush=True)
                            break
                        row.update(
                            images=num,
                            dim=args.dim,
                            search=search,
                            ranks=ranks,
                            threads=threads,
                            **_agreement(found, identities, labels.get("exact")),
                        )
                        labels.setdefault(search, found)
                        cases.append(row)
                        print(_line(row), flush=True)
            path.unlink()
    if not cases:
        raise InputError(failed[0] if failed else "found no case: name a search, or a size.")
    laws = _laws(cases)
    return {
        "cases": cases,
        "failed": failed,
        "laws": [_described(kind, law, args.predict) for kind, law in laws.items()],
        "outlook": _outlook(cases, laws, args.predict, args.processes),
        "predict": args.predict,
        "threads": threads,
        "processor": processor(),
    }


def _earlier(path: Path) -> list[dict[str, Any]]:
    """The cases of an earlier measurement, by its ``--json``."""
    try:
        metrics = json.loads(path.read_text())
        return [{"threads": metrics["threads"], **case} for case in metrics["cases"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"cannot take cases from {path}, expected a file of --json: {error}."
        ) from error


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
    for key in ("cpu_seconds", "peak", "anonymous", "added"):
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
    warm = features[:256]  # as the features: kernels are compiled for what is read-only
    # All kernels are compiled and packages loaded before the clock runs; a file is of other features.
    for search in {"exact", "exact" if clusterer.path else clusterer.search}:
        JaccardDBSCAN(**{**settings, "search": search})(warm, seed=0, epoch=0)
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
        added=watch.most - watch.before,
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
        self.before = self.most = resident("RssAnon")
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


def _laws(cases: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int, int, str], Law]:
    """(search, ranks, threads of each, step) -> the law of every step, of the whole and of the memory."""
    laws = {}
    for kind in dict.fromkeys(map(_kind, cases)):
        own = [case for case in cases if _kind(case) == kind]
        sizes = [case["images"] for case in own]
        if len(set(sizes)) < 2:
            continue
        steps = {
            name: [case["seconds"].get(name, 0.0) for case in own] for name in own[0]["seconds"]
        }
        steps["total"] = [case["total"] for case in own]
        # Without what Python and its packages take, which does not grow; earlier measurements may not tell.
        if all("added" in case for case in own):
            steps["added GiB"] = [case["added"] / _GIB for case in own]
        for step, costs in steps.items():
            if min(costs) > 0:
                laws[(*kind, step)] = fit_law(sizes, costs)
    return laws


def _kind(case: Mapping[str, Any]) -> tuple[str, int, int]:
    """What cases of one law have in common: search, ranks, and threads of each."""
    return case["search"], case["ranks"], case["threads"]


def _described(kind: tuple[str, int, int, str], law: Law, predict: Sequence[int]) -> dict[str, Any]:
    search, ranks, threads, step = kind
    return dict(
        search=search,
        ranks=ranks,
        threads=threads,
        step=step,
        factor=law.factor,
        exponent=law.exponent,
        error=law.error,
        largest=max(law.sizes),
        predicted={str(num): law.at(num) for num in predict},
        times={str(num): law.times(num) for num in predict},
    )


def _outlook(
    cases: Sequence[Mapping[str, Any]],
    laws: Mapping[tuple[str, int, int, str], Law],
    predict: Sequence[int],
    processes: Sequence[int],
) -> list[dict[str, Any]]:
    """Seconds of more images and processes: steps by their laws, divided as far as ranks were seen to divide them.

    The laws are those of one rank that reach furthest.
    """
    outlook = []
    for search in dict.fromkeys(search for search, *_ in laws):
        shares = _serial_shares([case for case in cases if case["search"] == search])
        reach = {
            threads: max(law.sizes)
            for (kind, ranks, threads, _), law in laws.items()
            if (kind, ranks) == (search, 1)
        }
        if not shares or not reach:
            continue
        threads = max(reach, key=lambda count: reach[count])
        own = {step: laws.get((search, 1, threads, step)) for step in (*shares, "total")}
        for num in predict:
            seconds = {
                str(count): sum(
                    law.at(num) * (shares[step] + (1 - shares[step]) / count)
                    for step, law in own.items()
                    if law and step in shares
                )
                for count in processes
            }
            total = own["total"]
            outlook.append(
                dict(
                    search=search,
                    threads=threads,
                    images=num,
                    seconds=seconds,
                    times=total.times(num) if total else float("nan"),
                    serial=shares,
                )
            )
    return outlook


def _serial_shares(cases: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Step -> its serial share, by medians of the largest size that one rank and several with as many threads had."""
    compared: dict[tuple[int, int], dict[int, list[Mapping[str, Any]]]] = {}
    for case in cases:
        same = compared.setdefault((case["images"], case["threads"]), {})
        same.setdefault(case["ranks"], []).append(case)
    both = [size for size, same in compared.items() if 1 in same and max(same) > 1]
    if not both:
        return {}
    same = compared[max(both)]

    def seconds(step: str, count: int) -> float:
        return float(np.median([case["seconds"].get(step, 0.0) for case in same[count]]))

    return {
        step: serial_share(seconds(step, 1), seconds(step, max(same)), max(same))
        for step in cases[0]["seconds"]
        if seconds(step, 1) > 0
    }


def report(metrics: dict[str, Any]) -> str:
    """The laws, and what follows for more processes; the cases were printed as they came."""
    predict = list(map(str, metrics["predict"]))
    lines = [
        f"laws a·N^b on {metrics['processor']}, and what they give, times or divided by 19 times out of 20",
        f"{'search':8}{'ranks':>6}{'threads':>8}  {'step':15}{'b':>7}{'±':>7}"
        + "".join(f"{int(num):>16,}{'':9}" for num in predict),
    ]
    lines += [
        f"{law['search']:8}{law['ranks']:6}{law['threads']:8}  {law['step']:15}"
        f"{law['exponent']:7.2f}{law['error']:7.2f}"
        + "".join(f"{law['predicted'][num]:16.1f} ({law['times'][num]:6.2f})" for num in predict)
        for law in metrics["laws"]
    ]
    for row in metrics["outlook"]:
        cells = ", ".join(f"{count}: {seconds:,.0f}" for count, seconds in row["seconds"].items())
        serial = ", ".join(f"{step} {share:.2f}" for step, share in row["serial"].items())
        lines.append(
            f"{row['search']} of {row['images']:,} by processes of {row['threads']} threads, seconds: {cells} "
            f"(factor {row['times']:.2f}; serial {serial}; what networks take is not in it)"
        )
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
