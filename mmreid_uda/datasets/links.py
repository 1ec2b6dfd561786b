"""``links.csv``: what people, or other programs, say of pairs of images. Read into evidence, and written safely.

A row speaks of the pair ``path_a``, ``path_b``, in either order, or with ``kind=ignore`` of the image ``path_a`` alone:

========== ========================================================================================================
``must``   both show one subject
``cannot`` they show two subjects
``ignore`` the image shows no subject: it gets no label
``revoke`` what was said of this pair, or without ``path_b`` of this image, does not hold any more
========== ========================================================================================================

Of several rows about one pair the last one counts, whoever wrote them: the file is a history, and an undo one more row.
Links of different pairs may contradict each other; then the one of higher ``priority`` is kept in clustering.
``source`` is ``human`` (unless said), ``tracklet``, ``time`` or ``other``; a person's priority is 2 unless said, that
of others 1. ``time`` and ``author`` are any text.
"""

from __future__ import annotations

import csv
import io
import os
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmreid_uda.structures import Links
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path
from mmreid_uda.utils.run_lock import alone

from .files import real_paths, shown
from .tables import Table, local_path, read_table
from .unknown import known

__all__ = ["COLUMNS", "ImageFiles", "LinkRow", "append_links", "read_links", "resolve_links"]

COLUMNS = ("path_a", "path_b", "kind", "source", "priority", "time", "author", "act")
"""Of ``links.csv``; the first three are needed."""
_KINDS = ("must", "cannot", "ignore", "revoke")
_SOURCES = ("human", "tracklet", "time", "other")


class LinkRow(NamedTuple):
    """One row.

    Args:
        path_a: An image.
        path_b: The other image; None where the row speaks of one.
        kind: ``'must'``, ``'cannot'``, ``'ignore'`` or ``'revoke'``.
        priority: Of contradicting links the higher one is kept.
        place: Where the row stands, for messages.
        source: ``'human'``, ``'tracklet'``, ``'time'`` or ``'other'``.
        time: When it was said; any text.
        author: Who said it; any text.
        act: What it was said with; any text.
    """

    path_a: str
    path_b: str | None
    kind: str
    priority: int
    place: str
    source: str = "human"
    time: str = ""
    author: str = ""
    act: str = ""


class ImageFiles:
    """Where images stand in a list, by their files: other spellings of a path and links lead to the same image.

    So do the two ways in which Unicode writes an accent: a table is read in one of them, whatever a file is called.

    Args:
        paths: Of the N images.
        root: Folder that names are relative to.
    """

    def __init__(self, paths: Sequence[str], root: str) -> None:
        self.root, self._num = root, len(paths)
        self._place_of = {file: place for place, file in enumerate(_composed(paths))}

    def __len__(self) -> int:
        return self._num

    def files(self, names: Iterable[str]) -> list[str]:
        """The files that names mean.

        Args:
            names: Paths as they stand in a file of links.

        Returns:
            Real paths in composed Unicode, of images in the list and of others.
        """
        return _composed(local_path(self.root, name) for name in names)

    def place(self, file: str) -> int | None:
        """Where a file stands in the list.

        Args:
            file: One of :meth:`files`.

        Returns:
            Its position; None if it is not in the list.
        """
        return self._place_of.get(file)


def _composed(paths: Iterable[str]) -> list[str]:
    return [unicodedata.normalize("NFC", one) for one in real_paths(paths)]


def read_links(path: str) -> list[LinkRow]:
    """Read a file of links.

    Args:
        path: A CSV file.

    Returns:
        Its rows, in their order.

    Raises:
        InputError: It is no CSV file with these columns, or a row cannot be understood.
    """
    if not os.path.isfile(path):
        raise InputError(
            f"links {shown(path)} is not a file (working folder: '{os.getcwd()}'), expected a CSV file with the "
            f"columns {', '.join(COLUMNS)}; set links, which is relative to data_root, or leave it out"
        )
    return _rows_of(read_table(path, set(COLUMNS)))


def _rows_of(table: Table) -> list[LinkRow]:
    """The rows of a table, or a sentence."""
    path = table.path
    missing = [name for name in COLUMNS[:3] if name not in table.header]
    if missing:
        raise InputError(
            f"{shown(path)} has the columns {', '.join(map(shown, table.header)) or '(none)'}, but "
            f"{', '.join(missing)} is missing, expected some of {', '.join(COLUMNS)}; rename the columns"
        )
    return [
        _understood(row, f"line {line} of {shown(path)}")
        for line, row in zip(table.lines, table.rows)
    ]


