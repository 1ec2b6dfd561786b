"""Sharing a given time among the parts of a report, in the order of their worth."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .findings import Findings, Result
from .workers import Worker

__all__ = ["Check", "Part", "run_parts"]

Record = Callable[[str, str, Result], None]

# A check that takes so many times what it was expected to take, and no less than so many seconds, hangs.
_PATIENCE, _AT_LEAST = 4.0, 60.0


@dataclass(frozen=True)
class Check:
    """One call of a check function.

    Args:
        name: Unique within its part.
        function: Returns :class:`Findings`.
        arguments: Plain values.
        expected: Seconds it may take, by guess: with less left it is not begun.
    """

    name: str
    function: Callable[..., Findings]
    arguments: dict[str, Any]
    expected: float = 5.0


@dataclass(frozen=True)
class Part:
    """Checks that belong together.

    Args:
        name: Heading in the report.
        share: Of the whole time; what a part leaves goes to those behind it.
        checks: In the order of their worth.
        workers: Processes at a time; 1 where seconds are measured.
        environment: Variables of the processes, None takes one away.
    """

    name: str
    share: float
    checks: Sequence[Check]
    workers: int = 1
    environment: Mapping[str, str | None] = field(default_factory=dict)


def run_parts(parts: Sequence[Part], seconds: float, record: Record, log: Path) -> None:
    """Run the checks, and record each as soon as it has ended.

    Every part has until the end of its share, and of what those before it left. What did not fit is tried once more at
    the end, in the same order, with all that is left.

    Args:
        parts: In the order of their worth.
        seconds: For all of them.
        record: Called with the names of part and check, and the result; from one thread at a time.
        log: File that takes what checks print.
    """
    with _Staff(log, seconds, record) as staff:
        until, total = 0.0, sum(part.share for part in parts)
        left = []
        for part in parts:
            until += seconds * part.share / total
            left.append(replace(part, checks=staff.run(part, until)))
        for part in left:
            for check in staff.run(part, seconds):
                reason = f"{seconds - staff.passed():.0f} s left of {seconds:.0f}, about {check.expected:.0f} needed"
                record(part.name, check.name, Result("skipped", reason))


class _Staff:
    """The workers of all parts, by their environment, and the clock they work by."""

    def __init__(self, log: Path, seconds: float, record: Record) -> None:
        self._log, self._seconds, self._record = log, seconds, record
        self._started, self._lock = time.monotonic(), threading.Lock()
        self._workers: dict[tuple[Any, ...], list[Worker]] = {}

    def __enter__(self) -> _Staff:
        return self

    def __exit__(self, *error: object) -> None:
        for workers in self._workers.values():
            for worker in workers:
                worker.close()

    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def run(self, part: Part, until: float) -> list[Check]:
        """Run what fits of a part before ``until``; returns what did not, in its order."""
        waiting: deque[Check] = deque(part.checks)
        too_long: list[str] = []
        count = min(part.workers, len(waiting))

        def work(worker: Worker) -> None:
            while True:
                try:
                    check = waiting.popleft()
                except IndexError:  # nothing is left
                    return
                started = self.passed()
                if started + check.expected > until:
                    too_long.append(check.name)
                    continue
                patience = max(_AT_LEAST, _PATIENCE * check.expected)
                left = max(1.0, self._seconds - started)
                result = worker.run(check.function, check.arguments, min(patience, left), count)
                if result.status == "timed out" and left < patience:
                    result = Result("skipped", f"cut off after {left:.0f} s: the time was over")
                with self._lock:
                    self._record(
                        part.name, check.name, replace(result, seconds=self.passed() - started)
                    )

        workers = self._of(part.environment, count)
        with ThreadPoolExecutor(max(1, count)) as pool:
            try:
                for future in [pool.submit(work, worker) for worker in workers]:
                    future.result()
            except BaseException:
                waiting.clear()
                for worker in workers:
                    worker.close()
                raise
        return [check for check in part.checks if check.name in too_long]

    def _of(self, environment: Mapping[str, str | None], count: int) -> list[Worker]:
        """So many workers with an environment."""
        workers = self._workers.setdefault(tuple(sorted(environment.items())), [])
        workers += [Worker(self._log, environment) for _ in range(count - len(workers))]
        return workers[:count]
