"""The memory that a piece of work needs, measured in a process of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

__all__ = ["added_memory"]

_FORGET_PEAK = Path("/proc/self/clear_refs")


def added_memory(prepare: Callable[..., Callable[[], Any]], *arguments: Any) -> int | None:
    """Measure how far the resident memory of a process rises above where it stood before the work.

    Args:
        prepare: A function of a module, called in the process: loads what the work starts from, warms up libraries and
            compiled kernels, and returns the work.
        *arguments: Of ``prepare``.

    Returns:
        Bytes; None where the system does not tell (elsewhere than on Linux).
    """
    if not _FORGET_PEAK.exists():
        return None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, prepare, arguments).result()


def _measure(prepare: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...]) -> int:
    work = prepare(*arguments)
    gc.collect()
    _FORGET_PEAK.write_text("5")
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    """A size of this process that Linux keeps, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise KeyError(name)