def _understood(row: Mapping[str, Any], place: str) -> LinkRow:
    """A row of texts, or a sentence."""
    cells = {name: known(str(row.get(name, ""))) for name in COLUMNS}
    kind, source = str(cells["kind"]).lower(), str(cells["source"] or "human").lower()
    priority = str(cells["priority"] or (2 if source == "human" else 1))
    wrong = ""
    if any("\0" in str(one) for one in row.values()):
        wrong = "a NUL, expected texts"
    elif kind not in _KINDS:
        wrong = f"the kind {shown(kind)}, expected {', '.join(_KINDS)}"
    elif source not in _SOURCES:
        wrong = f"the source {shown(source)}, expected {', '.join(_SOURCES)}"
    elif not re.fullmatch(r"[+-]?[0-9]{1,9}", priority):
        wrong = f"the priority {shown(priority)}, expected a whole number"
    elif cells["path_a"] is None or (kind in ("must", "cannot") and cells["path_b"] is None):
        needed = "path_a and path_b" if kind in ("must", "cannot") else "path_a"
        wrong = f"the kind {kind} and too few paths, expected {needed}"
    elif kind == "ignore" and cells["path_b"] is not None:
        wrong = "the kind ignore and a path_b, expected path_a alone"
    elif kind == "cannot" and cells["path_a"] == cells["path_b"]:
        wrong = f"the kind cannot for {shown(cells['path_a'])} and itself, expected two images"
    if wrong:
        raise InputError(f"{place} has {wrong}; mend or remove the row")
    said = {name: str(cells[name] or "") for name in ("time", "author", "act")}
    return LinkRow(cells["path_a"], cells["path_b"], kind, int(priority), place, source, **said)


def resolve_links(rows: Iterable[LinkRow], files: ImageFiles) -> tuple[Links, np.ndarray, int]:
    """Find the images that rows speak of, and what holds in the end.

    Args:
        rows: In their order.
        files: The N images.

    Returns:
        The links in the order of their last words; bool (N,), images to ignore; and the number of rows about images
        that are not among these.

    Raises:
        InputError: A cannot-link leads to one file twice.
    """
    rows = list(rows)
    named = [one for row in rows for one in (row.path_a, row.path_b or row.path_a)]
    found = map(files.place, files.files(named))
    pairs: dict[tuple[int, int], LinkRow] = {}
    ignored = np.zeros(len(files), np.bool_)
    strangers = 0
    for row, first, second in zip(rows, found, found):
        if first is None or second is None:
            strangers += 1
        elif row.path_b is None:
            ignored[first] = row.kind == "ignore"
        elif first == second:
            if row.kind == "cannot":
                raise InputError(
                    f"{row.place} says that {shown(row.path_a)} and {shown(row.path_b)} show two subjects, but both "
                    "are one file; mend or remove the row"
                )
        else:
            pair = (min(first, second), max(first, second))
            pairs.pop(pair, None)
            if row.kind != "revoke":
                pairs[pair] = row
    ends = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    links = Links(
        ends[:, 0],
        ends[:, 1],
        np.array([row.kind == "must" for row in pairs.values()], dtype=np.bool_),
        np.array([row.priority for row in pairs.values()], dtype=np.int64),
    )
    return links, ignored, strangers


def _require_cells(values: Iterable[Any], place: str) -> None:
    """Refuse what would not be read as it was written: then nobody could read the file any more."""
    for one in map(str, values):
        if "\r" in one or one != one.encode(errors="replace").decode():
            raise InputError(
                f"{place} has {shown(one)}, expected UTF-8 text without carriage returns; rename the image, or correct "
                "the text"
            )


Cells = Iterable[Mapping[str, Any]]


def append_links(path: str | Path, rows: Cells | Callable[[list[LinkRow]], Cells]) -> list[LinkRow]:
    """Add rows to a file of links, which is made if it is not there.

    Writers wait for each other, threads and processes alike, and a reader, a crash or a power cut finds the file with
    all of the rows or with none. It is written as UTF-8 with commas; further columns stay.

    Args:
        path: The file.
        rows: Cells by names of :data:`COLUMNS`; ``source`` is ``'human'`` unless given, ``time`` now (UTC). Or a
            function that makes them from the rows that are there, while no other writer comes between.

    Returns:
        What was written.

    Raises:
        InputError: A row cannot be understood, or the file cannot be read or written; nothing was written then.
    """
    path = Path(path)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with alone(path):
        header, old, understood = list(COLUMNS), list[Mapping[str, Any]](), list[LinkRow]()
        if path.exists():
            table = read_table(str(path), set(COLUMNS))
            understood = _rows_of(table)
            header = [*table.header, *(name for name in COLUMNS if name not in table.header)]
            old = list(table.rows)
        made = rows(understood) if callable(rows) else rows
        new = [{"source": "human", "time": now, **row} for row in made]
        written = []
        for number, row in enumerate(new, 1):
            _require_cells(row.values(), f"row {number} for {shown(str(path))}")
            written.append(_understood(row, f"row {number} for {shown(str(path))}"))
            row["priority"] = written[-1].priority
        text = io.StringIO(newline="")
        writer = csv.DictWriter(
            text, header, restval="", extrasaction="ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows([*old, *new])
        with atomic_path(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
    return written
