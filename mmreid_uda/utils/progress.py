"""Lines now and then in the log, or one on the terminal, so that a long step does not look like a hang."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from mmengine.logging import print_log

__all__ = ["Progress", "show_progress"]

Block = TypeVar("Block", bound=Sized)


def show_progress(step: str, done: int, total: int, items: str) -> None:
    """Keep one line of the terminal up to date; without a terminal write a line at the end alone.

    Args:
        step: What is being done.
        done: Items done so far.
        total: Items to do.
        items: Their name.
    """
    terminal = sys.stderr.isatty()
    if terminal or done == total:
        line = f"{step}: {done:,} of {total:,} {items}"
        end = "\n" if done == total else ""
        print(f"\r{line}" if terminal else line, end=end, file=sys.stderr, flush=True)


class Progress:
    """Tells how far a step has come, every half minute; a short step says nothing.

    Args:
        step: What is being done, as in ``'ranking'``.
        total: Items to do.
        items: Their name, as in ``'queries'``.
        every: Seconds between two lines.
    """

    def __init__(self, step: str, total: int, items: str, every: float = 30.0) -> None:
        self.step, self.total, self.items, self.every = step, total, items, every
        self._started = self._reported = time.monotonic()

    def update(self, done: int) -> None:
        """Write a line if the last one is old enough.

        Args:
            done: Items done so far.
        """
        now = time.monotonic()
        if now - self._reported < self.every:
            return
        self._reported = now
        rate = done / max(now - self._started, 1e-9)
        told = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"  # a block may take several seconds
        print_log(
            f"{self.step}: {done}/{self.total} {self.items}, {told} {self.items}/s",
            logger="current",
        )

    def watch(self, blocks: Iterable[tuple[int, Block]]) -> Iterator[tuple[int, Block]]:
        """Pass blocks on and tell when they have been used.

        Args:
            blocks: ``(start, block)``: number of the block's first item, and its items.

        Yields:
            The same pairs.
        """
        for start, block in blocks:
            yield start, block
            self.update(start + len(block))
