"""How many threads compute, and how they wait for each other: settled before torch is loaded, in one place.

The number of threads is part of a result (sums are split among them), so it follows from the machine and the number of
ranks alone. How a thread waits for the others changes no bit, so that may follow the load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from .parallel import num_cores

__all__ = ["busy_cores", "describe_threads", "settle_threads"]

_STAT = Path("/proc/stat")
_WINDOW = 0.1
"""Seconds that the load is looked at."""
# Who sets one of these has chosen how threads wait.
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# What was found, for the log of the processes that inherit the choice.
_FOUND = "MMREID_BUSY_CORES"


def settle_threads(ranks: int = 1) -> None:
    """Settle the environment of this process and its children, before torch is imported; what a user has set stays.

    * Of several ranks on this machine, each takes its share of the cores (``OMP_NUM_THREADS``, ``MKL_NUM_THREADS``). A
      single process takes the quota of its container, of which torch does not know, or leaves the number to torch: all
      cores that it is bound to.
    * torch's OpenMP (libgomp) lets a thread that waits for the others spin, which on a quiet machine is the fastest. If
      other processes are busy on a quarter of the cores, the thread that is waited for may not be running, and
      spinning keeps it from that: waiting threads sleep then (``OMP_WAIT_POLICY=PASSIVE``).

    Args:
        ranks: Processes that are about to be started on this machine, 1 for this one alone. Inside one of several
            nothing is looked at: whoever started them has settled it, and they are each other's load.
    """
    if ranks > 1 or num_cores() < _bound_cores():
        threads = os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // ranks)))
        os.environ.setdefault("MKL_NUM_THREADS", threads)
    if "LOCAL_RANK" in os.environ or "SLURM_PROCID" in os.environ:
        return
    if os.environ.pop(_FOUND, None):  # of whoever has started this process, at its own start
        os.environ.pop("OMP_WAIT_POLICY", None)
    if any(name in os.environ for name in _WAITING) or os.environ.get("OMP_NUM_THREADS") == "1":
        return
    busy = busy_cores()
    if busy is not None and busy > num_cores() / 4:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ[_FOUND] = f"{busy:.1f}"


def _bound_cores() -> int:
    """Cores that torch sees."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def busy_cores(window: float = _WINDOW) -> float | None:
    """How many of the cores that this process may use are busy while it sleeps.

    Args:
        window: Seconds to look, > 0.

    Returns:
        From 0 to the number of cores; None where the system does not tell (elsewhere than on Linux).
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    try:
        before = _ticks(cores)
        time.sleep(window)
        after = _ticks(cores)
    except (OSError, ValueError, IndexError):
        return None
    busy, total = (late - early for late, early in zip(after, before))
    return len(cores) * busy / total if total > 0 else None


def _ticks(cores: Iterable[int]) -> tuple[int, int]:
    """Ticks that cores have spent, on anything and in all: counters of user, nice, system, idle, iowait, ..."""
    names, busy, total = {f"cpu{core}" for core in cores}, 0, 0
    for line in _STAT.read_text().splitlines():
        name, *counters = line.split()
        if name in names:
            # The last two, of guests, are counted among the first two already.
            ticks = [int(value) for value in counters[:8]]
            total += sum(ticks)
            busy += sum(ticks) - ticks[3] - ticks[4]
    return busy, total


def describe_threads() -> str:
    """Say what this process computes with.

    Returns:
        A sentence for the log.
    """
    import torch

    threads, cores = torch.get_num_threads(), num_cores()
    said = f"Threads: {threads} per rank, for {cores} cores"
    policy = os.environ.get("OMP_WAIT_POLICY")
    if found := os.environ.get(_FOUND):
        return f"{said}; {found} cores were busy at the start, so waiting threads sleep (OMP_WAIT_POLICY=PASSIVE)."
    return f"{said}; OMP_WAIT_POLICY={policy}." if policy else f"{said}."
