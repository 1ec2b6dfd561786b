"""What the two back ends on Qdrant's engine share: items as points with a payload, filters as its conditions."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mmreid_uda.utils.values import checked

from .filters import TEXT_COLUMNS, Field, Filter, marks
from .gallery import Gallery
from .items import SECOND, Items
from .ranking import Found
from .store import BATCH

__all__ = ["HNSW_EF", "INDEXED", "QdrantGallery"]

INDEXED = {
    "camera": "keyword",
    "identity": "keyword",
    "tracklet": "keyword",
    "marks": "keyword",
    "time": "integer",
    "added": "integer",
}
"""Parts of the payload that filters ask for, and their kind. Times are whole microseconds: floats would not come back
as they were. ``marks`` are the free fields as words, see :func:`~mmreid_uda.gallery.filters.marks`; a payload has
``path`` and ``fields`` (JSON) as well."""

HNSW_EF = 256
"""Candidates that an approximate search keeps on its walk through the graph."""

Point = Any
"""A point of either package: with ``id``, ``payload``, ``vector``, and ``score`` where it was searched for."""


class QdrantGallery(Gallery):
    """A gallery whose items are points of Qdrant's engine, in this process or on a server."""

    # Classes of the package that speaks to the engine; their arguments differ in two places.
    types: Any

    @abstractmethod
    def _range(self, since: int | None, until: int | None) -> Any:
        """From one number to before another."""

    @abstractmethod
    def _has_id(self, ids: Sequence[str]) -> Any:
        """One of some identifiers."""

    @property
    @abstractmethod
    def _there(self) -> bool:
        """Whether the engine has a place for points, which the first items make."""

    @abstractmethod
    def _upsert_points(
        self, ids: list[str], vectors: list[list[float]], payloads: list[dict[str, Any]]
    ) -> None: ...

    @abstractmethod
    def _delete_points(self, condition: Any) -> None: ...

    @abstractmethod
    def _set_payload(self, ids: Sequence[str], payload: dict[str, Any]) -> None: ...

    @abstractmethod
    def _retrieve(self, ids: Sequence[str], payload: bool, vector: bool) -> list[Point]: ...

    @abstractmethod
    def _scroll(
        self, offset: Any, limit: int, condition: Any, vector: bool
    ) -> tuple[list[Point], Any]: ...

    @abstractmethod
    def _query(
        self, rows: np.ndarray, limit: int, condition: Any, exact: bool
    ) -> list[list[Point]]: ...

    @abstractmethod
    def _count(self, condition: Any) -> int: ...

    @abstractmethod
    def _facet(self, key: str, condition: Any, limit: int) -> list[tuple[str, int]]: ...

    def count(self, where: Filter | None = None) -> int:
        """As for :meth:`Gallery.count`."""
        return self._count(self._condition(where)) if self._there else 0

    @checked
    def values(self, field: Field, where: Filter | None = None) -> dict[str, int]:
        """As for :meth:`Gallery.values`."""
        if not (num := self.count(where)):
            return {}
        return dict(sorted(self._facet(field, self._condition(where), num)))

    def scan(
        self, where: Filter | None = None, features: bool = True, batch: int = BATCH
    ) -> Iterator[Items]:
        """As for :meth:`Gallery.scan`."""
        offset, condition, more = None, self._condition(where), self._there
        while more:
            points, offset = self._scroll(offset, batch, condition, features)
            more = offset is not None
            if points:
                yield _items(points, features)

    def _condition(self, where: Filter | None) -> Any:
        """A filter in the engine's words; None for every item."""
        if not where:
            return None
        must: list[Any] = []
        must_not: list[Any] = []
        for ids, side in ((where.ids, must), (where.not_ids, must_not)):
            if ids is not None:
                side.append(self._has_id(ids))
        for text, column in TEXT_COLUMNS.items():
            for name, side in ((column, must), (f"not_{column}", must_not)):
                if (values := getattr(where, name)) is not None:
                    side.append(self._one_of(text, values))
        for key, since, until in (
            ("time", where.since, where.until),
            ("added", where.added_since, where.added_before),
        ):
            if since is not None or until is not None:
                between = self._range(_ticks(since), _ticks(until))
                must.append(self.types.FieldCondition(key=key, range=between))
        must += [self._one_of("marks", [one]) for one in marks(where.fields or {})]
        return self.types.Filter(must=must, must_not=must_not)

    def _one_of(self, key: str, values: Sequence[str]) -> Any:
        return self.types.FieldCondition(key=key, match=self.types.MatchAny(any=list(values)))

    def _existing(self, ids: Sequence[str]) -> set[str]:
        return set(self._get(ids, False).ids)

    def _upsert(self, items: Items) -> None:
        assert items.features is not None
        for start in range(0, len(items), BATCH):
            part = slice(start, start + BATCH)
            payloads = [_payload(items, n) for n in range(len(items))[part]]
            self._upsert_points(items.ids[part], items.features[part].tolist(), payloads)

    def _delete(self, where: Filter) -> None:
        self._delete_points(self._condition(where) or self.types.Filter(must=[]))

    def _get(self, ids: Sequence[str], features: bool) -> Items:
        return _items(self._retrieve(ids, True, features) if self._there and ids else [], features)

    def _set(
        self, ids: Sequence[str], identity: str | None, fields: list[dict[str, Any]] | None
    ) -> None:
        if identity is not None:
            self._set_payload(ids, {"identity": identity})
        for one, values in zip(ids, fields or []):
            self._set_payload([one], _fields(values))

    def _nearest(self, rows: np.ndarray, k: int, where: Filter, exact: bool) -> list[Found]:
        if not self._there:
            return [Found(_items([], False), np.empty(0, np.float32)) for _ in rows]
        return [
            Found(_items(points, False), np.array([one.score for one in points], np.float32))
            for points in self._query(rows, k, self._condition(where), exact)
        ]


def _payload(items: Items, n: int) -> dict[str, Any]:
    return {
        "path": items.paths[n],
        "camera": str(items.cameras[n]),
        "identity": str(items.identities[n]),
        "tracklet": str(items.tracklets[n]),
        "time": _ticks(float(items.times[n])),
        "added": _ticks(float(items.added[n])),
        **_fields(items.fields[n]),
    }


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    return {"fields": json.dumps(values), "marks": marks(values)}


def _ticks(seconds: float | None) -> int | None:
    """Whole microseconds; None for unknown."""
    return None if seconds is None or math.isnan(seconds) else round(seconds * SECOND)


def _items(points: Sequence[Point], features: bool) -> Items:
    payloads = [one.payload for one in points]

    def texts(key: str) -> np.ndarray:
        return np.array([one[key] for one in payloads], dtype=str)

    def seconds(key: str) -> np.ndarray:
        ticks = [math.nan if one.get(key) is None else one[key] for one in payloads]
        return np.array(ticks, np.float64) / SECOND

    return Items(
        [str(one.id) for one in points],
        np.array([one.vector for one in points], np.float32) if features else None,
        [one["path"] for one in payloads],
        texts("camera"),
        seconds("time"),
        texts("tracklet"),
        texts("identity"),
        seconds("added"),
        [json.loads(one["fields"]) for one in payloads],
    )
