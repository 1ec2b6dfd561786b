"""Write the file of a pack, image by image; :mod:`.packs` describes it and reads it."""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mmreid_uda.utils.packages import import_package

from .packs import HEAD, IMAGES, LAYOUT, chunk_key

__all__ = ["PackWriter", "sorted_names"]

# Whoever asks lmdb for a value has all its pages read; four pages with their head hold what this allows.
_CHUNK_BYTES = (16 << 10) - 16
_COMMIT_BYTES = 4 << 20


def sorted_names(names: Iterable[str]) -> list[str]:
    """Sort names as packs have them: by their bytes in UTF-8.

    Args:
        names: Paths with ``/``.

    Returns:
        Them, sorted.
    """
    return sorted(names, key=lambda name: name.encode("utf-8", "surrogateescape"))


class PackWriter:
    """Write images one after the other; what a kill left is kept, up to the last commit.

    Args:
        folder: Folder of the file, which is made.
        names: Paths of the N images below the root with ``/``, as :func:`sorted_names` sorts them.
        files: The place of the first name of the file that each of them is.
        plan: What is to be packed and how: where a file of another plan lies there, it is written anew.

    Attributes:
        left: Places of the files whose content is to be added, in this order.

    Raises:
        InputError: The package ``lmdb`` is missing.
        ValueError: The names are not sorted.
    """

    def __init__(self, folder: str, names: Sequence[str], files: Sequence[int], plan: str) -> None:
        self._names, self._files = names, np.asarray(files, np.int64)
        if sorted_names(names) != list(names):
            raise ValueError("the names of a pack must be sorted by their bytes")
        self._lmdb = import_package("lmdb", "a pack", "mmreid_uda[pack]")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, IMAGES)
        options = {"subdir": False, "lock": False, "map_size": 1 << 26}
        self._env: Any = None
        try:
            self._env = self._lmdb.open(path, **options)
            found = self._read(b"plan")
        except self._lmdb.Error:  # what lies there is not one of ours
            found = b""
        if found != plan.encode():
            if found is not None:
                if self._env is not None:
                    self._env.close()
                os.unlink(path)
                self._env = self._lmdb.open(path, **options)
            self._write([(b"plan", plan.encode())])
        self._starts = np.zeros(len(names), np.int64)
        self.left = deque(np.flatnonzero(self._files == np.arange(len(names))).tolist())
        self._chunk = bytearray()
        self._first = self._bytes = 0
        self._waiting: list[tuple[bytes, bytes]] = []
        self._take_up()

    def _take_up(self) -> None:
        """Take what an earlier writer has left for done."""
        with self._env.begin(buffers=True) as transaction:
            for key, chunk in transaction.cursor():
                if len(key) != len(chunk_key(0)):  # what is told of all of them
                    continue
                start = 0
                while start < len(chunk):
                    self._starts[self.left.popleft()] = (int.from_bytes(key, "big") << 32) + start
                    start += HEAD.size + HEAD.unpack_from(chunk, start)[0]

    def _read(self, key: bytes) -> bytes | None:
        with self._env.begin() as transaction:
            return transaction.get(key)

    def _write(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Write all of them or, if killed, none; the file grows as far as needed.

        Raises:
            OSError: The disk is full, or fails.
        """
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in pairs:
                        transaction.put(key, value)
                return
            except self._lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])
            except self._lmdb.Error as error:
                full = isinstance(error, self._lmdb.DiskError)
                raise OSError(errno.ENOSPC if full else errno.EIO, f"{error}") from error

    def add(self, content: bytes) -> None:
        """Write the next file of :attr:`left`.

        Args:
            content: What it holds.
        """
        place = self.left.popleft()
        if self._chunk and len(self._chunk) + HEAD.size + len(content) > _CHUNK_BYTES:
            self._end_chunk()
        if not self._chunk:
            self._first = place
        self._starts[place] = (self._first << 32) + len(self._chunk)
        self._chunk += HEAD.pack(len(content), zlib.crc32(content)) + content
        self._bytes += len(content)
        if self._bytes >= _COMMIT_BYTES:
            self.commit()

    def _end_chunk(self) -> None:
        if self._chunk:
            self._waiting.append((chunk_key(self._first), bytes(self._chunk)))
            self._chunk = bytearray()

    def commit(self) -> None:
        """Have all images that were added on the disk."""
        self._end_chunk()
        self._write(self._waiting)
        self._waiting, self._bytes = [], 0

    def finish(self) -> None:
        """Write the names, and close; all files must have been added."""
        self.commit()
        encoded = [name.encode("utf-8", "surrogateescape") + b"\0" for name in self._names]
        ends = np.cumsum([len(name) for name in encoded], dtype=np.int64) - 1
        self._write(
            [
                (b"names", b"".join(encoded)),
                (b"ends", ends.tobytes()),
                (b"files", self._files.tobytes()),
                (b"records", self._starts[self._files].tobytes()),
                (b"about", json.dumps({"layout": LAYOUT}).encode()),
            ]
        )
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        self._env.close()
