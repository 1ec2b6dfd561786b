"""What each rank computes where ranks share an evaluation, and whether all get the figures of one process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmreid_uda.evaluation import RankResult, evaluate_rank, rerank
from mmreid_uda.utils import InputError, num_threads
from mmreid_uda.utils.dist import shutdown_dist
from mmreid_uda.utils.files import read_json, write_json

__all__ = ["measure_ranks"]

# Queries and gallery images that warm a rank up: a block for each of eight ranks.
_WARM_UP = 4096


def _rank(arrays: Sequence[np.ndarray]) -> RankResult:
    return evaluate_rank(*arrays, over_ranks=True)


def _rerank(arrays: Sequence[np.ndarray]) -> RankResult:
    query, gallery, *labels = arrays
    blocks = rerank(query, gallery, reuse_memory=True, over_ranks=True)
    return evaluate_rank(None, None, *labels, distances=blocks, over_ranks=True)


_STEPS: dict[str, Callable[[Sequence[np.ndarray]], RankResult]] = {
    "end to end": _rank,
    "re-ranking": _rerank,
}


def measure_ranks(
    arrays: Sequence[np.ndarray], steps: Sequence[str], ranks: Sequence[int], repetitions: int
) -> dict[str, dict[int, dict[str, Any]]]:
    """Let processes share the queries, each with its part of the threads.

    Args:
        arrays: Features of queries and gallery, and their labels as :func:`~mmreid_uda.evaluation.evaluate_rank` takes
            them.
        steps: ``'end to end'`` or ``'re-ranking'``, others are left out.
        ranks: Numbers of processes.
        repetitions: Runs, of which the fastest counts.

    Returns:
        Step -> number of processes -> ``seconds``, ``cpu_seconds`` of each rank, and ``mAP``.

    Raises:
        InputError: A process ended, or the figures differ between ranks or numbers of them.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {
        step: {num: _run(arrays, step, num, repetitions) for num in ranks}
        for step in steps
        if step in _STEPS
    }
    for step, rows in found.items():
        told = {value for row in rows.values() for value in row.pop("metrics")}
        if len(told) > 1:
            raise InputError(
                f"found other figures of {step} on other ranks, expected those of one process: {sorted(told)}."
            )
    return found


def _run(arrays: Sequence[np.ndarray], step: str, ranks: int, repetitions: int) -> dict[str, Any]:
    """One number of processes."""
    with tempfile.TemporaryDirectory() as folder:
        for number, array in enumerate(arrays):
            np.save(Path(folder, f"{number}.npy"), array)
        threads = max(num_threads() // ranks, 1)
        if ranks == 1:
            _work(0, folder, len(arrays), step, 1, repetitions, threads)
        else:
            arguments = (folder, len(arrays), step, ranks, repetitions, threads)
            try:
                mp.start_processes(_work, arguments, nprocs=ranks, start_method="spawn")
            except mp.ProcessExitedException as error:
                raise InputError(
                    f"found {step} on {ranks} processes ended ({error}), expected memory enough: take fewer images or "
                    "--ranks."
                ) from error
        parts: list[Mapping[str, Any]] = [
            read_json(Path(folder, f"{rank}.json")) for rank in range(ranks)
        ]
    return {
        "seconds": max(part["seconds"] for part in parts),
        "cpu_seconds": [part["cpu_seconds"] for part in parts],
        "mAP": parts[0]["mAP"],
        "metrics": [part["metrics"] for part in parts],
    }


def _work(
    rank: int, folder: str, num_arrays: int, step: str, ranks: int, repetitions: int, threads: int
) -> None:
    """The body of a process."""
    torch.set_num_threads(threads)
    if ranks > 1:
        store = f"file://{folder}/store"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
    arrays = [np.load(Path(folder, f"{number}.npy"), mmap_mode="c") for number in range(num_arrays)]
    _STEPS[step]([array[:_WARM_UP] for array in arrays])
    seconds, cpu = [], []
    for _ in range(repetitions):
        if ranks > 1:
            dist.barrier()
        started, used = time.perf_counter(), time.process_time()
        result = _STEPS[step](arrays)
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    metrics = " ".join(float(value).hex() for value in (result.mAP, result.mINP, *result.cmc))
    row = dict(seconds=min(seconds), cpu_seconds=min(cpu), mAP=result.mAP, metrics=metrics)
    write_json(Path(folder, f"{rank}.json"), row)
    shutdown_dist(together=True)
