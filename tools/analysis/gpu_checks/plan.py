"""Sharing a given time among the parts of a report, in the order of their worth."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .findings import Findings
from .result import Result
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


def run_parts(
    parts: Sequence[Part],
    seconds: float,
    record: Record,
    log: Path,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run the checks, and record each as soon as it has ended.

    Every part has until the end of its share, and of what those before it left. What did not fit is tried once more at
    the end, in the same order, with all that is left.

    Args:
        parts: In the order of their worth.
        seconds: For all of them.
        record: Called with the names of part and check, and the result.
        log: File that takes what checks print.
        clock: Seconds that pass.
    """
    started, total = clock(), sum(part.share for part in parts)
    end, until, left = started + seconds, started, []
    for part in parts:
        until += seconds * part.share / total
        left.append(replace(part, checks=_run_part(part, until, end, record, log, clock)))
    for part in left:
        for check in _run_part(part, end, end, record, log, clock):
            reason = f"{end - clock():.0f} s left of {seconds:.0f}, about {check.expected:.0f} needed"
            record(part.name, check.name, Result("skipped", reason))


def _run_part(
    part: Part,
    until: float,
    end: float,
    record: Record,
    log: Path,
    clock: Callable[[], float],
) -> list[Check]:
    """Run what fits of a part; returns what did not, in its order."""
    waiting, too_long = deque(part.checks), []
    workers = [
        Worker(log, part.environment, part.workers)
        for _ in range(min(part.workers, len(waiting)))
    ]

    def work(worker: Worker) -> None:
        while waiting:
            try:
                check = waiting.popleft()
            except IndexError:  # another thread was faster
                break
            if clock() + check.expected > until:
                too_long.append(check)
                continue
            started = clock()
            patience = min(max(_AT_LEAST, _PATIENCE * check.expected), end - started)
            result = worker.run(check.function, check.arguments, patience)
            record(part.name, check.name, replace(result, seconds=clock() - started))

    with ThreadPoolExecutor(max(1, len(workers))) as pool:
        try:
            for future in [pool.submit(work, worker) for worker in workers]:
                future.result()
        finally:
            waiting.clear()
            for worker in workers:
                worker.close()
    return [check for check in part.checks if check in too_long]
