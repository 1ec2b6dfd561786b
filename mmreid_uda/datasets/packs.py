"""Packs: folders whose images lie in one LMDB file, which are read as the folders they were made of.

``OUT/images.lmdb`` holds the images, byte for byte; tables, lists and links lie beside it as they did in the folder.
:mod:`.files` looks into packs wherever a path leads into one, so that datasets need not know them.

Of N images the file has ``names``, their sorted paths below the folder in UTF-8, each with a NUL behind it; ``ends``,
int64 (N,), where each of them ends; ``files``, int64 (N,), the place of the first name of the file that each is, which
is another one for links alone; and ``about``, the version of this layout, without which a file is no whole pack.

The records of the files, in the order of their first names, are joined to chunks of 16 KiB: small values would take
whole pages. A chunk is found by the place of its first file, in eight bytes, highest first. A record is its length and
CRC-32, four bytes each, lowest first, and the content; ``records``, int64 (N,), has where it begins: the place of the
chunk times 2^32, and the byte in it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import struct
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, overload

from mmreid_uda.utils import InputError
from mmreid_uda.utils.packages import import_package

__all__ = [
    "HEAD",
    "IMAGES",
    "LAYOUT",
    "PACK_SUFFIX",
    "SPELLED_OTHERWISE",
    "Pack",
    "chunk_key",
    "find_pack",
    "forget_packs",
    "opened_pack",
]

IMAGES = "images.lmdb"
"""Name of the file of images in a pack."""
PACK_SUFFIX = ".pack"
"""What the name of a pack may end in; it does not belong to the name of the dataset."""

SPELLED_OTHERWISE = re.compile(r"(^|/)\.{0,2}(/|$)")
"""An empty part, "." or ".." in a path: another spelling of the name."""

LAYOUT = 1
"""Version of the file's layout."""
HEAD = struct.Struct("<II")
"""Length and CRC-32 before each record."""
# Names between two that a process keeps to find others.
_STRIDE = 256
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
        self._signposts: list[bytes] | None = None

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

    def find(self, name: bytes) -> int | None:
        """The place of a name; None where it is not among them."""
        if self._signposts is None:
            self._signposts = [self[place] for place in range(0, len(self), _STRIDE)]
        first = _STRIDE * (bisect_right(self._signposts, name) - 1)
        if first < 0:
            return None
        last = min(first + _STRIDE, len(self))
        text = b"\0" + bytes(self.text[self.start(first) : self.ends[last - 1] + 1])
        found = text.find(b"\0" + name + b"\0")
        return None if found < 0 else first + text.count(b"\0", 0, found)


class Pack:
    """The images of a pack; a process that reads it maps the file, and holds none of it.

    Args:
        root: Real path of the pack.

    Attributes:
        path: The file of images.
        plan: What was packed and how, see :class:`.pack_writer.PackWriter`.

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
        self._records = transaction.get(b"records").cast("q")

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
        return "" if json.loads(about) == {"layout": LAYOUT} else "it is of another version"

    def __len__(self) -> int:
        return len(self._names)

    def close(self) -> None:
        """Forget the mapped file; nothing can be read any more."""
        del self._names, self._files, self._records
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
        return self._names.find(name.encode("utf-8", "surrogateescape"))

    def file(self, place: int) -> str:
        """The first name of the file that an image is, the same for all links to it.

        Args:
            place: Of the image, see :meth:`place`.

        Returns:
            Path below the root with ``/``.
        """
        return self._names[self._files[place]].decode("utf-8", "surrogateescape")

    def read(self, place: int) -> bytes:
        """The content of an image.

        Args:
            place: Of the image, see :meth:`place`.

        Returns:
            What the file held.

        Raises:
            OSError: Its bytes are not those that were packed.
        """
        first, start = divmod(self._records[place], 1 << 32)
        with self._env.begin(buffers=True) as transaction:
            chunk = transaction.get(chunk_key(first), b"")
            if start + HEAD.size <= len(chunk):
                length, told = HEAD.unpack_from(chunk, start)
                content = bytes(chunk[start + HEAD.size : start + HEAD.size + length])
                if zlib.crc32(content) == told and len(content) == length:
                    return content
        name = os.path.join(self.root, self.file(place))
        raise OSError(errno.EIO, f"the pack '{self.root}' is damaged there, pack again", name)


def chunk_key(place: int) -> bytes:
    """The key of a chunk.

    Args:
        place: Of its first file.

    Returns:
        Eight bytes that sort as the places do.
    """
    return place.to_bytes(8, "big")


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


def forget_packs() -> None:
    """Close all packs; they are opened again when they are read. A process that was forked begins so."""
    global _opening
    _opening = threading.RLock()
    for pack in set(_opened.values()):
        pack.close()
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_packs)


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
            inner = path[len(root) :].lstrip(os.sep)
            if not inner or SPELLED_OTHERWISE.search(inner):
                inner = os.path.normpath(inner or ".")
            inner = "" if inner == "." else inner.replace(os.sep, "/")
            if inner.split("/", 1)[0] == "..":
                return None
            return opened_pack(root), inner
        above = os.path.dirname(root)
        if above == root:
            return None
        root = above
