"""Sizes in memory as people write them in configs, and memory that is kept for the next use."""

from __future__ import annotations

import ctypes
import os
import re
from fractions import Fraction
from pathlib import Path

from .errors import InputError

__all__ = ["keep_freed_memory", "machine_memory", "parse_size"]

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1

_UNITS = {
    f"{prefix}{binary}b": (1024 if binary else 1000) ** power
    for power, prefix in enumerate("kmgt", start=1)
    for binary in ("", "i")
} | {"": 1, "b": 1}


def parse_size(text: str | int, key: str = "size") -> int:
    """Read a number of bytes: ``'2GiB'``, ``'500 MB'``, ``'1.5gib'``, ``'4096'`` or an int.

    ``kB``, ``MB``, ``GB`` and ``TB`` are powers of 1000; ``KiB``, ``MiB``, ``GiB`` and ``TiB`` powers of 1024. Case and
    blanks do not matter.

    Args:
        text: The size.
        key: The config key that it was given for, for the message.

    Returns:
        Bytes >= 0, rounded down.

    Raises:
        InputError: It is none of these, or negative.
    """
    # A config's True is an int to Python, but hardly one byte to its author.
    readable = isinstance(text, (str, int)) and not isinstance(text, bool)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", str(text).strip().lower())
    if not readable or match is None or match[2] not in _UNITS:
        raise InputError(
            f"found {key}={text!r}, expected a number of bytes, or a number with a unit such as '500MB' or '2GiB'; "
            f"set {key}"
        )
    return int(Fraction(match[1]) * _UNITS[match[2]])


def machine_memory() -> int:
    """Memory of this machine, or what a container may take of it.

    Returns:
        Bytes.
    """
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    told = limit.read_text().strip() if limit.is_file() else ""
    return min(size, int(told)) if told.isdigit() else size


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, up to 2 GiB at a time, instead of giving it back to the system.

    A training step on a CPU makes and drops hundreds of large tensors. The C library of most Linux systems fetches each
    from the kernel anew, which has to clear its pages: a quarter of the time of a step (measured with MobileNetV2 and
    64 images of 128×64 pixels).

    Returns:
        Whether the C library has taken the setting; elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([mallopt(_MMAP_THRESHOLD, _LARGEST), mallopt(_TRIM_THRESHOLD, _LARGEST)])
