"""Packs: folders whose images lie in one LMDB file, which are read as the folders they were made of.

``OUT/images.lmdb`` holds the images, byte for byte; tables, lists and links lie beside it as they did in the folder.
:mod:`.files` looks into packs wherever a path leads into one, so that datasets need not know them.

Of N images the file has ``names``, their sorted paths below the folder in UTF-8, each with a NUL behind it; ``ends``,
int64 (N,), where each of them ends; ``files``, int64 (N,), the place of the first name of the file that each is, which
is another one for links alone; and ``about``, the version of this layout, without which a file is no whole pack. Each
file has a record by the place of its first name, in eight bytes, highest first: four bytes of CRC-32, lowest first, and
the content.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, overload

import numpy as np

from mmreid_uda.utils import InputError
from mmreid_uda.utils.packages import import_package

__all__ = [
    "IMAGES",
    "PACK_SUFFIX",
    "Pack",
    "PackWriter",
    "find_pack",
    "opened_pack",
    "sorted_names",
]

IMAGES = "images.lmdb"
"""Name of the file of images in a pack."""
PACK_SUFFIX = ".pack"
"""What the name of a pack may end in; it does not belong to the name of the dataset."""

_LAYOUT = 1
_CRC_BYTES = 4
_COMMIT_BYTES = 32 << 20
_opened: dict[str, Pack] = {}
_opening = threading.RLock()


class _Names(Sequence):
    """The names of a pack as UTF-8, cut out of the mapped file one at a time: no process holds them.

    Args:
        text: All names, each with a NUL behind it.
        ends: Position of each NUL.
    """

    def __init__(self, text: memoryview, ends: memoryview) -> None:
        self.text, self.ends = text, ends

    def __len__(self) -> int:
        return len(self.ends)

    def start(self, place: int) -> int:
        """Where a name begins."""
        return self.ends[place - 1] + 1 if place else 0

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: Any) -> Any:
        """The name, or the names."""
        if isinstance(place, slice):
            first, last, _ = place.indices(len(self))
            if first >= last:
                return []
            return bytes(self.text[self.start(first) : self.ends[last - 1]]).split(b"\0")
        return bytes(self.text[self.start(place) : self.ends[place]])


class Pack:
    """The images of a pack; a process that reads it maps the file, and holds none of it.

    Args:
        root: Real path of the pack.

    Attributes:
        path: The file of images.
        plan: What was packed and how, see :class:`PackWriter`.

    Raises:
        InputError: The package ``lmdb`` is missing, or the file is no whole pack.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.path = os.path.join(root, IMAGES)
        lmdb = import_package("lmdb", f"the pack '{root}'", "mmreid_uda[pack]")
        with ExitStack() as opened:
            try:
                # No locks: nobody writes to a pack. No readahead: training reads images in any order.
                self._env = lmdb.open(
                    self.path, subdir=False, readonly=True, lock=False, readahead=False
                )
                opened.callback(self._env.close)
                wrong = self._what_is_wrong()
            except (lmdb.Error, OSError) as error:
                wrong = str(error)
            if wrong:
                raise InputError(
                    f"found no whole pack in '{self.path}' ({wrong}), expected what `mmreid data pack` wrote; copy it "
                    "again, or pack the folder again"
                )
            opened.pop_all()
        # The transaction stays open as long as what is cut out of the mapped file is used.
        transaction = self._transaction = self._env.begin(buffers=True)
        self.plan = bytes(transaction.get(b"plan")).decode()
        self._names = _Names(transaction.get(b"names"), transaction.get(b"ends").cast("q"))
        self._files = transaction.get(b"files").cast("q")

    def _what_is_wrong(self) -> str:
        """Why this is no whole pack; empty if it is one."""
        size = os.path.getsize(self.path)
        needed = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        if needed > size:  # reading behind its end would end the process
            return f"it has {size} of {needed} bytes"
        with self._env.begin() as transaction:
            about = transaction.get(b"about")
        if about is None:
            return "it was not finished"
        return "" if json.loads(about) == {"layout": _LAYOUT} else "it is of another version"

    def __len__(self) -> int:
        return len(self._names)

    def close(self) -> None:
        """Forget the mapped file; nothing can be read any more."""
        del self._names, self._files
        self._env.close()

    def below(self, folder: str = "") -> list[str]:
        """Sorted paths of the images below a folder.

        Args:
            folder: Path below the root with ``/``; empty for the root.

        Returns:
            Paths relative to that folder.
        """
        start = f"{folder}/" if folder else ""
        cut = len(start)
        return sorted(name[cut:] for name in self._decoded(*self._range(start)))

    def children(self, folder: str = "") -> tuple[list[str], list[str]]:
        """Names of the images and of the folders that lie directly in a folder.

        Args:
            folder: As in :meth:`below`.

        Returns:
            Both, in any order.
        """
        parts = [name.partition("/") for name in self.below(folder)]
        images = [name for name, inner, _ in parts if not inner]
        return images, list(dict.fromkeys(name for name, inner, _ in parts if inner))

    def has_folder(self, folder: str) -> bool:
        """Tell whether there are images below a folder.

        Args:
            folder: As in :meth:`below`.

        Returns:
            True for the root.
        """
        first, last = self._range(f"{folder}/")
        return not folder or first < last

    def _range(self, start: str) -> tuple[int, int]:
        """The places of the names that begin with a text, which is empty or ends in a slash."""
        if not start:
            return 0, len(self)
        encoded = start.encode("utf-8", "surrogateescape")
        after = encoded[:-1] + b"0"  # the character behind the slash
        return bisect_left(self._names, encoded), bisect_left(self._names, after)

    def _decoded(self, first: int, last: int) -> list[str]:
        return [name.decode("utf-8", "surrogateescape") for name in self._names[first:last]]

    def place(self, name: str) -> int | None:
        """Where an image stands.

        Args:
            name: Path below the root with ``/``.

        Returns:
            Its place among the sorted names; None where there is no such image.
        """
        encoded = name.encode("utf-8", "surrogateescape")
        place = bisect_left(self._names, encoded)
        return place if place < len(self) and self._names[place] == encoded else None

    def file(self, place: int) -> str:
        """The first name of the file that an image is, the same for all links to it.

        Args:
            place: Of the image, see :meth:`place`.

        Returns:
            Path below the root with ``/``.
        """
        return self._names[self._files[place]].decode("utf-8", "surrogateescape")

    def read(self, name: str) -> bytes:
        """The content of an image.

        Args:
            name: Path below the root with ``/``.

        Returns:
            What the file held.

        Raises:
            FileNotFoundError: There is no such image.
            OSError: Its bytes are not those that were packed.
        """
        place = self.place(name)
        if place is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        with self._env.begin(buffers=True) as transaction:
            record = transaction.get(_key(self._files[place]))
            content = None if record is None else bytes(record[_CRC_BYTES:])
            told = b"" if record is None else bytes(record[:_CRC_BYTES])
        if content is None or _crc(content) != told:
            raise OSError(errno.EIO, f"the pack '{self.root}' is damaged there, pack again", name)
        return content


