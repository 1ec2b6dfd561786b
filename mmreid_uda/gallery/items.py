"""What a gallery holds: columns of items, of which every part but the identifier may be unknown."""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmreid_uda.neighbors import unit_rows
from mmreid_uda.utils import InputError, check_vectors

__all__ = ["Items", "Sightings", "content_id", "name_ids", "require_same_length"]

# Identifiers of contents and of names: uuid5 in a namespace of our own, so that they are the same everywhere.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://mmreid-uda/gallery")
_CHUNK = 2**20
SECOND = 10**6
"""Ticks in a second: all times are whole microseconds, so that every back end gives them back as they were."""
_LONGEST = 2**53 / SECOND
_MADE_ANEW = "extract them anew with a checkpoint that gives such features"


class Sightings(NamedTuple):
    """Where and when images were taken."""

    cameras: np.ndarray
    """str (N,), '' = unknown."""
    times: np.ndarray
    """float64 (N,) in seconds, NaN = unknown."""

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], num: int) -> Sightings | None:
        """Take them from labels or a file.

        Args:
            arrays: With ``camera`` and ``time``, if they are known.
            num: N.

        Returns:
            The sightings; None where the arrays lack one of both.

        Raises:
            ValueError: Their number is another one.
        """
        if "camera" not in arrays or "time" not in arrays:
            return None
        found = cls(np.asarray(arrays["camera"]).astype(str), np.asarray(arrays["time"], float))
        if found.cameras.shape != (num,) or found.times.shape != (num,):
            raise ValueError(f"cameras and times of other than {num} images")
        return found


@dataclass(frozen=True, eq=False)
class Items:
    """Columns of N items of a gallery; :meth:`of` checks them and fills in what is unknown.

    Args:
        ids: UUIDs as texts, see :func:`content_id`.
        features: float32 (N, D), finite rows of unit norm; None where they were not asked for.
        paths: Files, or names.
        cameras: str (N,), '' = unknown.
        times: float64 (N,), seconds on one clock, to the microsecond, NaN = unknown.
        tracklets: str (N,), '' = unknown; unique among all cameras.
        identities: str (N,), '' = unknown.
        added: float64 (N,), seconds since 1970, when the item was added.
        fields: Free values of each item by name, as JSON can hold them.
    """

    ids: list[str]
    features: np.ndarray | None
    paths: list[str]
    cameras: np.ndarray
    times: np.ndarray
    tracklets: np.ndarray
    identities: np.ndarray
    added: np.ndarray
    fields: list[dict[str, Any]]

    @classmethod
    def of(
        cls,
        features: np.ndarray | None,
        paths: Sequence[Any],
        *,
        ids: Sequence[str] | None = None,
        cameras: Sequence[str] | np.ndarray | None = None,
        times: Sequence[float] | np.ndarray | None = None,
        tracklets: Sequence[str] | np.ndarray | None = None,
        identities: Sequence[str] | np.ndarray | None = None,
        added: Sequence[float] | np.ndarray | None = None,
        fields: Sequence[Mapping[str, Any]] | None = None,
    ) -> Items:
        """Check columns, and fill in those that are unknown.

        Args:
            features: float (N, D), finite, no zero rows; scaled to unit norm. None for none.
            paths: N files or names.
            ids: N UUIDs, all different. Defaults to those of the paths as names, see :func:`name_ids`.
            cameras: As for the class, as are the next four. Defaults to unknown.
            times: (N,).
            tracklets: (N,).
            identities: (N,).
            added: (N,), NaN for now. Defaults to now.
            fields: N mappings. Defaults to none.

        Returns:
            The items.

        Raises:
            InputError: A column has another length, features are not as expected, an identifier is no UUID or is there
                twice, a time is too large, a text cannot be written to a file, or fields are not what JSON holds.
        """
        names = [str(path) for path in paths]
        num = len(names)
        require_text(names, "paths")
        if features is not None and (num or len(features)):
            require_same_length(len(features), num)
            features = unit_rows(
                check_vectors(features, "features of the gallery", _MADE_ANEW, names=names)
            )
        return cls(
            name_ids(names) if ids is None else _canonical(_of_length(ids, num, "ids")),
            features,
            names,
            _texts(cameras, num, "cameras"),
            _seconds(times, num, "times", math.nan),
            _texts(tracklets, num, "tracklets"),
            _texts(identities, num, "identities"),
            _seconds(added, num, "added", time.time()),
            [{} for _ in names] if fields is None else _json(_of_length(fields, num, "fields")),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sightings(self) -> Sightings:
        """Cameras and times."""
        return Sightings(self.cameras, self.times)

    def take(self, positions: Any) -> Items:
        """Some of the items.

        Args:
            positions: int (M,), or bool (N,).

        Returns:
            These, in this order.
        """
        positions = np.asarray(positions)
        if positions.dtype == bool:
            positions = np.flatnonzero(positions)
        index = positions.astype(np.int64)
        return Items(
            [self.ids[one] for one in index],
            None if self.features is None else self.features[index],
            [self.paths[one] for one in index],
            self.cameras[index],
            self.times[index],
            self.tracklets[index],
            self.identities[index],
            self.added[index],
            [self.fields[one] for one in index],
        )

    def with_features(self, features: np.ndarray | None) -> Items:
        """The same items with other features, or none.

        Args:
            features: float32 (N, D), unit rows; or None.

        Returns:
            The items.
        """
        return replace(self, features=features)

    def with_columns(self, **columns: Any) -> Items:
        """The same items with other columns, which are taken as they are.

        Args:
            **columns: As for the class.

        Returns:
            The items.
        """
        return replace(self, **columns)

    @classmethod
    def joined(cls, parts: Sequence[Items]) -> Items:
        """Several items one after the other.

        Args:
            parts: At least one; all with features of one dimension, or all without.

        Returns:
            All items.
        """
        features = [one.features for one in parts if one.features is not None]
        return cls(
            [one for part in parts for one in part.ids],
            np.concatenate(features) if len(features) == len(parts) else None,
            [one for part in parts for one in part.paths],
            np.concatenate([part.cameras for part in parts]),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.tracklets for part in parts]),
            np.concatenate([part.identities for part in parts]),
            np.concatenate([part.added for part in parts]),
            [one for part in parts for one in part.fields],
        )


