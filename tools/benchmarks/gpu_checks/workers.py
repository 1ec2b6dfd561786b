"""Processes that run one check after the other: a crash or a hang ends one of them, not the run."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from .findings import Findings, NotHere, Result
from .machine import REPOSITORY, share_threads

__all__ = ["Worker", "run_here"]

_LAST_LINES = 25


class Worker:
    """A process that is started for the first check, and anew after one that broke.

    Args:
        log: File that takes what checks print.
        environment: Variables that are set before CUDA starts; None as a value takes one away.
    """

    def __init__(self, log: Path, environment: Mapping[str, str | None] | None = None) -> None:
        self._log, self._environment = log, dict(environment or {})
        self._process: Any = None
        self._connection: Any = None

    def run(
        self,
        function: Callable[..., Findings],
        arguments: dict[str, Any],
        seconds: float,
        workers: int = 1,
    ) -> Result:
        """Run a check.

        Args:
            function: Of a module, so that the process finds it.
            arguments: Of the function.
            seconds: After so long the process is ended.
            workers: How many share the processors at the moment, this one included.
        """
        if self._process is None:
            self._start()
        try:
            self._connection.send((function, arguments, workers))
            answered = self._connection.poll(seconds)
            result: Result = (
                self._connection.recv()
                if answered
                else Result("timed out", f"not done after {seconds:.0f} s, ended")
            )
        except (EOFError, OSError):
            self._process.join(5)
            result = Result("broken", f"its process ended with status {self._process.exitcode}")
        if result.status in ("broken", "timed out"):
            self.close()
        return result

    def close(self) -> None:
        """End the process, and those it has started."""
        if self._process is None:
            return
        self._connection.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._process = None

    def _start(self) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._log, self._environment))
        self._process.start()
        theirs.close()


def _serve(connection: Connection, log: Path, environment: Mapping[str, str | None]) -> None:
    """The life of the process: a check, its result, the next check."""
    os.setsid()
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    os.chdir(REPOSITORY)
    with suppress(EOFError, OSError):
        while True:
            function, arguments, workers = connection.recv()
            share_threads(workers)
            connection.send(run_here(function, arguments))
            # Other processes need the card's memory, too.
            gc.collect()
            torch.cuda.empty_cache()


def run_here(function: Callable[..., Findings], arguments: dict[str, Any]) -> Result:
    """Run a check in this process; whatever it raises becomes a result."""
    try:
        findings = function(**arguments)
    except NotHere as reason:
        return Result("skipped", str(reason))
    except (Exception, SystemExit):
        lines = traceback.format_exc().strip().splitlines()
        return Result("broken", "\n".join(lines[-_LAST_LINES:]))
    return Result.of(findings)
