"""Records of images, as :meth:`.ReIDDataset.load_split` gives them: their names, and each file once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

from mmreid_uda.utils import InputError

from .files import real_paths, shown
from .packs import SPELLED_OTHERWISE
from .unknown import known

__all__ = ["chosen_records", "fingerprint_of", "merge_files", "relative_name"]

# What records tell of an image, and the plural of it.
_TOLD = {"pid": "identities", "camid": "cameras", "time": "times", "tracklet": "tracklets"}


def merge_files(
    records: Sequence[dict], root: str, of: str
) -> tuple[list[dict], list[tuple[str, str]]]:
    """Sort records by the name below the root, and keep each file once with all that is known of it.

    Args:
        records: One dict per entry, with ``img_path``, ``pid`` and ``camid``; what stands for an unknown one becomes
            None.
        root: Folder of the dataset.
        of: Which split of which dataset they are, for the message.

    Returns:
        The records, each with its ``name`` and a ``number``; and the names of entries that were merged, each with that
        of the entry whose file they lead to.

    Raises:
        InputError: One file has two identities, cameras, times or tracklets.
    """
    names = [relative_name(record["img_path"], root) for record in records]
    order = sorted(range(len(names)), key=names.__getitem__)
    files = real_paths(records[place]["img_path"] for place in order)
    kept: dict[str, dict] = {}
    merged: list[tuple[str, str]] = []
    for number, (place, file) in enumerate(zip(order, files)):
        record = {"number": number, **records[place], "name": names[place]}
        record.update(pid=known(record["pid"]), camid=_known_camera(record["camid"]))
        first = kept.setdefault(file, record)
        if first is record:
            continue
        merged.append((record["name"], first["name"]))
        for key, what in _TOLD.items():
            values = [one[key] for one in (first, record) if one.get(key) is not None]
            if len(set(values)) > 1:
                raise InputError(
                    f"{of} in {shown(root)} has one file with two {what}, {values[0]!r} as {shown(first['name'])} and "
                    f"{values[1]!r} as {shown(record['name'])}; remove the wrong entry, folder or link"
                )
            first[key] = values[0] if values else None
    return list(kept.values()), merged


def _known_camera(camid: Any) -> int | None:
    camid = known(camid)
    return None if camid is None or camid < 0 else int(camid)


def relative_name(path: str, root: str) -> str:
    """The name of an image below the root, with ``/``: the same for all spellings of path and root.

    Args:
        path: Of the image.
        root: Folder of the dataset.

    Returns:
        Such as ``train/0001.jpg``.
    """
    prefix = os.path.join(root, "")
    inner = path[len(prefix) :]
    # os.path.relpath costs seconds on a hundred thousand paths: only for those that are spelled otherwise.
    if not path.startswith(prefix) or SPELLED_OTHERWISE.search(inner):
        inner = os.path.relpath(path, root)
    if inner.startswith(".."):
        folder, name = os.path.split(path)
        place = os.path.join(os.path.realpath(folder), name)
        inner = os.path.relpath(place, os.path.realpath(root))
    return inner.replace(os.sep, "/")


def chosen_records(records: list[dict], indices: int | Sequence[int] | None, of: str) -> list[dict]:
    """The records at some positions.

    Args:
        records: In order.
        indices: Positions, each once; an int is the number of the first (or, negative, the last) ones, None all.
        of: Which split of which dataset they are, for messages.

    Returns:
        Those records.

    Raises:
        InputError: A position is none, or named twice.
    """
    count = len(records)
    if indices is None:
        return records
    if isinstance(indices, int):
        return records[:indices] if indices >= 0 else records[indices:]
    try:
        places = [range(count)[index] for index in indices]
    except (IndexError, TypeError) as error:
        raise InputError(
            f"indices={indices!r} was given for the {count} images of {of}, expected their number or a list of "
            f"positions from {-count} to {count - 1}; set indices"
        ) from error
    if len(set(places)) < len(places):
        raise InputError(
            f"indices names {len(places)} images of {of} of which only {len(set(places))} are distinct, expected "
            "every image once; set indices"
        )
    return [records[place] for place in places]


def fingerprint_of(records: Iterable[dict]) -> str:
    """A hash of names, identities and cameras.

    Args:
        records: Of :func:`merge_files`.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for record in records:
        line = (record["name"], record["pid"], record["camid"])
        digest.update(repr(line).encode())
    return digest.hexdigest()
