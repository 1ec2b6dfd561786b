"""The one exception whose message is written for the person at the keyboard, and where another one comes from."""

from __future__ import annotations

import errno
import os
import sysconfig
import traceback

__all__ = ["InputError", "in_a_line", "place_of", "raised_here", "sentence_about"]

# Errors of the operating system that the user can mend, and how.
_REMEDIES = {
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some of your quota, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "name another place, or change its rights",
    errno.EPERM: "name another place, or change its rights",
    errno.ENOTDIR: "correct the path, of which one part is a file",
    errno.EISDIR: "correct the path, which leads to a folder",
    errno.ENOENT: "correct the path",
    errno.EEXIST: "name another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "correct the links, which lead in a circle",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower num_workers",
    errno.ENFILE: "raise the limit of open files of the machine, or lower num_workers",
    errno.EADDRINUSE: "choose another port, such as PORT=29501 before the command",
}


class InputError(ValueError):
    """Something in the data, the configuration or the environment that the user can mend.

    The message is one sentence: what was found (with numbers), what was expected, and which config key or
    command mends it. The command-line tools print it alone, without a traceback, and exit with status 2.

    A data loader's worker re-raises an exception with the worker's whole traceback as its message; the sentence is
    taken back out of it, so that a corrupt image reads the same with and without workers. Line breaks inside a name
    that the sentence cites are written as in a Python text.

    Args:
        message: The sentence.
    """

    def __init__(self, message: str) -> None:
        if message.startswith("Caught "):
            message = message.rstrip().rsplit("InputError: ", 1)[-1]
        super().__init__(message.replace("\n", "\\n").replace("\r", "\\r"))


def place_of(error: BaseException) -> str:
    """The line of the user's own code, or else of this package, that an exception comes from.

    Args:
        error: An exception that was raised.

    Returns:
        ``'file:line'``. A file that is no Python has the line that the exception names.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
    ]
    installed = {os.path.dirname(os.__file__), *map(sysconfig.get_path, ("purelib", "platlib"))}
    own = [frame for frame in frames if not frame.filename.startswith(tuple(installed))]
    package = os.path.dirname(os.path.dirname(__file__))
    users = [frame for frame in own if not frame.filename.startswith(package)]
    best = (users or own or frames)[-1:]
    return f"{best[0].filename}:{best[0].lineno}" if best else "an unknown line"


def raised_here(error: BaseException) -> bool:
    """Whether an exception comes from this package's own code, not from one that it calls.

    Args:
        error: An exception that was raised.

    Returns:
        True if the last line of its traceback is this package's.
    """
    package = os.path.dirname(os.path.dirname(__file__))
    return traceback.extract_tb(error.__traceback__)[-1].filename.startswith(package)


def sentence_about(error: Exception) -> tuple[str, bool]:
    """What the user is told about an exception that ended a tool.

    Args:
        error: The exception.

    Returns:
        The sentence, and whether it is about something that the user can mend.
    """
    if isinstance(error, InputError):
        return str(error), True
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        place = f" at {os.fspath(error.filename)!r}" if error.filename is not None else ""
        return f"found {error.strerror or error}{place}: {_REMEDIES[error.errno]}.", True
    if _lacks_memory(error):
        return (
            f"the memory does not suffice ({in_a_line(error)}): lower global_batch_size, "
            "val_dataloader.batch_size or input_size, train with --amp, or free memory.",
            True,
        )
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return (
        f"{type(cause).__name__} at {place_of(cause)}: {in_a_line(cause)}; set MMREID_DEBUG=1 before the command to "
        "see how it came to this.",
        False,
    )


def _lacks_memory(error: Exception) -> bool:
    """Whether Python, PyTorch or OpenCV (of which each has its own way to say so) got too little memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return "insufficient memory" in text or "can't allocate memory" in text


def in_a_line(error: BaseException) -> str:
    """The message of an exception in one line.

    Of one that a data loader's worker passes on, it is the end of the worker's traceback.

    Args:
        error: The exception.

    Returns:
        Text of at most 303 letters.
    """
    text = str(error).strip()
    if text.startswith("Caught "):
        text = text.rpartition("\n")[2]
    text = " ".join(text.split()).rstrip(".") or "no more is known"
    return text if len(text) <= 300 else f"{text[:300]}..."