def content_id(content: bytes | Path) -> str:
    """The identifier of an image: the same bytes have the same one, wherever they lie.

    Args:
        content: The bytes of a file, or the file.

    Returns:
        A UUID (version 5, of the SHA-256 of the bytes).

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with Path(content).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return str(uuid.uuid5(_NAMESPACE, f"content {digest.hexdigest()}"))


def name_ids(names: Sequence[str]) -> list[str]:
    """Identifiers of items of which nothing but names is known, such as those of a file of features.

    Args:
        names: Paths; one that is there several times is several items.

    Returns:
        N UUIDs, all different; the same names in the same order have the same ones.
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(str(uuid.uuid5(_NAMESPACE, f"name {seen[name]} {name}")))
        seen[name] += 1
    return found


def require_same_length(features: int, paths: int) -> None:
    """Refuse another number of paths than of features.

    Args:
        features: Number of features.
        paths: Number of paths.

    Raises:
        InputError: They differ.
    """
    if features != paths:
        raise InputError(
            f"found {features} features and {paths} paths, expected one path for each feature."
        )


def _of_length(values: Sequence[Any], num: int, name: str) -> Sequence[Any]:
    if len(values) != num:
        raise InputError(
            f"found {len(values)} {name} of {num} items, expected one for each: give as many as paths, or leave {name} "
            "out."
        )
    return values


def _canonical(ids: Sequence[Any]) -> list[str]:
    """Identifiers in the one way of writing that all back ends give back."""
    found = [canonical_id(one) for one in ids]
    if len(set(found)) < len(found):
        twice, times = Counter(found).most_common(1)[0]
        raise InputError(
            f"found the identifier {twice} {times} times among {len(found)} items, expected all to differ: leave the "
            "copies out."
        )
    return found


def canonical_id(one: Any) -> str:
    """An identifier as all back ends write it.

    Args:
        one: A UUID, or its text.

    Returns:
        Lower case, with hyphens.

    Raises:
        InputError: It is none.
    """
    try:
        return str(uuid.UUID(str(one)))
    except ValueError as error:
        raise InputError(
            f"found {str(one)[:80]!r} as the identifier of an item, expected a UUID: `mmreid gallery search --json` "
            "and content_id(file) tell those of items."
        ) from error


def _texts(values: Any, num: int, name: str) -> np.ndarray:
    if values is None:
        return np.full(num, "", dtype="<U1")
    values = ["" if one is None else str(one) for one in _of_length(values, num, name)]
    require_text(values, name)
    return np.array(values, dtype=str) if values else np.full(0, "", dtype="<U1")


def is_text(text: str) -> bool:
    """Whether a text can be written to a file and read again; a file's name that is no UTF-8 cannot.

    Args:
        text: Any.

    Returns:
        False for one with a NUL or with half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def require_text(values: Sequence[str], name: str) -> None:
    """Refuse what :func:`is_text` is not.

    Args:
        values: Texts.
        name: Of all of them.

    Raises:
        InputError: One cannot be written.
    """
    if broken := next((one for one in values if not is_text(one)), None):
        raise InputError(
            f"found {broken!r} among the {name}, expected text that can be written to a file: correct it."
        )


def _seconds(values: Any, num: int, name: str, unknown: float) -> np.ndarray:
    if values is None:
        return np.full(num, unknown)
    column = np.array(
        [math.nan if one is None else one for one in _of_length(values, num, name)],
        dtype=np.float64,
    )
    if (np.abs(column) > _LONGEST).any():  # False for NaN
        wrong = column[np.abs(column) > _LONGEST][0]
        raise InputError(
            f"found {wrong} among the {name}, expected seconds within ±{_LONGEST:.3g}, or NaN where they are unknown: "
            "correct it."
        )
    return whole_ticks(np.where(np.isnan(column), unknown, column))


def whole_ticks(seconds: Any) -> Any:
    """Seconds to the nearest microsecond.

    Args:
        seconds: A number, or float64 (N,); NaN stays.

    Returns:
        The same kind.
    """
    return np.round(seconds * SECOND) / SECOND


def _json(fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = [dict(one) for one in fields]
    try:
        if not all(isinstance(name, str) for one in found for name in one):
            raise TypeError("a name is no text")
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"found fields of an item that JSON cannot hold ({error}), expected texts, finite numbers, true, false, "
            "null, lists and mappings of them: correct fields."
        ) from error
    return found
