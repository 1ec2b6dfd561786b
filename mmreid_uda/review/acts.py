"""Acts of a person as rows of ``links.csv``: read back, written, undone."""

from __future__ import annotations

import os
import threading
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmreid_uda.clustering import consistent_links
from mmreid_uda.datasets.links import ImageFiles, LinkRow, append_links, read_links, resolve_links
from mmreid_uda.datasets.unknown import known
from mmreid_uda.structures import Links
from mmreid_uda.utils import InputError

from .revision import Distances, revise

__all__ = ["ACT_KINDS", "Act", "ActKind", "History"]

ActKind = Literal["merge", "split", "same", "different", "not_subject", "undo"]
"""What a person can say."""
ACT_KINDS = ("merge", "split", "same", "different", "not_subject", "undo")


@dataclass(frozen=True)
class Act:
    """Something that a person said, as it stands in the file.

    In the column ``act`` a row has ``<kind>/<id>``, of an undo ``undo/<id>/<id of what it undoes>``.

    Args:
        id: Twelve hexadecimal digits.
        kind: One of :data:`ACT_KINDS`.
        author: Who said it; may be empty.
        time: When, such as ``2026-01-31T12:00:00Z``.
        rows: All that was written, without their places.
        undone: Whether a later act undid it.
        of: Of an undo, the id of what it undoes; else empty.
    """

    id: str
    kind: ActKind
    author: str
    time: str
    rows: tuple[LinkRow, ...] = field(repr=False)
    undone: bool = False
    of: str = ""

    @property
    def contradicted(self) -> tuple[LinkRow, ...]:
        """Rows that take back what was said before, because this act says otherwise."""
        return tuple(row for row in self.rows if row.kind == "revoke" and self.kind != "undo")


