"""Folders that one process at a time works in, and what the disk holds of them."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from mmreid_uda.utils import InputError
from mmreid_uda.utils.run_lock import RunLock

__all__ = ["Claim", "require_room", "write_one", "write_through"]

_BUSY = (
    "found the gallery '{folder}' open in another process{holder}, expected one process at a time: close it there (a "
    "`mmreid serve` or `mmreid gallery add --watch`?), ask that server instead, or export the gallery to a copy."
)
_open_folders: set[Path] = set()
_opening = threading.Lock()
_MIB = 1 << 20


class Claim:
    """The right of this process, and of one object in it, to a folder.

    Args:
        folder: Made if it is not there.

    Raises:
        InputError: Another process, or another object, has the folder open.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder.resolve()
        with _opening:
            if self._place in _open_folders:
                raise InputError(
                    f"found the gallery {str(folder)!r} open in this process already, expected it once: use the one "
                    "that is open, or close it."
                )
            self._lock = RunLock(folder, _BUSY)
            _open_folders.add(self._place)

    def release(self) -> None:
        """Let others open the folder."""
        with _opening:
            self._lock.release()
            _open_folders.discard(self._place)


def require_room(folder: Path, num_bytes: int, copied: Path | None = None) -> None:
    """Refuse what the disk has no room for, before it is begun.

    Args:
        folder: On the disk.
        num_bytes: Needed.
        copied: A folder that is copied as well. Defaults to None: none.

    Raises:
        InputError: Fewer are free.
    """
    for one in () if copied is None else copied.rglob("*"):
        with suppress(FileNotFoundError):  # that the engine's thread has just renamed
            num_bytes += one.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise InputError(
            f"found {free // _MIB} MiB free on the disk of {str(folder)!r}, expected {-(-num_bytes // _MIB)} MiB: make "
            "room, or move the gallery to another disk."
        )


def write_through(folder: Path) -> None:
    """Have the disk hold all files in a folder, and their names.

    Args:
        folder: With all below it.
    """
    for one in (*folder.rglob("*"), folder):
        with suppress(
            FileNotFoundError
        ):  # an empty one that the engine's thread has just given its name
            write_one(one)


def write_one(place: Path) -> None:
    """Have the disk hold a file, or the names in a folder, where the system lets one ask for that.

    Args:
        place: The file or folder.
    """
    if os.name != "posix" and place.is_dir():
        return
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
