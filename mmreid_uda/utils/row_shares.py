"""Rows that all ranks work on: each computes its share, and the parts are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from torch import Tensor

from .dist import cpu_group, noticing_lost_ranks, on_every_rank

__all__ = ["ALONE", "RowShares"]

T = TypeVar("T")

_DOING = "the rows of all ranks were put together"


@dataclass(frozen=True)
class RowShares:
    """How the rows of an array are shared; every method is called by all ranks that share, and in the same order.

    Work is done inside of :meth:`each` or :meth:`joined`, so that an error of one rank ends the step on all of them.

    Args:
        together: Share among all ranks; else this process does everything.
    """

    together: bool = False

    @property
    def num(self) -> int:
        """Processes that share."""
        return get_world_size() if self.together else 1

    @property
    def rank(self) -> int:
        """Number of this process among them."""
        return get_rank() if self.together else 0

    def bounds(self, num_rows: int) -> list[int]:
        """Where the contiguous shares begin and end.

        Args:
            num_rows: N.

        Returns:
            One number more than processes, from 0 to N.
        """
        return [num_rows * part // self.num for part in range(self.num + 1)]

    def own(self, num_rows: int) -> tuple[int, int]:
        """The first row of this process, and the one behind its last.

        Args:
            num_rows: N.

        Returns:
            Two of :meth:`bounds`.
        """
        bounds = self.bounds(num_rows)
        return bounds[self.rank], bounds[self.rank + 1]

    def each(self, work: Callable[[], T]) -> T:
        """Do this process's part, and wait until the others have done theirs.

        Args:
            work: Called without arguments.

        Returns:
            Its result.

        Raises:
            InputError: On every rank, if the work of one raises it.
            RuntimeError: On the other ranks, if the work of one raises another error.
        """
        results: list[T] = []
        if self.num == 1:
            return work()
        on_every_rank(lambda: results.append(work()))
        return results[0]

    def exchange(self, array: np.ndarray, bounds: Sequence[int]) -> None:
        """Give every process the rows of the others.

        Args:
            array: (N, ...), of which this process has filled its rows; filled in place.
            bounds: Where the rows of each process begin and end.
        """
        if self.num == 1:
            return
        with noticing_lost_ranks(_DOING):
            for rank in range(self.num):
                part = array[bounds[rank] : bounds[rank + 1]]
                if part.size:
                    dist.broadcast(torch.from_numpy(part), src=rank, group=cpu_group())

    def add(self, numbers: Tensor) -> None:
        """Add up whole numbers of all processes, which no order of them changes.

        Args:
            numbers: int64, of one shape, on the device of each process; holds the sums afterwards.
        """
        if self.num > 1:
            with noticing_lost_ranks("the sums of all ranks were added up"):
                group = None if numbers.is_cuda else cpu_group()
                dist.all_reduce(numbers, group=group)

    def joined(self, work: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
        """Put the arrays of all processes behind each other.

        Args:
            work: Gives this process's arrays, one behind the other in each of them.

        Returns:
            The whole arrays, on every rank.

        Raises:
            InputError: As :meth:`each`.
            RuntimeError: As :meth:`each`.
        """
        if self.num == 1:
            return list(work())
        own: list[np.ndarray] = []
        sizes = self._sizes(own, work)
        whole = self.each(
            lambda: [
                np.empty((sum(size[at] for size in sizes), *array.shape[1:]), array.dtype)
                for at, array in enumerate(own)
            ]
        )
        for at, array in enumerate(whole):
            bounds = np.cumsum([0] + [size[at] for size in sizes]).tolist()
            array[bounds[self.rank] : bounds[self.rank + 1]] = own[at]
            own[at] = own[at][:0]
            self.exchange(array, bounds)
        return whole

    def on_first(
        self,
        work: Callable[[], Sequence[np.ndarray]],
        check: Callable[[list[list[int]]], None] = lambda sizes: None,
    ) -> list[list[np.ndarray]] | None:
        """Bring the arrays of all processes to the first.

        Args:
            work: Gives this process's arrays.
            check: Is told how long the arrays of each process are, before they are sent; may raise.

        Returns:
            On the first process the arrays of each; None elsewhere.

        Raises:
            InputError: As :meth:`each`.
            RuntimeError: As :meth:`each`.
        """
        own: list[np.ndarray] = []
        sizes = self._sizes(own, work)
        check(sizes)
        if self.num == 1:
            return [own]

        def room() -> list[list[np.ndarray]]:
            return [own] + [
                [np.empty((size, *one.shape[1:]), one.dtype) for size, one in zip(sizes[rank], own)]
                for rank in range(1, self.num if self.rank == 0 else 1)
            ]

        gathered = self.each(room)
        if self.rank:
            with noticing_lost_ranks(_DOING):
                for array in own:
                    if array.size:
                        dist.send(torch.from_numpy(array), 0, group=cpu_group())
            return None
        for rank, parts in enumerate(gathered[1:], 1):
            with noticing_lost_ranks(_DOING):
                for part in parts:
                    if part.size:
                        dist.recv(torch.from_numpy(part), rank, group=cpu_group())
        return gathered

    def _sizes(
        self, own: list[np.ndarray], work: Callable[[], Sequence[np.ndarray]]
    ) -> list[list[int]]:
        """Do the work, whose arrays are added to ``own``; their lengths on every rank."""

        def run() -> list[int]:
            own.extend(np.ascontiguousarray(array) for array in work())
            return [len(array) for array in own]

        return on_every_rank(run) if self.num > 1 else [run()]


ALONE = RowShares()
"""Nothing is shared."""
