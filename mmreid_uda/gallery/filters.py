"""Which items of a gallery are meant: conditions on what is known of them, the same for all back ends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import checked

from .items import SECOND, Items, canonical_id, require_text, whole_ticks

__all__ = ["TEXT_COLUMNS", "Field", "Filter", "marks"]

Field = Literal["camera", "identity", "tracklet"]
"""What values can be counted of."""

TEXT_COLUMNS: dict[Field, str] = {
    "camera": "cameras",
    "identity": "identities",
    "tracklet": "tracklets",
}
"""Names of one item's texts -> columns of :class:`Items`, and conditions of :class:`Filter`."""
# From here on a sorted search is faster than one comparison per value.
_FEW = 8
# Seconds that lie beyond all times of items.
_FAR = 2**62 / SECOND


@checked
@dataclass(frozen=True)
class Filter:
    """Conditions that an item meets, all of those that are given; without any it is every item.

    ``''`` stands for unknown: a list of values finds items of unknown camera if ``''`` is in it, and ``not_cameras``
    leaves them out if ``''`` is in it. An unknown time meets no condition on times. An empty list meets nothing
    (``cameras``) or leaves nothing out (``not_cameras``).

    Args:
        ids: One of these identifiers. Defaults to None, no condition, as for all others.
        not_ids: None of these.
        cameras: One of these cameras.
        not_cameras: None of these.
        identities: One of these identities.
        not_identities: None of these.
        tracklets: One of these tracklets.
        not_tracklets: None of these.
        since: Taken at this time, in seconds (to the microsecond), or later.
        until: Taken before this time.
        added_since: Added at this time, in seconds since 1970, or later.
        added_before: Added before this time.
        fields: Free values by their names: text, number, true, false or null. Of a list, one of its entries. Types
            count: 1, 1.0, true and '1' are four values.

    Raises:
        InputError: A value is of another kind, or text that no item can have.
    """

    ids: Sequence[str] | None = None
    not_ids: Sequence[str] | None = None
    cameras: Sequence[str] | None = None
    not_cameras: Sequence[str] | None = None
    identities: Sequence[str] | None = None
    not_identities: Sequence[str] | None = None
    tracklets: Sequence[str] | None = None
    not_tracklets: Sequence[str] | None = None
    since: float | None = None
    until: float | None = None
    added_since: float | None = None
    added_before: float | None = None
    fields: Mapping[str, str | int | float | bool | None] | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until", "added_since", "added_before"):
            value = getattr(self, name)
            if value is None:
                continue
            if not np.isfinite(value):
                raise InputError(
                    f"found {value} as {name} of a filter, expected a finite number of seconds: leave {name} out."
                )
            # Times of items are far less; these still are when they are ticks.
            value = min(max(value, -_FAR), _FAR)
            object.__setattr__(self, name, float(whole_ticks(value)))
        for name in ("ids", "not_ids"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(map(canonical_id, given)))
        for column in TEXT_COLUMNS.values():
            for name in (column, f"not_{column}"):
                if (given := getattr(self, name)) is not None:
                    object.__setattr__(self, name, tuple(map(str, given)))
                    require_text(getattr(self, name), name)
        require_text(marks(self.fields or {}), "fields")

    def __bool__(self) -> bool:
        """Whether there is a condition."""
        return any(getattr(self, one.name) is not None for one in fields(self))

    def changed(self, **conditions: Any) -> Filter:
        """The same conditions with others in some places.

        Args:
            **conditions: As for the class.

        Returns:
            A new filter.
        """
        return replace(self, **conditions)

    def without(self, ids: Iterable[str]) -> Filter:
        """The same conditions, and none of some identifiers.

        Args:
            ids: Those to leave out.

        Returns:
            A new filter.
        """
        return replace(self, not_ids=(*(self.not_ids or ()), *ids))

    def mask(self, items: Items) -> np.ndarray:
        """Which items meet all conditions; what back ends do otherwise is held against this.

        Args:
            items: N items.

        Returns:
            bool (N,).
        """
        found = np.ones(len(items), bool)
        for name, wanted in (("ids", True), ("not_ids", False)):
            if (values := getattr(self, name)) is not None:
                chosen = set(values)
                found &= (
                    np.fromiter((one in chosen for one in items.ids), bool, len(items)) == wanted
                )
        for column in TEXT_COLUMNS.values():
            for name, wanted in ((column, True), (f"not_{column}", False)):
                if (values := getattr(self, name)) is not None:
                    found &= _among(getattr(items, column), values) == wanted
        for since, until, seconds in (
            (self.since, self.until, items.times),
            (self.added_since, self.added_before, items.added),
        ):
            if since is not None:
                found &= seconds >= since  # False for NaN
            if until is not None:
                found &= seconds < until
        for mark in marks(self.fields or {}):
            found &= np.fromiter((mark in marks(one) for one in items.fields), bool, len(items))
        return found


def marks(values: Mapping[str, Any]) -> list[str]:
    """Free fields as words that are compared: each single value, and each single value of a list, with its name.

    Args:
        values: Name -> what JSON can hold.

    Returns:
        Texts such as ``'["clothes", "red"]'``; mappings and lists in lists have none.
    """
    return [
        json.dumps([name, one], ensure_ascii=False)
        for name, value in values.items()
        for one in (value if isinstance(value, list) else [value])
        if one is None or isinstance(one, (str, int, float, bool))
    ]


def _among(column: np.ndarray, values: Sequence[str]) -> np.ndarray:
    if len(values) > _FEW:
        return np.isin(column, np.array(values))
    found = np.zeros(len(column), bool)
    for one in values:
        found |= column == one
    return found
