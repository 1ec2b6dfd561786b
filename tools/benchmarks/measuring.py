"""What the benchmarks share: where figures go, how a cost grows, and the memory that a piece of work needs."""

from __future__ import annotations

import argparse
import gc
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mmreid_uda.cli import PICTURES, ToolParser, at_least, writable
from mmreid_uda.utils import InputError, num_threads
from mmreid_uda.utils.files import write_json

__all__ = [
    "FORGET_PEAK",
    "add_output_options",
    "added_memory",
    "fitted_exponent",
    "processor",
    "resident",
    "show",
    "take_turns",
]

T = TypeVar("T")

FORGET_PEAK = Path("/proc/self/clear_refs")
# Instructions that the speed of products hangs on.
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "sve")


def add_output_options(
    parser: ToolParser, repetitions: int | None = None, figure: bool = False
) -> None:
    """Add what every benchmark knows: ``--json``, ``--repetitions`` if it repeats, and ``--figure`` if it draws.

    Args:
        parser: Of the benchmark.
        repetitions: The default; None for a benchmark that runs once.
        figure: Whether it draws.
    """
    if repetitions is not None:
        parser.add_argument(
            "--repetitions", type=at_least(1), default=repetitions, help="repetitions"
        )
    parser.add_argument(
        "--json", type=writable(), metavar="FILE", help="write the figures to this file"
    )
    if figure:
        parser.add_argument(
            "--figure",
            type=writable(*PICTURES),
            metavar="FILE.png",
            help="draw them, needs matplotlib",
        )


def show(
    args: argparse.Namespace,
    metrics: dict[str, Any],
    report: Callable[[dict[str, Any]], str],
    draw: Callable[[dict[str, Any], str], None] | None = None,
) -> None:
    """Print a report, and write and draw the figures where the command line says so.

    Args:
        args: Of :func:`add_output_options`.
        metrics: What was measured.
        report: Lays them out as text.
        draw: Draws them into a file.
    """
    print(report(metrics))
    if args.json:
        write_json(args.json, metrics)
    if draw is not None and args.figure:
        draw(metrics, args.figure)


def take_turns(sides: Mapping[str, Callable[[], T]], repetitions: int) -> dict[str, list[T]]:
    """Let the sides of a benchmark take turns, so that a change of the machine's speed meets all of them.

    Args:
        sides: Name -> one run of that side, warmed up.
        repetitions: Runs of each.

    Returns:
        Name -> what its runs returned.
    """
    runs: dict[str, list[T]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, run in sides.items():
            runs[name].append(run())
            gc.collect()
    return runs


def fitted_exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Exponent e of ``cost ~ size**e``: the slope of the least-squares line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def processor() -> str:
    """The model of the CPU, and those of its instructions that the speed of products hangs on.

    Returns:
        Such as ``'AMD EPYC (avx2, avx512f)'``; what Python knows of it where the system does not tell.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    about = {name.strip(): value for name, _, value in (line.partition(":") for line in lines)}
    known = set((about.get("flags") or about.get("Features", "")).split())
    instructions = ", ".join(name for name in _INSTRUCTIONS if name in known)
    return f"{about.get('model name', platform.machine()).strip()} ({instructions or 'no vectors known'})"


def added_memory(
    prepare: Callable[..., Callable[[], Any]],
    *arguments: Any,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> int | None:
    """Measure how far the resident memory of a process of its own rises above where it stood before the work.

    Args:
        prepare: A function of a module, called in the process: loads what the work starts from, warms up libraries and
            compiled kernels, and returns the work.
        *arguments: Of ``prepare``.
        arrays: More of its arguments, by name, which go to the process as files.

    Returns:
        Bytes; None where the system does not tell (elsewhere than on Linux).

    Raises:
        InputError: The process was ended, most likely for its memory.
    """
    if not FORGET_PEAK.exists():
        return None
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        paths = {name: str(Path(folder, f"{name}.npy")) for name in arrays or {}}
        for name, path in paths.items():
            np.save(path, (arrays or {})[name])
        try:
            return pool.submit(_measure, prepare, arguments, paths, num_threads()).result()
        except BrokenProcessPool as error:
            raise InputError(
                "found the process that measures memory ended, expected memory enough for it: take fewer images, or "
                "leave the reference or the memory out with --skip-reference or --skip-memory."
            ) from error


def _measure(
    prepare: Callable[..., Callable[[], Any]],
    arguments: tuple[Any, ...],
    paths: dict[str, str],
    threads: int,
) -> int:
    import torch

    torch.set_num_threads(threads)
    work = prepare(*arguments, **{name: np.load(path) for name, path in paths.items()})
    gc.collect()
    FORGET_PEAK.write_text("5")
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(name: str) -> int:
    """A size of this process that Linux keeps.

    Args:
        name: ``'VmRSS'``, what is resident, or ``'VmHWM'``, the most that was.

    Returns:
        Bytes.

    Raises:
        KeyError: Linux keeps no such size.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise KeyError(name)
