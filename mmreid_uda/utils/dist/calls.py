"""Functions that ranks call together: on rank 0 for all, or on each; and whether all of them agree."""

from __future__ import annotations

import functools
import hashlib
import itertools
import pickle
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from torch import Tensor

from ..errors import InputError
from ..parallel import kernels_available
from .groups import cpu_group, noticing_lost_ranks

__all__ = [
    "HeldByAll",
    "assert_same_on_ranks",
    "on_every_rank",
    "require_same_kernels",
    "run_on_rank0",
]

T = TypeVar("T")


def on_every_rank(function: Callable[[], T]) -> list[T]:
    """Run a function on every rank and give all (picklable) results to each of them.

    An error of one rank is raised on every rank, so that none is left waiting: the own one where there is one, else
    that of the first rank that has one, as :func:`run_on_rank0` does.

    Args:
        function: Called without arguments.

    Returns:
        The results in the order of the ranks.

    Raises:
        InputError: On every rank, if the function raises one on some rank.
        RuntimeError: On the other ranks, if it raises another.
    """
    if get_world_size() == 1:
        return [function()]
    own, outcome = _outcome(function)
    outcomes: list[Any] = [None] * get_world_size()
    with noticing_lost_ranks("waiting for the results of all ranks"):
        dist.all_gather_object(outcomes, outcome, group=cpu_group())
    try:
        if own is not None:
            raise own
        return [_value(outcome, rank) for rank, outcome in enumerate(outcomes)]
    except Exception as error:
        error.known_to_all = True  # type: ignore[attr-defined]
        raise


def _outcome(function: Callable[[], Any]) -> tuple[Exception | None, tuple[bool, Any]]:
    """The error of a function, and what other ranks are told: whether it succeeded, with its value or sentence."""
    try:
        return None, (True, function())
    except Exception as error:
        return error, (False, (isinstance(error, InputError), f"{error}"))


def _value(outcome: tuple[bool, Any], rank: int) -> Any:
    """The value of a rank's outcome; its error is raised."""
    succeeded, value = outcome
    if succeeded:
        return value
    is_input_error, message = value
    raise InputError(message) if is_input_error else RuntimeError(f"rank {rank} failed: {message}")


def run_on_rank0(function: Callable[[], T]) -> T:
    """Run a function on rank 0 only and give its (picklable) result to every rank.

    An error of rank 0 is raised on every rank, so that none is left waiting: an :class:`InputError` with its sentence,
    anything else as a ``RuntimeError`` that quotes it (rank 0 raises the original).

    Args:
        function: Called without arguments.

    Returns:
        Its result.

    Raises:
        InputError: On every rank, if the function raises one.
        RuntimeError: On the other ranks, if it raises another.
    """
    if get_world_size() == 1:
        return function()
    box: list[Any] = [None]
    error: Exception | None = None
    if get_rank() == 0:
        with _leading():
            error, box[0] = _outcome(function)
    with noticing_lost_ranks("waiting for the result of rank 0"):
        dist.broadcast_object_list(box, src=0, group=cpu_group())
        while isinstance(box[0], _Call):
            # What ends the method ends it on rank 0 as well, whose result tells of it.
            with suppress(Exception):
                box[0].answer()
            dist.broadcast_object_list(box, src=0, group=cpu_group())
    if error is not None:
        raise error
    return _value(box[0], 0)


class HeldByAll:
    """An object that every rank holds, and of which rank 0 can call methods on all ranks.

    It can while the others wait for it in :func:`run_on_rank0`. Ranks create such objects together, in one order.
    """

    def __init__(self) -> None:
        self._number = next(_numbers)
        _held[self._number] = self

    def on_all_ranks(self, method: str, *arguments: Any) -> Any:
        """Call a method on every rank; where others do not wait, on this one alone.

        Args:
            method: Its name. It is told whether all ranks take part, as ``together``. What fails on one of them is told
                to the others when they call :func:`on_every_rank` next; what they exchange otherwise must follow such
                a call, with nothing between that may fail.
            *arguments: Of the method, picklable.

        Returns:
            What the method returns on this rank.

        Raises:
            InputError: As :func:`on_every_rank`.
            RuntimeError: Likewise.
        """
        if not _leaders:
            return getattr(self, method)(*arguments, together=False)
        call = _Call(self._number, method, arguments)
        with noticing_lost_ranks("rank 0 shared its work"):
            dist.broadcast_object_list([call], src=0, group=cpu_group())
        return call.answer()


_held: weakref.WeakValueDictionary[int, HeldByAll] = weakref.WeakValueDictionary()
_numbers = itertools.count()
# Calls of run_on_rank0 that this process, being rank 0 of several, is within.
_leaders = 0


@dataclass(frozen=True)
class _Call:
    """A method that rank 0 calls on all ranks."""

    number: int
    method: str
    arguments: tuple[Any, ...]

    def answer(self) -> Any:
        """Take part in it, to its end on all ranks."""
        try:
            result = getattr(_held[self.number], self.method)(*self.arguments, together=True)
        except Exception as error:
            if not getattr(error, "known_to_all", False):
                with suppress(Exception):
                    on_every_rank(functools.partial(_fail, error))
            raise
        on_every_rank(lambda: None)
        return result


def _fail(error: Exception) -> None:
    raise error


@contextmanager
def _leading() -> Iterator[None]:
    """Inside, the other ranks wait for this one."""
    global _leaders
    _leaders += 1
    try:
        yield
    finally:
        _leaders -= 1


def _digest(value: Any) -> str:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().numpy()
    if isinstance(value, np.ndarray):
        value = (value.dtype.str, value.shape, value.tobytes())
    return hashlib.sha256(pickle.dumps(value)).hexdigest()[:16]


def assert_same_on_ranks(what: dict[str, Any]) -> None:
    """Check that all ranks hold the same values, by comparing their hashes.

    Args:
        what: Name of each value -> the value (a tensor, an array, or anything that pickles deterministically).

    Raises:
        InputError: On every rank, naming the values that differ and on which ranks.
    """
    if get_world_size() == 1:
        return
    digests: list[dict[str, str]] = [{}] * get_world_size()
    with noticing_lost_ranks("comparing data and weights"):
        dist.all_gather_object(
            digests, {name: _digest(value) for name, value in what.items()}, group=cpu_group()
        )
    for name in what:
        strangers = [
            rank for rank, digest in enumerate(digests) if digest[name] != digests[0][name]
        ]
        if strangers:
            raise InputError(
                f"{name} on rank(s) {strangers} differs from rank 0: every process must see the same files, "
                "configuration and package versions; compare data_root and the installed packages of the machines."
            )


def require_same_kernels() -> None:
    """Check that all ranks compute with compiled kernels, or none: how work is dealt out depends on them.

    Raises:
        InputError: On every rank, if some do and others do not.
    """
    assert_same_on_ranks({"the use of compiled kernels (package numba)": kernels_available()})