def _key(place: int) -> bytes:
    return place.to_bytes(8, "big")


def _crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CRC_BYTES, "little")


def opened_pack(root: str) -> Pack:
    """The pack of a folder, opened once in a process: a pack that takes its place later is not seen.

    Args:
        root: Path of a pack.

    Returns:
        The pack.

    Raises:
        InputError: See :class:`Pack`.
    """
    with _opening:
        if root not in _opened:
            real = os.path.realpath(root)
            _opened[root] = _opened[real] if real in _opened else Pack(real)
            _opened[real] = _opened[root]
        return _opened[root]


def _forget() -> None:
    """A process that was forked maps packs itself, when it reads from them."""
    global _opening
    _opening = threading.RLock()
    for pack in set(_opened.values()):
        pack.close()
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def find_pack(path: str, known: bool = False) -> tuple[Pack, str] | None:
    """The pack that a path leads into.

    Args:
        path: Of an image or folder, in a pack or not.
        known: Look only at packs that are open already, which asks the disk for nothing.

    Returns:
        The pack, and the path below its root with ``/``, empty for the pack itself; None for a path elsewhere.

    Raises:
        InputError: See :class:`Pack`.
    """
    if known and not _opened:
        return None
    root = path.rstrip(os.sep) or path
    while True:
        if root in _opened or (not known and os.path.isfile(os.path.join(root, IMAGES))):
            inner = os.path.relpath(path, root) if root else os.path.normpath(path)
            inner = "" if inner == "." else inner.replace(os.sep, "/")
            if inner.split("/", 1)[0] == "..":
                return None
            return opened_pack(root), inner
        above = os.path.dirname(root)
        if above == root:
            return None
        root = above


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
    """

    def __init__(self, folder: str, names: Sequence[str], files: Sequence[int], plan: str) -> None:
        self._names, self._files = names, np.asarray(files, np.int64)
        self._lmdb = import_package("lmdb", "a pack", "mmreid_uda[pack]")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, IMAGES)
        options = {"subdir": False, "lock": False, "map_size": 1 << 26}
        try:
            self._env = self._lmdb.open(path, **options)
            found = self._read(b"plan")
        except self._lmdb.Error:  # what lies there is not one of ours
            found = b""
        if found != plan.encode():
            if found is not None:
                self._env.close()
                os.unlink(path)
                self._env = self._lmdb.open(path, **options)
            self._write([(b"plan", plan.encode())])
        places = np.flatnonzero(self._files == np.arange(len(names)))
        self.left = deque(places[self._env.stat()["entries"] - 1 :].tolist())
        self._waiting: list[tuple[bytes, bytes]] = []
        self._bytes = 0

    def _read(self, key: bytes) -> bytes | None:
        with self._env.begin() as transaction:
            return transaction.get(key)

    def _write(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Write all of them or, if killed, none; the file grows as far as needed."""
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in pairs:
                        transaction.put(key, value)
                return
            except self._lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])

    def add(self, content: bytes) -> None:
        """Write the next file of :attr:`left`.

        Args:
            content: What it holds.
        """
        self._waiting.append((_key(self.left.popleft()), _crc(content) + content))
        self._bytes += len(content)
        if self._bytes >= _COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """Have all images that were added on the disk."""
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
                (b"about", json.dumps({"layout": _LAYOUT}).encode()),
            ]
        )
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        self._env.close()
