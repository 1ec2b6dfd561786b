"""Signals that ask a run to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupted", "interruptible"]


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to stop.

    Like a ``KeyboardInterrupt`` it is no ``Exception``: nothing but the start of a tool is meant to catch it.

    Args:
        signum: Number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def status(self) -> int:
        """Exit status by the shells' convention: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signum


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise :class:`Interrupted` in the main thread: files are left whole.

    A signal that is ignored (``nohup``) stays ignored. The second signal of a kind does what it does by itself, for a
    process that does not come to an end. Forked loading processes end at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()
    received: list[int] = []

    def stop(signum: int, frame: Any) -> None:
        signal.signal(signum, signal.SIG_DFL)
        if os.getpid() != owner:
            os._exit(128 + signum)
        received.append(signum)
        if hasattr(signal, "SIGCHLD"):
            # Loading processes that are stopped as well are no failure, which torch would raise in our way out.
            signal.signal(signal.SIGCHLD, lambda *_: None)
        raise Interrupted(signum)

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {one: signal.getsignal(one) for one in signals}
    for one in signals:
        if before[one] != signal.SIG_IGN:
            signal.signal(one, stop)
    try:
        yield
    except Exception as error:
        # On the way out a loading process that was stopped, too, or a lost connection raise errors of their own.
        if received:
            raise Interrupted(received[0]) from error
        raise
    finally:
        for one in signals:
            signal.signal(one, before[one] or signal.SIG_DFL)
