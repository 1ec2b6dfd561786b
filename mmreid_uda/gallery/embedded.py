"""A gallery in a folder, kept by Qdrant's engine in this process: added items are on disk when ``add`` returns."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmreid_uda.utils import InputError, in_a_line
from mmreid_uda.utils.files import read_json, write_json
from mmreid_uda.utils.packages import import_package

from .folders import Claim, require_room, write_one, write_through
from .qdrant import HNSW_EF, INDEXED, Point, QdrantGallery
from .settings import GallerySettings
from .store import BATCH

__all__ = ["EmbeddedGallery"]

SETTINGS = "gallery.json"
# Changed items after which the engine flushes its files, so that it has few to do again when it opens.
_FLUSH_EVERY = 10_000
# Matches that can be asked for, and more than there are.
_MOST = 2**31
# Bytes that stay free: the engine writes through memory, and on a full disk the system ends the process that does.
_ROOM = 100 << 20
# Whether fsync of a file includes what was written to it through memory, as the engine's log is.
_LOG_SUFFICES = sys.platform == "linux"
# Building the graph holds Python's lock for minutes, so another process does it, on a copy.
_OPTIMIZE = """
import sys, qdrant_edge
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
shard.optimize()
shard.flush()
shard.close()
"""


class EmbeddedGallery(QdrantGallery):
    """Items in a folder, of one process at a time.

    ``gallery.json`` holds the settings and names the folder with the items. Each change is in the engine's log on the
    disk (fsync) before it returns; changes that several threads make at the same time share a write.

    Args:
        folder: The gallery.
        create: Settings of a gallery that is made where there is none. Defaults to None: there must be one.
        read_only: Whether everything that changes it is refused; it still is open in this process alone. Defaults to
            False.

    Raises:
        InputError: The folder holds no gallery and none is to be made, holds something else, or is open already; or
            qdrant-edge-py is missing.
    """

    kind = "embedded"

    def __init__(
        self, folder: str | Path, create: GallerySettings | None = None, read_only: bool = False
    ) -> None:
        self.types = import_package(
            "qdrant_edge", "a gallery in a folder", "mmreid_uda[gallery]", "keep it in an .npz file"
        )
        self._folder = Path(folder)
        self._shard: Any = None
        self._child: subprocess.Popen[str] | None = None
        self._closed = False
        self._flushing, self._optimizing = threading.Lock(), threading.Lock()
        self._changes = self._on_disk = self._flushed = 0  # items
        self._touched: set[str] | None = None
        self._require_gallery(create)
        self._claim = Claim(self._folder)
        try:
            content = read_json(self._folder / SETTINGS) if self._exists() else {}
            self._items = str(content.pop("items", "items-1"))
            settings = GallerySettings.of_json(content, str(folder)) if content else create
            assert settings is not None
            super().__init__(f"embedded:{folder}", settings, read_only)
            if not content:
                self._write_settings(settings.changed(dim=0))
                self._store_settings(settings)
            elif settings.dim and not (self._folder / self._items).is_dir():
                raise InputError(
                    f"found {SETTINGS} without {self._items} in {str(folder)!r}, expected both: restore "
                    f"{self._items} from a copy, or name another folder."
                )
            for left in self._places():
                # Without a dimension nothing was ever stored: its place is of a process that was killed.
                if left.name != self._items or not settings.dim:
                    shutil.rmtree(left, ignore_errors=True)
            if settings.dim and self._shard is None:
                self._load(settings.dim)
        except BaseException:
            self._claim.release()
            raise

    @property
    def folder(self) -> Path:
        """The gallery's own."""
        return self._folder

    def optimize(self) -> None:
        """Build the graph of an approximate search, and give the place of deleted items back.

        Takes minutes for 100,000 items, in another process, on a copy: searches and changes go on meanwhile, and are
        in the copy when it takes the place of the items. Needs as much room on the disk again.

        Raises:
            InputError: The gallery is read-only, or there is no room.
        """
        self._require_writable()
        with self._optimizing:
            name = self._next_name()
            copy = self._folder / name
            try:
                with self._writing, self._told():
                    if self._shard is None:
                        return
                    self._require_room_for_copy()
                    self._ask("flush")
                    shutil.copytree(self._folder / self._items, copy)
                    self._touched = set()
                command = [sys.executable, "-c", _OPTIMIZE, str(copy)]
                self._child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
                _, said = self._child.communicate()
                if self._child.returncode:
                    raise self._broken(said.strip().rpartition("\n")[2])
                with self._writing, self._told():
                    self._take_over(name)
            finally:
                self._child = self._touched = None
                if self._items != name:
                    shutil.rmtree(copy, ignore_errors=True)

    def compact(self) -> None:
        """Write the items anew: of those that were deleted nothing stays in the files. The graph is to be built again.

        Searches go on meanwhile, changes wait. Needs as much room on the disk again.

        Raises:
            InputError: The gallery is read-only, or there is no room.
        """
        self._require_writable()
        with self._optimizing, self._writing:
            if self._shard is None:
                return
            self._require_room_for_copy()
            name = self._next_name()
            try:
                with self._told():
                    self._make(self._folder / name, self.dim)
                    self._touched = {
                        one for items in self.scan(features=False) for one in items.ids
                    }
                    self._take_over(name)
            finally:
                self._touched = None
                if self._items != name:
                    shutil.rmtree(self._folder / name, ignore_errors=True)

    def _require_room_for_copy(self) -> None:
        require_room(self._folder, _ROOM, self._folder / self._items)

    def _next_name(self) -> str:
        # Never one that was given before: a process that optimizes outlives the one that was killed.
        return f"items-{max(int(self._items.rpartition('-')[2]) + 1, int(time.time()))}"

    def flush(self) -> None:
        """Write the items themselves, of which otherwise some lie in the log alone; no item is safer for it."""
        with self._flushing:
            if self._shard is not None:
                upto = self._changes
                self._ask("flush")
                self._flushed = self._on_disk = upto

    def close(self) -> None:
        """Let other processes open the gallery; what :meth:`optimize` has begun is given up."""
        with self._writing, self._flushing:
            if self._closed:
                return
            self._closed = True
            if self._shard is not None:
                self._shard.close()
            if self._child is not None:
                self._child.terminate()
            self._claim.release()

    def _exists(self) -> bool:
        return (self._folder / SETTINGS).is_file()

    def _require_gallery(self, create: GallerySettings | None) -> None:
        """Refuse a folder where nothing can be opened or made, before anything is written there."""
        if self._exists():
            return
        if self._places():
            raise InputError(
                f"found items without {SETTINGS} in {str(self._folder)!r}, expected both: restore {SETTINGS} from a "
                "copy, or name another folder."
            )
        if create is None:
            raise InputError(
                f"found no gallery in {str(self._folder)!r}, expected a folder that `mmreid gallery add` has made: "
                "correct the name, or make one by it, with --run, or --config and --checkpoint."
            )

    def _places(self) -> list[Path]:
        """Folders with items, half made ones among them; other names, such as those of copies, are the user's."""
        found = self._folder.glob("items-*")
        return [one for one in found if re.fullmatch(r"items-(\d+|new)", one.name)]

    def _load(self, dim: int) -> None:
        """Open the items; make a place for them where there is none."""
        place = self._folder / self._items
        with self._told():
            if not place.is_dir():
                self._make(place, dim)
            self._shard = self.types.EdgeShard.load(str(place))

    def _make(self, place: Path, dim: int) -> None:
        """A place for points that is there as a whole, or not at all."""
        edge, half = self.types, place.with_name("items-new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        vectors = edge.EdgeVectorParams(size=dim, distance=edge.Distance.Dot)
        shard = edge.EdgeShard.create(str(half), edge.EdgeConfig(vectors=vectors))
        kinds = {
            "keyword": edge.PayloadSchemaType.Keyword,
            "integer": edge.PayloadSchemaType.Integer,
        }
        for key, kind in INDEXED.items():
            shard.update(edge.UpdateOperation.create_field_index(key, kinds[kind]))
        shard.close()
        write_through(half)
        half.rename(place)
        write_one(self._folder)

    def _take_over(self, name: str) -> None:
        """Carry what was changed meanwhile over to the optimized copy, which becomes the items."""
        copy, operation = (
            self.types.EdgeShard.load(str(self._folder / name)),
            self.types.UpdateOperation,
        )
        touched = sorted(self._touched or ())
        for start in range(0, len(touched), BATCH):
            ids = touched[start : start + BATCH]
            points = self._retrieve(ids, True, True)
            there = {str(one.id) for one in points}
            if points:
                copy.update(
                    operation.upsert_points(
                        [self.types.Point(one.id, one.vector, one.payload) for one in points]
                    )
                )
            if gone := [one for one in ids if one not in there]:
                copy.update(operation.delete_points(gone))
        copy.flush()
        write_through(self._folder / name)  # also what was copied and not changed since
        with self._flushing:
            before, self._items = self._items, name
            try:
                self._write_settings(self.settings)
            except BaseException:
                self._items = before  # whose items the file still names
                copy.close()
                raise
            old, self._shard = self._shard, copy
            self._flushed = self._on_disk = self._changes
        old.close()
        shutil.rmtree(self._folder / before, ignore_errors=True)

    def _require_open(self) -> None:
        if self._closed:
            raise InputError(
                f"found the gallery {self.url!r} closed, expected an open one: open it again."
            )

    def _ask(self, name: str, *arguments: Any) -> Any:
        """Have the engine do something."""
        while True:
            self._require_open()
            shard = self._shard
            try:
                return getattr(shard, name)(*arguments)
            except Exception as error:  # the engine knows no other class
                self._require_open()
                if shard is self._shard:
                    raise self._broken(str(error)) from error
                # Another one has taken its place meanwhile, see optimize.

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Have errors of the engine, which knows one class, and of the disk be a sentence."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise self._broken(str(error)) from error

    def _broken(self, reason: str) -> InputError:
        return InputError(
            f"the engine of the gallery {str(self._folder)!r} has failed ({in_a_line(Exception(reason))}), expected a "
            "whole gallery, room on the disk, and no other process at work there: mend this, or restore a copy."
        )

    def _change(self, operation: Any, num: int) -> None:
        self._ask("update", operation)
        self._changes += num

    def _commit(self) -> None:
        """Have the disk hold the log of all changes so far, which the engine does again when it opens.

        What began after a change serves every thread that waits for it. The items themselves, which are many files, are
        flushed now and then.
        """
        wanted = self._changes
        with self._flushing:
            if self._on_disk >= wanted:
                return
            upto = self._changes
            if upto - self._flushed >= _FLUSH_EVERY or not _LOG_SUFFICES:
                self._ask("flush")
                self._flushed = upto
            else:
                self._require_open()
                write_through(self._folder / self._items / "wal")
            self._on_disk = upto

    def _store_settings(self, settings: GallerySettings) -> None:
        first = bool(settings.dim) and self._shard is None
        if first:
            self._load(settings.dim)
        try:
            self._write_settings(settings)
        except BaseException:
            if first:
                self._shard.close()
                self._shard = None
                shutil.rmtree(self._folder / self._items, ignore_errors=True)
            raise

    def _write_settings(self, settings: GallerySettings) -> None:
        write_json(self._folder / SETTINGS, {**settings.as_json(), "items": self._items})
        write_one(self._folder)

    @property
    def _there(self) -> bool:
        return self._shard is not None

    def _range(self, since: int | None, until: int | None) -> Any:
        return self.types.RangeFloat(gte=since, lt=until)

    def _has_id(self, ids: Sequence[str]) -> Any:
        return self.types.HasIdCondition(set(ids))

    def _upsert_points(
        self, ids: list[str], vectors: list[list[float]], payloads: list[dict[str, Any]]
    ) -> None:
        require_room(self._folder, _ROOM)
        if self._touched is not None:
            self._touched.update(ids)
        points = list(map(self.types.Point, ids, vectors, payloads))
        self._change(self.types.UpdateOperation.upsert_points(points), len(ids))

    def _delete_points(self, condition: Any) -> None:
        if self._touched is not None:
            request = self.types.ScrollRequest(
                limit=self._count(condition),
                filter=condition,
                with_payload=False,
                with_vector=False,
            )
            self._touched.update(str(one.id) for one in self._ask("scroll", request)[0])
        self._change(self.types.UpdateOperation.delete_points_by_filter(condition), 1)

    def _set_payload(self, ids: Sequence[str], payload: dict[str, Any]) -> None:
        if self._touched is not None:
            self._touched.update(ids)
        self._change(self.types.UpdateOperation.set_payload(list(ids), payload), len(ids))

    def _retrieve(self, ids: Sequence[str], payload: bool, vector: bool) -> list[Point]:
        return self._ask("retrieve", list(ids), payload, vector)

    def _scroll(
        self, offset: Any, limit: int, condition: Any, vector: bool
    ) -> tuple[list[Point], Any]:
        request = self.types.ScrollRequest(
            offset=offset, limit=limit, filter=condition, with_payload=True, with_vector=vector
        )
        return self._ask("scroll", request)

    def _query(
        self, rows: np.ndarray, limit: int, condition: Any, exact: bool
    ) -> list[list[Point]]:
        edge = self.types
        requests = [
            edge.QueryRequest(
                limit=min(limit, _MOST),
                query=edge.Query.Nearest(row),
                filter=condition,
                params=edge.SearchParams(exact=exact, hnsw_ef=HNSW_EF),
                with_payload=True,
            )
            for row in rows.tolist()
        ]
        return self._ask("query_batch", edge.QueryBatchRequest(requests))

    def _count(self, condition: Any) -> int:
        if condition is None:
            return self._ask("info").points_count
        return self._ask("count", self.types.CountRequest(exact=True, filter=condition))

    def _facet(self, key: str, condition: Any, limit: int) -> list[tuple[str, int]]:
        request = self.types.FacetRequest(key, limit=limit, exact=True, filter=condition)
        return [(one.value, one.count) for one in self._ask("facet", request).hits]