class History:
    """A file of links with what was said in it, for some images.

    What the file says now is :attr:`links` and :attr:`ignored`; they follow the file, whoever writes it.

    Args:
        path: ``links.csv``, there or not.
        paths: Of the N images.
        root: Folder that paths in the file are relative to.
        distances: Of pairs of images, see :func:`revise`.
    """

    def __init__(
        self, path: str | Path, paths: Sequence[str], root: str | Path, distances: Distances
    ) -> None:
        self.path, self.paths, self.root = Path(path), paths, os.fspath(root)
        self._files, self._distances = ImageFiles(paths, self.root), distances
        self._real_root = os.path.realpath(self.root)
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._rows: list[LinkRow] = []
        self._links, self._ignored = Links(), np.zeros(len(paths), np.bool_)

    @property
    def rows(self) -> list[LinkRow]:
        """All rows of the file."""
        return self.now()[0]

    @property
    def links(self) -> Links:
        """What holds between the images."""
        return self.now()[1]

    @property
    def ignored(self) -> np.ndarray:
        """Bool (N,), images that are said to show no subject."""
        return self.now()[2]

    def now(self) -> tuple[list[LinkRow], Links, np.ndarray]:
        """What stands in the file, read anew where it has changed; the same objects where it has not.

        Returns:
            :attr:`rows`, :attr:`links` and :attr:`ignored`, of one moment.
        """
        with self._lock:
            try:
                found = self.path.stat()
            except FileNotFoundError:
                stamp, rows = None, list[LinkRow]()
            else:
                stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
                rows = self._rows if stamp == self._stamp else read_links(str(self.path))
            if stamp != self._stamp:
                self._links, self._ignored, _ = resolve_links(rows, self._files)
                self._rows, self._stamp = rows, stamp
            return self._rows, self._links, self._ignored

    def acts(self) -> list[Act]:
        """What was said by acts.

        Returns:
            The acts, the latest last.
        """
        return _acts_of(self.rows)

    def answers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pairs that somebody was asked about.

        Returns:
            Images int64 (A,), other images int64 (A,), and whether they show one subject, bool (A,); of a pair that was
            asked about twice the last answer.
        """
        found: dict[tuple[int, int], bool] = {}
        for act in self.acts():
            if act.kind not in ("same", "different") or act.undone:
                continue
            for row in act.rows:
                if row.source != "human" or row.path_b is None or row.kind == "revoke":
                    continue
                files = self._files.files([row.path_a, row.path_b])
                first, second = map(self._files.place, files)
                if first is not None and second is not None:
                    found[(min(first, second), max(first, second))] = row.kind == "must"
        pairs = np.array(list(found), np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1], np.array(list(found.values()), np.bool_)

    def write(
        self,
        kind: ActKind,
        new: Links,
        leaving: np.ndarray | None = None,
        author: str = "",
    ) -> Act:
        """Write down what a person says, and what follows for older links, see :func:`revise`.

        Args:
            kind: Of the act.
            new: Links that are said.
            leaving: int64, images that show no subject; None for none.
            author: Who says it.

        Returns:
            The act.

        Raises:
            InputError: The file cannot be read or written.
        """
        leaving = np.zeros(0, np.int64) if leaving is None else leaving

        def rows(there: list[LinkRow]) -> Iterable[Mapping[str, Any]]:
            old, ignored, _ = resolve_links(there, self._files)
            revision = revise(old, ignored, new, leaving, self._distances)
            for first, second in _pairs(old.chosen(revision.taken_back)):
                yield self._row(first, second, "revoke")
            for image in revision.woken.tolist():
                yield self._row(image, None, "revoke")
            for image in leaving.tolist():
                yield self._row(image, None, "ignore")
            for source, links in (("human", new), ("other", revision.carried)):
                for (first, second), must in zip(_pairs(links), links.must.tolist()):
                    row = self._row(first, second, "must" if must else "cannot")
                    yield {**row, "source": source, "priority": 2}

        return self._append(kind, rows, author)

    def undo(self, act_id: str, author: str = "") -> Act:
        """Take an act back: of every pair that it wrote about, what the others said last holds again.

        What later acts wrote stays, also where they carried on what this one had said.

        Args:
            act_id: Of the act.
            author: Who takes it back.

        Returns:
            The new act.

        Raises:
            InputError: There is no such act, or it is undone already; or the file cannot be read or written.
        """

        def rows(there: list[LinkRow]) -> Iterable[Mapping[str, Any]]:
            acts = {act.id: act for act in _acts_of(there)}
            act = acts.get(act_id)
            if act is None or act.kind == "undo" or act.undone:
                state = (
                    "no act"
                    if act is None
                    else "an undo"
                    if act.kind == "undo"
                    else "undone already"
                )
                raise InputError(
                    f"found {state} of the id {act_id!r} in '{self.path}', expected an act that holds: take one of "
                    "the list of acts."
                )
            return self._back(there, act, acts)

        return self._append("undo", rows, author, act_id)

    def _back(
        self, there: list[LinkRow], act: Act, acts: Mapping[str, Act]
    ) -> Iterable[Mapping[str, Any]]:
        """Rows that make an act unsaid."""
        keys = self._keys(there)
        gone = {act.id, *(one.id for one in acts.values() if one.undone or one.kind == "undo")}
        last: dict[tuple[str, ...], int] = {}
        for number, (row, key) in enumerate(zip(there, keys)):
            if _id_of(row) not in gone:
                last[key] = number
        of_act = {key: row for row, key in zip(there, keys) if _id_of(row) == act.id}
        # What holds again must not contradict what was said since.
        planned = [row._replace(priority=number) for number, row in enumerate(there)]
        restored = []
        for key, row in of_act.items():
            number = last.get(key, -1)
            row = row._replace(kind="revoke") if number < 0 else there[number]
            restored.append(row)
            planned.append(row._replace(priority=number))
        links, ignored, _ = resolve_links(planned, self._files)
        awake = np.flatnonzero(~(ignored[links.first] | ignored[links.second]))
        awake = awake[~consistent_links(links.chosen(awake))]
        for row in restored:
            cells = ("path_a", "path_b", "kind", "source", "priority")
            yield {name: getattr(row, name) or "" for name in cells}
        for first, second in _pairs(links.chosen(awake)):
            yield self._row(first, second, "revoke")

    def _keys(self, rows: Sequence[LinkRow]) -> list[tuple[str, ...]]:
        """What each row speaks of: files, in either order."""
        names = [one for row in rows for one in (row.path_a, row.path_b or row.path_a)]
        files = iter(self._files.files(names))
        return [
            (first,) if row.path_b is None else tuple(sorted((first, second)))
            for row, first, second in zip(rows, files, files)
        ]

    def _append(
        self,
        kind: ActKind,
        make: Callable[[list[LinkRow]], Iterable[Mapping[str, Any]]],
        author: str,
        of: str = "",
    ) -> Act:
        act_id = uuid.uuid4().hex[:12]
        cell = "/".join(filter(None, (kind, act_id, of)))
        written = append_links(
            self.path, lambda there: [{**row, "act": cell, "author": author} for row in make(there)]
        )
        rows = [row._replace(place="") for row in written]
        return Act(act_id, kind, author, rows[0].time, tuple(rows), of=of)

    def _row(self, first: int, second: int | None, kind: str) -> dict[str, Any]:
        other = "" if second is None else self._name(second)
        return dict(path_a=self._name(first), path_b=other, kind=kind)

    def _name(self, image: int) -> str:
        """The path of an image as it stands in the file, from which it is found again."""
        name = self._written(image)
        if known(name) != unicodedata.normalize("NFC", name):
            raise InputError(
                f"found the image {name!r}, expected a name that a table gives back as it is, without blanks at its "
                "ends and no number: rename the file."
            )
        return name

    def _written(self, image: int) -> str:
        """The path of an image below the root, or absolute."""
        path = os.path.relpath(self.paths[image], self.root)
        if not path.startswith(".."):
            return path.replace(os.sep, "/")
        folder, name = os.path.split(self.paths[image])
        whole = os.path.join(os.path.realpath(folder), name)
        path = os.path.relpath(whole, self._real_root)
        return whole if path.startswith("..") else path.replace(os.sep, "/")


def _pairs(links: Links) -> list[tuple[int, int]]:
    """The images of each link."""
    return list(zip(links.first.tolist(), links.second.tolist()))


def _id_of(row: LinkRow) -> str:
    """The id of the act that wrote a row; empty = none."""
    parts = row.act.split("/")
    return parts[1] if len(parts) in (2, 3) and parts[0] in ACT_KINDS else ""


def _acts_of(rows: Sequence[LinkRow]) -> list[Act]:
    """The acts that rows were written by, in their order."""
    of_act: dict[str, list[LinkRow]] = {}
    for row in rows:
        if act_id := _id_of(row):
            of_act.setdefault(act_id, []).append(row._replace(place=""))
    undone = {row.act.split("/")[2] for row in rows if row.act.count("/") == 2 and _id_of(row)}
    acts = []
    for act_id, own in of_act.items():
        kind, _, of = (*own[0].act.split("/"), "")[:3]
        acts.append(
            Act(act_id, kind, own[0].author, own[0].time, tuple(own), act_id in undone, of)  # type: ignore[arg-type]
        )
    return acts
