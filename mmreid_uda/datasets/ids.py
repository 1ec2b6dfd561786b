"""Identities and names in order, and the records of some of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count

from .unknown import known

__all__ = ["IdSlice", "natural_key", "select_ids", "sorted_ids"]


def natural_key(value: object) -> tuple[list[tuple[int, str]], str]:
    """Sorting key that puts ``s2`` before ``s10`` and 2 before 10, whatever the type of the ids.

    Args:
        value: An id or a name.

    Returns:
        What compares as a key of ``sorted``.
    """
    text = str(value)
    # Digits compare by number of places first: Python refuses to make an int of thousands of them.
    parts = [
        (len(digits := part.lstrip("0")), digits) if position % 2 else (0, part)
        for position, part in enumerate(re.split(r"([0-9]+)", text))
    ]
    return parts, text


def sorted_ids(ids: Iterable[Any]) -> list[Any]:
    """Sort ids: integers by value, texts with the numbers inside them by value.

    Args:
        ids: In any order, possibly several times.

    Returns:
        Each once.
    """
    distinct = set(ids)
    if all(isinstance(one, int) for one in distinct):
        return sorted(distinct)
    return sorted(distinct, key=natural_key)


class IdSlice(TypedDict, total=False):
    """Start, stop and step of a slice of the sorted identities."""

    start: int | None
    stop: int | None
    step: Count | None


def select_ids(records: list[dict], ids: Sequence[Any] | IdSlice | None) -> list[dict]:
    """Keep the records of some identities.

    Args:
        records: Records with a text or None as ``pid``.
        ids: Identities (compared as text), or start, stop and step of a slice of the sorted identities; None = all.

    Returns:
        The chosen records.

    Raises:
        InputError: An identity does not occur, or the slice is empty.
    """
    if ids is None:
        return records
    present = sorted_ids(record["pid"] for record in records if record["pid"] is not None)
    if isinstance(ids, Mapping):
        wanted = set(present[ids.get("start") : ids.get("stop") : ids.get("step")])
    else:
        wanted = {str(known(str(one))) for one in ids}
    absent = sorted_ids(wanted - set(present))
    if absent or not wanted:
        what = (
            f"{len(absent)} unknown identities such as '{absent[0]}'" if absent else "0 identities"
        )
        raise InputError(
            f"ids={ids!r} selects {what} of the {len(present)} in the data"
            f"{f' ({present[0]} to {present[-1]})' if present else ''}, expected known ones; set ids"
        )
    return [record for record in records if record["pid"] in wanted]
