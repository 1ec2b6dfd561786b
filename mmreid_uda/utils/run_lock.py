"""One run at a time in a work dir, and one writer at a time of a file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import InputError
from .files import said_to_be_unwritable

try:
    import fcntl
except ImportError:  # Windows: nothing holds a second run back there
    fcntl = None  # type: ignore[assignment]

__all__ = ["RunLock", "alone"]

_BUSY = (
    "another run{holder} is at work in the work dir '{folder}', expected one at a time: wait for it, or give this one "
    "another folder with --work-dir."
)


@contextlib.contextmanager
def alone(path: str | Path) -> Iterator[bool]:
    """Hold other writers of a file or folder back, threads and processes alike, while the block runs.

    The lock is the kernel's, on ``.<name>.lock`` beside it, and ends with the process. A file system without
    locks lets every writer pass.

    Args:
        path: The file, there or not; the folder that it lies in is made.

    Yields:
        Whether others are held back.

    Raises:
        InputError: The folder cannot be made or written.
    """
    path = Path(path)
    with said_to_be_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f".{path.name}.lock").open("a", encoding="utf-8")
    with file:
        locked = fcntl is not None
        try:
            if locked:
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network file systems
            locked = False
        yield locked


class RunLock:
    """The right to write into a work dir, from now on until this process ends.

    The lock is the kernel's (``fcntl``): it ends with the process however that ends, so a killed run never bars the
    next one, and it is not handed down to loading processes. The file tells who holds it. A file system
    without locks lets every run pass.

    What a killed run was writing, ``.<process>.<name>``, is removed when the lock is taken: nobody else writes here.

    Args:
        folder: The work dir; made if it is not there.
        busy: What is said where another process is at work, with places for ``{folder}`` and ``{holder}``.

    Raises:
        InputError: Another process is at work there, or the folder cannot be made or written.
    """

    FILE = ".lock"

    def __init__(self, folder: str | Path, busy: str = _BUSY) -> None:
        path = Path(folder) / self.FILE
        with said_to_be_unwritable(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8")
        if not self._taken():
            holder = self._holder()
            self._file.close()
            raise InputError(busy.format(folder=folder, holder=holder))
        with said_to_be_unwritable(path.parent):
            self._sign()
            for left in path.parent.iterdir():
                if re.match(r"\.\d+\..+\.(pth|json|npz)$", left.name) and left.is_file():
                    left.unlink()

    def release(self) -> None:
        """Let the next run in before this process ends."""
        self._file.close()

    def _taken(self) -> bool:
        if fcntl is None:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # no locks on this file system
            return True
        return True

    def _sign(self) -> None:
        """Write down who works here since when."""
        self._file.truncate(0)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        json.dump(dict(pid=os.getpid(), host=socket.gethostname(), since=now), self._file)
        self._file.flush()

    def _holder(self) -> str:
        """Who works here, for a sentence; nothing if the file does not say."""
        self._file.seek(0)
        try:
            note: dict[str, Any] = json.load(self._file)
            return f" (process {note['pid']} on {note['host']}, since {note['since']})"
        except (KeyError, TypeError, ValueError):
            return ""
