"""Work that takes longer than a request: one job at a time, a few that wait; and trainings as processes."""

from __future__ import annotations

import queue
import subprocess
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mmreid_uda.utils import InputError, sentence_about

__all__ = ["Job", "Jobs", "Training"]

State = Literal["waiting", "running", "done", "failed"]
_ENDING = "found the server ending before the job, expected its end; start it again."
_KEPT = 100
_TAIL = 100
_PATIENCE = 15.0


@dataclass
class Job:
    """A piece of work, and how far it is.

    Args:
        kind: Such as ``'recluster'``.
        id: Its number, a UUID.
        state: How far it is.
        result: What it has found, once it is done.
        error: One sentence, if it has failed.
        progress: 0..1, where it is known.
        log: Its last lines.
    """

    kind: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: State = "waiting"
    result: dict[str, Any] | None = None
    error: str | None = None
    progress: float | None = None
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))


class Jobs:
    """Runs jobs one after the other in a thread of its own, started with the first one.

    Args:
        most_waiting: Jobs that may wait; further ones are refused.
    """

    def __init__(self, most_waiting: int) -> None:
        self._queue: queue.Queue[tuple[Job, Callable[[Job], dict[str, Any]]] | None]
        self._queue = queue.Queue(most_waiting)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    def start(self, kind: str, work: Callable[[Job], dict[str, Any]]) -> Job:
        """Let a job wait for its turn.

        Args:
            kind: Of the job.
            work: Gets the job, and returns its result.

        Returns:
            The job.

        Raises:
            queue.Full: Too many are waiting.
        """
        job = Job(kind)
        with self._lock:
            self._queue.put_nowait((job, work))
            self._jobs[job.id] = job
            for old in [one for one in self._jobs.values() if one.state not in _OPEN][:-_KEPT]:
                del self._jobs[old.id]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="jobs")
                self._thread.start()
        return job

    def find(self, id_: str) -> Job | None:
        """A job by its number.

        Args:
            id_: The number.

        Returns:
            The job; None where there is none, or it has ended long ago.
        """
        with self._lock:
            return self._jobs.get(id_)

    def busy(self, kind: str) -> bool:
        """Whether a job of a kind is waiting or running.

        Args:
            kind: Of the job.

        Returns:
            True for at least one.
        """
        with self._lock:
            return any(one.kind == kind and one.state in _OPEN for one in self._jobs.values())

    def close(self) -> None:
        """Let no further job begin, and wait for the one that is running."""
        self.stopping.set()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            while True:
                try:
                    self._queue.put_nowait(None)
                    break
                except queue.Full:
                    self._queue.get_nowait()
            thread.join(_PATIENCE)

    def _run(self) -> None:
        while (next_ := self._queue.get()) is not None:
            job, work = next_
            job.state = "running"
            try:
                if not self.stopping.is_set():
                    job.result = work(job)
                if self.stopping.is_set():
                    raise InputError(_ENDING)
                job.state = "done"
            except Exception as error:
                job.error, job.state = sentence_about(error)[0], "failed"


_OPEN = ("waiting", "running")


class Training:
    """A training as a process of its own, whose last lines a job shows.

    Args:
        command: Words; nothing of a client is among them.
        stopping: Set when the server ends, and the training with it.
    """

    def __init__(self, command: Sequence[str], stopping: threading.Event) -> None:
        self.command, self.stopping = list(command), stopping

    def __call__(self, job: Job) -> dict[str, Any]:
        """Train to the end.

        Args:
            job: Takes the lines of its log.

        Returns:
            The command.

        Raises:
            InputError: The training has failed.
        """
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # an interrupt of the terminal reaches the server, which stops it in its own way
        )
        watch = threading.Thread(target=self._stop_with_server, args=(process,), daemon=True)
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            job.log.append(line.rstrip()[:500])
        status = process.wait()
        watch.join()
        if status and not self.stopping.is_set():
            said = next((one for one in reversed(job.log) if one), "nothing")
            raise InputError(f"the training has ended with status {status}; its last line: {said}")
        return {"command": self.command}

    def _stop_with_server(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            if self.stopping.wait(0.2):
                process.terminate()
                try:
                    process.wait(_PATIENCE / 2)
                except subprocess.TimeoutExpired:
                    process.kill()
                return
