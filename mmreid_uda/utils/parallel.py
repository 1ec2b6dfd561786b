"""Work on ranges of rows in threads, and the switch between compiled kernels and plain NumPy.

Kernels are functions compiled by numba that release the interpreter lock and work on rows ``first..last-1``. Threads,
rather than numba's own parallel loops: no second OpenMP runtime beside torch's, nothing to go wrong after a fork, and
every range is computed by one thread in one order, so that results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from threadpoolctl import ThreadpoolController

from .values import Natural, checked

__all__ = [
    "in_threads",
    "kernels_available",
    "loading_processes",
    "local_ranks",
    "num_cores",
    "num_threads",
    "over_rows",
    "single_threaded_products",
    "without_kernels",
]

T = TypeVar("T")

# More ranges than threads, so that a thread with light rows takes the next range.
_RANGES_PER_THREAD = 8
_disabled = 0


def kernels_available() -> bool:
    """Whether compiled kernels can be used: numba is installed and not switched off.

    The environment variable ``MMREID_UDA_NO_KERNELS=1`` switches them off for a whole process.

    Returns:
        False inside of :func:`without_kernels`, too.
    """
    if _disabled or os.environ.get("MMREID_UDA_NO_KERNELS", "0") != "0":
        return False
    return importlib.util.find_spec("numba") is not None


@contextmanager
def without_kernels() -> Iterator[None]:
    """Inside, everything runs on NumPy, SciPy and torch alone; results are the same to rounding."""
    global _disabled
    _disabled += 1
    try:
        yield
    finally:
        _disabled -= 1


def num_threads() -> int:
    """Threads to work with, as torch says: ``OMP_NUM_THREADS`` and ``torch.set_num_threads`` change it.

    Returns:
        At least 1.
    """
    import torch

    return torch.get_num_threads()


def num_cores() -> int:
    """Cores that this process may use: those it is bound to, or the quota of its container if that is less.

    Returns:
        At least 1.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or no quota
        pass
    return cores


def local_ranks() -> int:
    """How many ranks share this machine, as their launcher says.

    Returns:
        The number, at least 1; also where it says something else than a number.
    """
    told = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or ""
    return max(int(told), 1) if told.isdecimal() else 1


@checked
def loading_processes(num_workers: Natural | Literal["auto"] | None = "auto") -> int:
    """How many processes of this rank load images.

    ``'auto'`` follows the machine. A GPU leaves the cores to the loading: a rank takes its share of them, at most 8.
    Where the network, too, computes on the cores, half the share is enough, at least one.

    Args:
        num_workers: A number, or ``'auto'``, which None is, too.

    Returns:
        The number; 0 loads in the process itself.

    Raises:
        InputError: It is neither.
    """
    if num_workers is None or num_workers == "auto":
        import torch

        share = num_cores() // local_ranks()
        return max(1, min(8, share if torch.cuda.is_available() else share // 2))
    return num_workers


def in_threads(function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """``[function(item) for item in items]`` with as many items at a time as there are threads.

    Inside, a product of torch matrices takes one thread: the parallelism is over items. For NumPy's products see
    :func:`single_threaded_products`.

    Args:
        function: Releases the interpreter lock in its long operations. An error it raises is raised here, and items not
            yet begun are dropped.
        items: Its arguments.

    Returns:
        The results, in the order of the items.
    """
    threads = num_threads()
    if threads == 1:
        return [function(item) for item in items]
    import torch

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            futures = [pool.submit(function, item) for item in items]
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            # The threads' setting is also the default of threads yet to come: put it back.
            torch.set_num_threads(threads)


@contextmanager
def single_threaded_products() -> Iterator[None]:
    """Inside, a product of NumPy matrices takes one thread, in the whole process."""
    with _blas().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _blas() -> ThreadpoolController:
    """NumPy's linear algebra library; looking for it takes milliseconds."""
    return ThreadpoolController()


def over_rows(kernel: Callable[..., T], num_rows: int, *arguments: Any) -> list[T]:
    """Call ``kernel(first, last, *arguments)`` for ranges that cover the rows, in threads.

    Args:
        kernel: Works on rows ``first..last-1`` and changes no others.
        num_rows: N.
        *arguments: Given to every call.

    Returns:
        The results, in the order of the rows.
    """
    ranges = min(max(num_rows, 1), num_threads() * _RANGES_PER_THREAD)
    bounds = [num_rows * part // ranges for part in range(ranges + 1)]
    return in_threads(
        lambda part: kernel(bounds[part], bounds[part + 1], *arguments), range(ranges)
    )
