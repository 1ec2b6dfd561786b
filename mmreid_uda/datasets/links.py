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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmreid_uda.structures import Links
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path
from mmreid_uda.utils.run_lock import alone

from .files import real_paths, shown
from .tables import local_path, read_table
from .unknown import known

__all__ = ["COLUMNS", "LinkRow", "append_links", "read_links", "resolve_links"]

COLUMNS = ("path_a", "path_b", "kind", "source", "priority", "time", "author")
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
    """

    path_a: str
    path_b: str | None
    kind: str
    priority: int
    place: str


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
    table = read_table(path, set(COLUMNS))
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
    return LinkRow(cells["path_a"], cells["path_b"], kind, int(priority), place)


def resolve_links(
    rows: Iterable[LinkRow], paths: Sequence[str], root: str
) -> tuple[Links, np.ndarray, int]:
    """Find the images that rows speak of, and what holds in the end.

    Args:
        rows: In their order.
        paths: Of the N images; an image is its file, however it is spelled.
        root: Folder that the paths of the rows are relative to.

    Returns:
        The links in the order of their last words; bool (N,), images to ignore; and the number of rows about images
        that are not among these.

    Raises:
        InputError: A cannot-link leads to one file twice.
    """
    rows = list(rows)
    place_of = {file: place for place, file in enumerate(real_paths(paths))}
    named = [one for row in rows for one in (row.path_a, row.path_b or row.path_a)]
    found = iter(place_of.get(file) for file in real_paths(local_path(root, one) for one in named))
    pairs: dict[tuple[int, int], LinkRow] = {}
    ignored = np.zeros(len(paths), np.bool_)
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


def append_links(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows to a file of links, which is made if it is not there.

    Writers wait for each other, threads and processes alike, and a reader, a crash or a power cut finds the file with
    all of the rows or with none. It is written as UTF-8 with commas; further columns stay.

    Args:
        path: The file.
        rows: Cells by names of :data:`COLUMNS`; ``source`` is ``'human'`` unless given, ``time`` now (UTC).

    Raises:
        InputError: A row cannot be understood, or the file cannot be read or written; nothing was written then.
    """
    path = Path(path)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    new = [{"source": "human", "time": now, **row} for row in rows]
    for number, row in enumerate(new, 1):
        link = _understood(row, f"row {number} for {shown(str(path))}")
        row["priority"] = link.priority
    with alone(path):
        header, old = list(COLUMNS), list[Mapping[str, Any]]()
        if path.exists():
            read_links(str(path))
            table = read_table(str(path), set(COLUMNS))
            header = [*table.header, *(name for name in COLUMNS if name not in table.header)]
            old = list(table.rows)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(
            text, header, restval="", extrasaction="ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows([*old, *new])
        with atomic_path(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
