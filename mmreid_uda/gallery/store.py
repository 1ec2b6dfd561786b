"""What keeps items: they are added, changed, deleted, read and counted; searching is left to a gallery."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np

from mmreid_uda.utils import InputError

from .filters import Field, Filter
from .items import Items, canonical_id
from .ranking import Found
from .settings import GallerySettings

__all__ = ["BATCH", "ItemStore", "require_same_model"]

BATCH = 1000
"""Items that are read or written at once where many are."""

S = TypeVar("S", bound="ItemStore")


class ItemStore(ABC):
    """Items with features, whatever keeps them: what the back ends of galleries do, and what all of them share.

    Several threads may use one gallery at the same time. It is a context manager, which closes it.

    Args:
        url: What :func:`~mmreid_uda.gallery.open_gallery` opens.
        settings: What is stored with the items.
        read_only: Whether everything that changes it is refused.
    """

    kind: Literal["file", "embedded", "server"]

    def __init__(self, url: str, settings: GallerySettings, read_only: bool) -> None:
        self.url, self.read_only = url, read_only
        self._settings = settings
        self._writing = threading.RLock()

    @property
    def settings(self) -> GallerySettings:
        """What holds for the whole gallery."""
        return self._settings

    @property
    def fingerprint(self) -> str:
        """Of the model that made the features; '' = unknown."""
        return self._settings.fingerprint

    @property
    def dim(self) -> int:
        """D; 0 before the first items are added."""
        return self._settings.dim

    @property
    def folder(self) -> Path | None:
        """Where files that belong to the gallery lie: links, an audit, images; None where there is no such folder."""
        return None

    def __len__(self) -> int:
        return self.count()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What a back end does.

    @abstractmethod
    def _existing(self, ids: Sequence[str]) -> set[str]:
        """Those of some identifiers that are there."""

    @abstractmethod
    def _upsert(self, items: Items) -> None:
        """Store items with features, in the place of those of the same identifiers."""

    @abstractmethod
    def _delete(self, where: Filter) -> None:
        """Delete items."""

    @abstractmethod
    def _get(self, ids: Sequence[str], features: bool) -> Items:
        """Items of those identifiers that are there, in any order."""

    @abstractmethod
    def _set(
        self, ids: Sequence[str], identity: str | None, fields: list[dict[str, Any]] | None
    ) -> None:
        """Change the identity, the free fields, or both, of items that are there."""

    @abstractmethod
    def _nearest(self, rows: np.ndarray, k: int, where: Filter, exact: bool) -> list[Found]:
        """The ``k`` most similar items of each unit row (Q, D), best first; of equal similarities any."""

    def _commit(self) -> None:  # noqa: B027 - nothing to do where every change is durable at once
        """Make all changes so far durable; other threads may change items meanwhile."""

    @abstractmethod
    def _store_settings(self, settings: GallerySettings) -> None:
        """Keep settings; durable when it returns."""

    @abstractmethod
    def count(self, where: Filter | None = None) -> int:
        """Number of items.

        Args:
            where: Which ones. Defaults to None: all.

        Returns:
            How many there are.
        """

    @abstractmethod
    def values(self, field: Field, where: Filter | None = None) -> dict[str, int]:
        """The values that a text of the items has.

        Args:
            field: ``'camera'``, ``'identity'`` or ``'tracklet'``.
            where: Of which items. Defaults to None: all.

        Returns:
            Value -> number of items, in the order of the values; ``''`` for those where it is unknown.
        """

    @abstractmethod
    def scan(
        self, where: Filter | None = None, features: bool = True, batch: int = BATCH
    ) -> Iterator[Items]:
        """Read items one batch after the other, in the order of their identifiers.

        What is added or deleted meanwhile is seen or not; all others are seen once.

        Args:
            where: Which ones. Defaults to None: all.
            features: Whether their features are read as well. Defaults to True.
            batch: Items at once.

        Yields:
            Up to ``batch`` items.
        """

    def optimize(self) -> None:  # noqa: B027 - nothing to do for a back end that has no index of its own
        """Build what an approximate search needs, and tidy up; may take minutes, searches go on meanwhile."""

    def compact(self) -> None:  # noqa: B027 - nothing to do where nothing of deleted items stays
        """Take from the disk what was deleted, where it may still lie in files of the back end."""

    def flush(self) -> None:  # noqa: B027 - nothing to do where every change is durable at once
        """Make what was changed durable, where that has not been done at once."""

    @abstractmethod
    def close(self) -> None:
        """Flush, and let go of files and connections; closing twice is allowed."""

    # What all share.

    def add(self, items: Items, fingerprint: str = "") -> int:
        """Add items; those whose identifier is there already are left as they are.

        The first items decide the dimension. With identifiers of :func:`~mmreid_uda.gallery.content_id`, adding the
        same images again changes nothing. What was added is durable when this returns; of a file, once it is flushed.

        Args:
            items: With features, see :meth:`Items.of`.
            fingerprint: Of the model that made the features; '' = unknown, which is not compared.

        Returns:
            How many were new.

        Raises:
            InputError: The gallery is read-only, of another model or dimension, or the features are not as expected.
        """
        with self._writing:
            items = self._fitting(items, fingerprint)
            there = self._existing(items.ids) if len(items) else set()
            new = np.array([one not in there for one in items.ids], bool)
            if new.any():
                self._upsert(items if new.all() else items.take(new))
        self._commit()
        return int(new.sum())

    def upsert(self, items: Items, fingerprint: str = "") -> None:
        """Add items, in the place of those of the same identifiers.

        Args:
            items: As for :meth:`add`.
            fingerprint: As for :meth:`add`.

        Raises:
            InputError: As for :meth:`add`.
        """
        with self._writing:
            items = self._fitting(items, fingerprint)
            if len(items):
                self._upsert(items)
        self._commit()

    def delete(self, where: Filter) -> int:
        """Delete items.

        Args:
            where: Which ones; a filter without conditions deletes everything.

        Returns:
            How many there were.

        Raises:
            InputError: The gallery is read-only.
        """
        with self._writing:
            self._require_writable()
            if found := self.count(where):
                self._delete(where)
        self._commit()
        return found

    def get(self, ids: Sequence[str], features: bool = False) -> Items:
        """Read items.

        Args:
            ids: Identifiers; each may be asked for once.
            features: Whether their features are read as well. Defaults to False.

        Returns:
            The items, in this order.

        Raises:
            InputError: One is not there.
        """
        wanted = [canonical_id(one) for one in ids]
        found = self._get(wanted, features)
        place = {one: number for number, one in enumerate(found.ids)}
        if missing := [one for one in wanted if one not in place]:
            more = f" and {len(missing) - 1} others" if missing[1:] else ""
            raise InputError(
                f"found no item {missing[0]}{more} in the gallery {self.url!r}, expected identifiers of its items: "
                "search again, they may have been deleted."
            )
        return found.take([place[one] for one in wanted])

    def update(
        self,
        ids: Sequence[str],
        *,
        identity: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Say of items who they are, or free values; features stay.

        Args:
            ids: Identifiers.
            identity: The one identity of all of them, ``''`` = unknown. Defaults to None: stays.
            fields: Values that are set; None takes one away, other names stay. Defaults to None.

        Raises:
            InputError: The gallery is read-only, an item is not there, or fields are not what JSON holds.
        """
        with self._writing:
            self._require_writable()
            found = self.get(ids)
            if not len(found):
                return
            texts = None if identity is None else [identity] * len(found)
            changed = None
            if fields is not None:
                changed = [
                    {k: v for k, v in {**one, **fields}.items() if v is not None}
                    for one in found.fields
                ]
            checked_items = Items.of(
                None, found.paths, ids=found.ids, identities=texts, fields=changed
            )
            self._set(found.ids, identity, None if changed is None else checked_items.fields)
        self._commit()

    def change_settings(self, **changes: Any) -> GallerySettings:
        """Change and store settings.

        Args:
            **changes: Such as ``retention_days=30``, see :class:`GallerySettings`.

        Returns:
            The new settings.

        Raises:
            InputError: The gallery is read-only, a setting is unknown or its value is not allowed; or another dimension
                or fingerprint than the gallery has.
        """
        with self._writing:
            self._require_writable()
            changed = self._settings.changed(**changes)
            require_same_model(changed.fingerprint, self.fingerprint, self.url)
            if changed.dim != self.dim and self.dim:
                raise InputError(
                    f"found {changed.dim} as the dimension of a gallery whose items have {self.dim}, expected the "
                    "same: leave dim out, or make another gallery."
                )
            if changed != self._settings:
                self._store_settings(changed)
                self._settings = changed
            return changed

    def _fitting(self, items: Items, fingerprint: str) -> Items:
        """Items that can be added, checked once more; the first ones decide dimension and fingerprint."""
        self._require_writable()
        require_same_model(fingerprint, self.fingerprint, self.url)
        if not len(items):
            return items
        if items.features is None:
            raise InputError(
                f"found {len(items)} items without features to add, expected features: give them to Items.of."
            )
        items = Items.of(**{name: getattr(items, name) for name in Items.__dataclass_fields__})
        assert items.features is not None
        self._require_dim(items.features, "features to add")
        first = {} if self.dim else {"dim": items.features.shape[1]}
        if fingerprint and not self.fingerprint:
            first["fingerprint"] = fingerprint
        if first:
            self.change_settings(**first)
        return items

    def _require_dim(self, rows: np.ndarray, what: str) -> None:
        if self.dim and rows.shape[1] != self.dim:
            raise InputError(
                f"found {what} of shape {rows.shape}, expected (N, {self.dim}): take the features of the model that "
                f"made the gallery {self.url!r}."
            )

    def _require_writable(self) -> None:
        if self.read_only:
            raise InputError(
                f"found the gallery {self.url!r} opened to be read, expected one that can be changed: open it without "
                "read_only."
            )


def require_same_model(queries: str, gallery: str, name: str = "") -> None:
    """Refuse to compare features of two models.

    Args:
        queries: Fingerprint of the model of the queries; empty = unknown.
        gallery: Fingerprint of the model of the gallery; empty = unknown.
        name: File of the gallery.

    Raises:
        InputError: Both are known, and differ.
    """
    if queries and gallery and queries != gallery:
        raise InputError(
            f"the gallery {f'{name!r} ' if name else ''}was made by a model or preprocessing with the fingerprint "
            f"{gallery[:12]}, the queries have {queries[:12]}, and features of the two cannot be compared: give the "
            "config and checkpoint that made it, or build the gallery again."
        )
