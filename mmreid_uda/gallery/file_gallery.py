"""A gallery in memory and one ``.npz`` file: written whole, read often."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmreid_uda.neighbors import VectorIndex
from mmreid_uda.neighbors.knn import search_all
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.choices import IndexKind
from mmreid_uda.utils.files import (
    open_arrays,
    require_file,
    require_suffix,
    require_writable,
    write_arrays,
)
from mmreid_uda.utils.run_lock import alone
from mmreid_uda.utils.values import Count, checked

from .filters import TEXT_COLUMNS, Field, Filter
from .gallery import Gallery
from .items import Items, Sightings, require_same_length
from .ranking import Found
from .settings import GallerySettings
from .store import BATCH

__all__ = ["FileGallery", "require_npz", "save_features"]


class _State:
    """Items as they are at one moment; never changed, so that searches need no lock.

    Args:
        items: N items without features.
        index: Of their features; None where there are none.
    """

    def __init__(self, items: Items, index: VectorIndex | None) -> None:
        self.items, self.index = items, index
        self.place = {one: number for number, one in enumerate(items.ids)}

    def vectors(self, positions: np.ndarray | None = None) -> np.ndarray:
        """Features of some items, or of all."""
        if self.index is None:
            return np.empty((0, 0), np.float32)
        return self.index.vectors(positions)


class FileGallery(Gallery):
    """Items in memory, which :meth:`save` and :meth:`flush` write to one ``.npz`` file, whole or not at all.

    Made for galleries that are built once and read often: a change is in memory until it is flushed, and takes time as
    all items do. Searches that filter compare with all items that meet the filter.

    Args:
        items: N items with features; may be none.
        settings: What is stored with them.
        index: ``'flat'``, ``'ivf'`` or ``'hnsw'``, see :class:`~mmreid_uda.neighbors.VectorIndex`; the last two are
            built anew with each change.
        nprobe: Lists that a search of ``'ivf'`` looks at. Defaults to 64.
        ef_search: Candidates that a search of ``'hnsw'`` keeps. Defaults to 64.
        path: Where :meth:`flush` writes. Defaults to None: in memory only.
        read_only: Whether everything that changes it is refused. Defaults to False.

    Raises:
        InputError: An option is unknown, or faiss is missing and needed.
    """

    kind = "file"

    @checked
    def __init__(
        self,
        items: Items,
        settings: GallerySettings,
        index: IndexKind = "flat",
        nprobe: Count = 64,
        ef_search: Count = 64,
        path: str | Path | None = None,
        read_only: bool = False,
    ) -> None:
        super().__init__("memory" if path is None else f"file:{path}", settings, read_only)
        self._options: dict[str, Any] = dict(kind=index, nprobe=nprobe, ef_search=ef_search)
        self._path = None if path is None else Path(path)
        self._stamp = None if path is None else _stamp(Path(path))
        self._changed = False
        self._state = self._with(items)

    @classmethod
    @checked
    def of(
        cls,
        features: np.ndarray,
        paths: Sequence[Any],
        fingerprint: str,
        index: IndexKind = "flat",
        nprobe: Count = 64,
        ef_search: Count = 64,
        sightings: Sightings | None = None,
    ) -> FileGallery:
        """Make a gallery of features, in memory.

        Args:
            features: float (N, D).
            paths: Names of the N images.
            fingerprint: Of the model that made the features, see :func:`~mmreid_uda.apis.model_fingerprint`.
            index: As for the class, as are the next two.
            nprobe: See there.
            ef_search: See there.
            sightings: Where and when the images were taken. Defaults to None: unknown.

        Returns:
            The gallery.

        Raises:
            InputError: Features are not finite, numbers of features and paths differ, or an option is unknown.
        """
        features = check_vectors(features, "features of the gallery")
        require_same_length(len(features), len(paths))
        cameras, times = (None, None) if sightings is None else sightings
        items = Items.of(features, paths, cameras=cameras, times=times)
        settings = GallerySettings(fingerprint=fingerprint, dim=features.shape[1])
        return cls(items, settings, index, nprobe, ef_search)

    @property
    def folder(self) -> Path | None:
        """Beside the file, named after it."""
        return None if self._path is None else self._path.with_name(f"{self._path.stem}.gallery")

    @property
    def index(self) -> VectorIndex | None:
        """What is searched; None of an empty gallery."""
        return self._state.index

    @property
    def items(self) -> Items:
        """All items without features, in the order of the file."""
        return self._state.items

    def save(self, path: str | Path) -> None:
        """Write one ``.npz`` file: vectors or index, items and settings.

        Args:
            path: Name that ends in ``.npz``; folders are made.

        Raises:
            InputError: The name does not end in ``.npz``, or the file cannot be written.
        """
        state = self._state
        items = state.items
        index: Mapping[str, np.ndarray] = (
            {"features": np.empty((0, self.dim), np.float32)}
            if state.index is None
            else state.index.arrays()
        )
        _write(
            path,
            {
                **index,
                "ids": np.array(items.ids, dtype="<U36"),
                "paths": np.array(items.paths, dtype=str),
                "camera": items.cameras,
                "time": items.times,
                "tracklets": items.tracklets,
                "identities": items.identities,
                "added": items.added,
                "fields": np.array([json.dumps(one) for one in items.fields], dtype=str),
                "fingerprint": np.array(self.fingerprint),
                "settings": np.array(json.dumps(self.settings.as_json())),
            },
        )

    @classmethod
    @checked
    def load(cls, path: str | Path, read_only: bool = False) -> FileGallery:
        """Read a gallery, or features that ``tools/extract_features.py`` or ``tools/deploy/run_onnx.py`` wrote.

        Args:
            path: An ``.npz`` file.
            read_only: Whether everything that changes it is refused. Defaults to False.

        Returns:
            The gallery.

        Raises:
            InputError: The file is missing, or is no gallery.
        """
        require_file(path, "a gallery: make it with `mmreid gallery add`")
        expected = "expected an .npz file with features, paths and fingerprint; make it again with `mmreid gallery add`"
        gallery = cls.__new__(cls)
        gallery._stamp = _stamp(Path(path))
        with open_arrays(path, "is not a gallery", expected) as arrays:
            items, settings, index = _read(arrays, str(path))
        Gallery.__init__(gallery, f"file:{path}", settings, read_only)
        gallery._options = dict(kind="flat", nprobe=64, ef_search=64)
        if index is not None:
            gallery._options = dict(kind=index.kind, nprobe=index.nprobe, ef_search=index.ef_search)
        gallery._path, gallery._changed = Path(path), False
        gallery._state = _State(items, index)
        return gallery

    def count(self, where: Filter | None = None) -> int:
        """As for :meth:`Gallery.count`."""
        items = self._state.items
        return int(where.mask(items).sum()) if where else len(items)

    @checked
    def values(self, field: Field, where: Filter | None = None) -> dict[str, int]:
        """As for :meth:`Gallery.values`."""
        items = self._state.items
        column = getattr(items, TEXT_COLUMNS[field])
        if where:
            column = column[where.mask(items)]
        found, counts = np.unique(column, return_counts=True)
        return dict(zip(found.tolist(), counts.tolist()))

    def scan(
        self, where: Filter | None = None, features: bool = True, batch: int = BATCH
    ) -> Iterator[Items]:
        """As for :meth:`Gallery.scan`."""
        state = self._state
        chosen = np.arange(len(state.items))
        if where:
            chosen = np.flatnonzero(where.mask(state.items))
        order = chosen[np.argsort(np.array(state.items.ids, dtype="<U36")[chosen])]
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            items = state.items.take(part)
            yield items.with_features(state.vectors(part)) if features else items

    def flush(self) -> None:
        """Write the file, if there is one and something was changed.

        Raises:
            InputError: Somebody else has written the file since it was read; or as for :meth:`save`.
        """
        with self._writing:
            if not self._changed or self._path is None:
                return
            with alone(self._path):
                if _stamp(self._path) != self._stamp:
                    raise InputError(
                        f"found {str(self._path)!r} written by somebody else since it was read, expected one writer at "
                        "a time: open it again and repeat the change, or keep the gallery in a folder."
                    )
                self.save(self._path)
                self._stamp = _stamp(self._path)
            self._changed = False

    def close(self) -> None:
        """Write what was changed."""
        self.flush()

    def _existing(self, ids: Sequence[str]) -> set[str]:
        return {one for one in ids if one in self._state.place}

    def _upsert(self, items: Items) -> None:
        old = self._state
        replaced = set(items.ids)
        kept = np.array([one not in replaced for one in old.items.ids], bool)
        if kept.any():
            there = np.flatnonzero(kept)
            before = old.items.take(there).with_features(old.vectors(there))
            items = Items.joined([before, items])
        self._put(items)

    def _delete(self, where: Filter) -> None:
        kept = np.flatnonzero(~where.mask(self._state.items))
        self._put(self._state.items.take(kept).with_features(self._state.vectors(kept)))

    def _get(self, ids: Sequence[str], features: bool) -> Items:
        state = self._state
        places = np.array([state.place[one] for one in ids if one in state.place], np.int64)
        items = state.items.take(places)
        return items.with_features(state.vectors(places)) if features else items

    def _set(
        self, ids: Sequence[str], identity: str | None, fields: list[dict[str, Any]] | None
    ) -> None:
        state = self._state
        places = [state.place[one] for one in ids]
        identities, values = state.items.identities, list(state.items.fields)
        if identity is not None:
            texts = identities.astype(object)
            texts[places] = identity
            identities = texts.astype(str)
        for place, one in zip(places, fields or []):
            values[place] = one
        changed = state.items.with_columns(identities=identities, fields=values)
        self._state, self._changed = _State(changed, state.index), True

    def _nearest(self, rows: np.ndarray, k: int, where: Filter, exact: bool) -> list[Found]:
        state = self._state
        if state.index is None:
            return [Found(state.items, np.empty(0, np.float32)) for _ in rows]
        flat = state.index.kind == "flat"
        if where or (exact and not flat):
            chosen = np.flatnonzero(where.mask(state.items)) if where else None
            if chosen is not None and not len(chosen):
                empty = state.items.take(chosen)
                return [Found(empty, np.empty(0, np.float32)) for _ in rows]
            vectors = torch.from_numpy(state.vectors(chosen))
            similarities, places = search_all(torch.from_numpy(rows), vectors, min(k, len(vectors)))
            if chosen is not None:
                places = chosen[places]
        else:
            similarities, places = state.index.search(rows, k)
        return [
            Found(state.items.take(one[one >= 0]), row[one >= 0])
            for row, one in zip(similarities, places)
        ]

    def _store_settings(self, settings: GallerySettings) -> None:
        self._changed = True

    def _put(self, items: Items) -> None:
        self._state, self._changed = self._with(items), True

    def _with(self, items: Items) -> _State:
        options = dict(self._options)
        features = items.features
        index = None
        if features is not None and len(items):
            index = VectorIndex(features, options.pop("kind"), **options)
        return _State(items.with_features(None), index)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What another writer changes of a file; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(arrays: Any, path: str) -> tuple[Items, GallerySettings, VectorIndex | None]:
    """The content of a file: this version's, an older one's, or features with labels."""
    paths = [str(one) for one in np.atleast_1d(arrays["paths"]).tolist()]
    index = None
    if paths or "settings" not in arrays:  # a gallery that was stored may be empty
        index = VectorIndex.from_arrays(arrays)
        require_same_length(len(index), len(paths))
    columns = _columns_of_labels(arrays, len(paths))
    for name in ("tracklets", "identities", "added", "ids"):
        if name in arrays:
            columns[name] = arrays[name]
    if "fields" in arrays:
        columns["fields"] = [json.loads(str(one)) for one in arrays["fields"]]
    settings = GallerySettings(fingerprint=str(arrays["fingerprint"]))
    if "settings" in arrays:
        settings = GallerySettings.of_json(json.loads(str(arrays["settings"])), path)
    if index is not None:
        settings = settings.changed(dim=index.dim)
    return Items.of(None, paths, **columns), settings, index


def _columns_of_labels(arrays: Any, num: int) -> dict[str, Any]:
    """What the labels of ``tools/extract_features.py`` say: -1 is unknown."""
    columns: dict[str, Any] = {}
    if (seen := Sightings.of(arrays, num)) is not None:
        columns.update(cameras=seen.cameras, times=seen.times)
    for name, column in (("pid", "identities"), ("tracklet", "tracklets")):
        if name in arrays:
            labels = np.asarray(arrays[name])
            unknown = labels < 0 if labels.dtype.kind == "i" else np.zeros(len(labels), bool)
            columns[column] = np.where(unknown, "", labels.astype(str))
    return columns


def save_features(
    path: str | Path,
    features: np.ndarray,
    paths: Sequence[str],
    fingerprint: str,
    labels: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write features to an ``.npz`` file, which :meth:`FileGallery.load` reads as a gallery with a flat index.

    Args:
        path: Name that ends in ``.npz``.
        features: float32 (N, D).
        paths: Names of the N images.
        fingerprint: Of the model.
        labels: Further arrays: ``pid`` (N,), integers or texts, ``camid`` (N,), ``camera`` (N,), its name,
            ``has_cameras`` (), ``time`` (N,), ``tracklet`` (N,).

    Raises:
        InputError: Another name, features that are not finite, or numbers of features and paths that differ.
    """
    features = check_vectors(features, "features to save", names=paths)
    require_same_length(len(features), len(paths))
    _write(
        path,
        dict(
            labels or {},
            features=features,
            paths=np.array([str(one) for one in paths]),
            fingerprint=np.array(fingerprint),
        ),
    )


def require_npz(path: str | Path) -> None:
    """Refuse a place for features or a gallery that cannot be written, before they are computed.

    Args:
        path: Where a file is to be written.

    Raises:
        InputError: The name does not end in ``.npz``, or there can be no such file.
    """
    require_suffix(path, ".npz")
    require_writable(path)


def _write(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    require_npz(path)
    write_arrays(path, arrays, compressed=False)
