"""Your own images: a folder per identity, a pattern in the file names, or a CSV file."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError

from .base_reid import ReIDDataset, listing, require_files, sorted_ids

__all__ = ["IMAGE_EXTENSIONS", "CSVReIDDataset", "FolderReIDDataset", "walk_images"]

IMAGE_EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".pgm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
"""Endings, in lower case, that the generic data sets read."""

_COLUMNS = ("path", "pid", "camid", "split")


@DATASETS.register_module()
class FolderReIDDataset(ReIDDataset):
    r"""Images below one folder: ``<data_root>/<identity>/*.jpg``, or names that a pattern reads.

    Where ``query`` and ``gallery`` are the same images (no ``split_folders``), evaluation is leave-one-out: the
    same-camera rule keeps an image from finding itself. A flat folder without a pattern has no identities at all and
    is one unlabelled pile, for ``labels='hidden'``.

    Args:
        data_root: The folder.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        pattern: Regular expression with a group ``pid`` and optionally ``camid``, searched in the path relative to
            ``data_root`` (with ``/``), e.g. ``r'(?P<pid>\\d+)_c(?P<camid>\\d+)'``. Defaults to None: the first folder
            is the identity.
        ids: Keep only these identities: a list of them, or ``dict(start=, stop=, step=)``, a slice of the sorted
            ones, to split training from test people.
        split_folders: Sub-folder of each split, e.g. ``dict(train='train', query='probe', gallery='gallery')``.
            Defaults to None: all splits read all images.
        extensions: Endings that count as images.
        name: Defaults to the folder's name.
        **kwargs: See :class:`ReIDDataset`.

    Example:
        >>> train = dict(type='FolderReIDDataset', data_root='cows', ids=dict(stop=50))
        >>> test = dict(type='FolderReIDDataset', data_root='cows', ids=dict(start=50))
    """

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        pattern: str | None = None,
        ids: Sequence[Any] | Mapping[str, int] | None = None,
        split_folders: Mapping[str, str] | None = None,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.pattern = None if pattern is None else _compile(pattern)
        self.ids = ids
        self.split_folders = split_folders
        self.extensions = tuple(extensions)
        name = name or os.path.basename(os.path.abspath(data_root))
        super().__init__(data_root, split, pipeline, name=name, **kwargs)

    def load_split(self) -> list[dict]:
        """Walk the folder and read identities (and cameras) off the paths."""
        if not os.path.isdir(self.data_root):
            raise InputError(
                f"data_root '{self.data_root}' is not a folder (working folder: '{os.getcwd()}'), expected the folder "
                "of your images; set data_root"
            )
        everything = walk_images(self.data_root, self.extensions)
        prefix = self._prefix()
        # Numbers count all images of the folder, so that an image is the same number in query and gallery.
        chosen = [
            (number, path) for number, path in enumerate(everything) if path.startswith(prefix)
        ]
        if not chosen:
            folder = os.path.join(self.data_root, prefix)
            raise InputError(
                f"found 0 images ({', '.join(self.extensions)}) in '{folder}', which holds {listing(folder)}, "
                "expected at least one; set data_root, split_folders or extensions"
            )
        pids = self._identities([path for _, path in chosen], prefix)
        cameras = self._cameras(everything)
        records = [
            {
                "img_path": os.path.join(self.data_root, *path.split("/")),
                "pid": pid,
                "camid": cameras.get(path),
                "number": number,
            }
            for (number, path), pid in zip(chosen, pids)
        ]
        return select_ids(records, self.ids)

    def _prefix(self) -> str:
        if self.split_folders is None:
            return ""
        folder = self.split_folders.get(self.split)
        if folder is None or not os.path.isdir(os.path.join(self.data_root, folder)):
            raise InputError(
                f"split_folders names {folder!r} for split '{self.split}', expected a folder in '{self.data_root}', "
                f"which holds {listing(self.data_root)}; set split_folders"
            )
        return folder.strip("/") + "/"

    def _identities(self, paths: list[str], prefix: str) -> list[str | None]:
        if self.pattern is not None:
            matches = [self.pattern.search(path) for path in paths]
            failed = [path for path, match in zip(paths, matches) if match is None]
            if failed:
                raise InputError(
                    f"{len(failed)} of {len(paths)} images in '{self.data_root}' do not match the pattern "
                    f"{self.pattern.pattern!r}, the first is '{failed[0]}'; mend pattern or move them away"
                )
            return [match["pid"] for match in matches if match is not None]
        inner = [path[len(prefix) :] for path in paths]
        flat = [path for path in inner if "/" not in path]
        if len(flat) == len(inner):
            return [None] * len(inner)
        if flat:
            raise InputError(
                f"{len(flat)} images lie directly in '{os.path.join(self.data_root, prefix)}' beside the folders of "
                f"identities, the first is '{flat[0]}'; move them into a folder or give a pattern"
            )
        return [path.split("/", 1)[0] for path in inner]

    def _cameras(self, paths: list[str]) -> dict[str, int]:
        """Camera numbers by path; numbered over all splits, so that query and gallery agree."""
        if self.pattern is None or "camid" not in self.pattern.groupindex:
            return {}
        found = {path: self.pattern.search(path) for path in paths}
        return _number_cameras({path: match["camid"] for path, match in found.items() if match})


@DATASETS.register_module()
class CSVReIDDataset(ReIDDataset):
    """Images listed in a CSV file with a header: ``path,pid[,camid][,split]``.

    Without a ``split`` column every split reads all rows, and with rows of split ``test`` both ``query`` and
    ``gallery`` read those: evaluation is then leave-one-out. Identities and cameras may be any text; an empty camera
    is an unknown one.

    Args:
        data_root: Folder that ``ann_file`` is relative to.
        split: See :class:`ReIDDataset`; rows whose ``split`` has this value (in any case) are read.
        pipeline: See :class:`ReIDDataset`.
        ann_file: The CSV file, UTF-8.
        img_root: Folder that the paths are relative to. Defaults to None: the CSV file's folder.
        columns: Other names of the columns, e.g. ``dict(path='file', pid='animal')``.
        delimiter: Separator of the fields.
        ids: See :class:`FolderReIDDataset`.
        name: Defaults to the file's name without its ending.
        **kwargs: See :class:`ReIDDataset`.

    Example:
        >>> dict(type='CSVReIDDataset', ann_file='turtles.csv', columns=dict(pid='turtle'), ids=dict(stop=100))
    """

    def __init__(
        self,
        data_root: str = "",
        split: str = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        ann_file: str,
        img_root: str | None = None,
        columns: Mapping[str, str] | None = None,
        delimiter: str = ",",
        ids: Sequence[Any] | Mapping[str, int] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.img_root = img_root
        self.columns = dict(columns or {})
        self.delimiter = delimiter
        self.ids = ids
        name = name or os.path.splitext(os.path.basename(ann_file))[0]
        super().__init__(data_root, split, pipeline, ann_file=ann_file, name=name, **kwargs)

    def load_split(self) -> list[dict]:
        """Read the rows of the split."""
        rows, columns = self._read_rows()
        self.root = self.img_root or os.path.dirname(self.ann_file) or "."
        cameras: dict[int, int] = {}
        if "camid" in columns:
            texts = {index: _cell(row, columns["camid"]) for index, row in enumerate(rows)}
            cameras = _number_cameras({index: text for index, text in texts.items() if text})
        files = [self._required(rows, number, columns["path"]) for number in range(len(rows))]
        # An image listed once as query and once as gallery is one image, with one camera of its own.
        numbers = {path: number for number, path in enumerate(sorted(set(files)))}
        records: list[dict[str, Any]] = [
            {
                "img_path": os.path.join(self.root, files[number]),
                "pid": self._pid(rows, number, columns),
                "camid": cameras.get(number),
                "number": numbers[files[number]],
            }
            for number in self._rows_of_split(rows, columns)
        ]
        require_files([record["img_path"] for record in records], self.ann_file)
        return select_ids(records, self.ids)

    def _read_rows(self) -> tuple[list[dict[str, str]], dict[str, str]]:
        """The rows, and the column that holds each of path, pid, camid and split."""
        if not os.path.isfile(self.ann_file):
            raise InputError(
                f"ann_file '{self.ann_file}' is not a file (working folder: '{os.getcwd()}'), expected a CSV file "
                "with a header; set ann_file, which is relative to data_root"
            )
        unknown = set(self.columns) - set(_COLUMNS)
        if unknown:
            raise InputError(
                f"columns has the keys {', '.join(sorted(unknown))}, expected some of {', '.join(_COLUMNS)}"
            )
        # utf-8-sig: spreadsheets put a mark before the first column's name.
        with open(self.ann_file, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=self.delimiter)
            rows, header = list(reader), list(reader.fieldnames or ())
        columns = {key: self.columns.get(key, key) for key in _COLUMNS}
        required = {"path", *self.columns} | (set() if self._hidden else {"pid"})
        missing = sorted(columns[key] for key in required if columns[key] not in header)
        if missing:
            raise InputError(
                f"'{self.ann_file}' has the columns {', '.join(header) or '(none)'}, but {', '.join(missing)} is "
                "missing; rename the column, or set columns=dict(path=..., pid=..., camid=..., split=...) or delimiter"
            )
        return rows, {key: column for key, column in columns.items() if column in header}

    def _rows_of_split(self, rows: list[dict[str, str]], columns: dict[str, str]) -> list[int]:
        if "split" not in columns:
            return list(range(len(rows)))
        wanted = {self.split} if self.split == "train" else {self.split, "test"}
        values = [_cell(row, columns["split"]).lower() for row in rows]
        chosen = [number for number, value in enumerate(values) if value in wanted]
        if not chosen:
            counts = ", ".join(
                f"{value!r}: {count}" for value, count in sorted(Counter(values).items())
            )
            raise InputError(
                f"'{self.ann_file}' has 0 rows of split '{self.split}' (its column '{columns['split']}' has {counts}), "
                f"expected {' or '.join(sorted(wanted))}; mend the column or set columns=dict(split=...)"
            )
        return chosen

    def _pid(self, rows: list[dict[str, str]], number: int, columns: dict[str, str]) -> str | None:
        if "pid" not in columns:
            return None
        if self._hidden:
            return _cell(rows[number], columns["pid"]) or None
        return self._required(rows, number, columns["pid"])

    def _required(self, rows: list[dict[str, str]], number: int, column: str) -> str:
        value = _cell(rows[number], column)
        if not value:
            raise InputError(
                f"row {number + 2} of '{self.ann_file}' has an empty '{column}', expected a value; fill it in or "
                "remove the row"
            )
        return value


def select_ids(records: list[dict], ids: Sequence[Any] | Mapping[str, int] | None) -> list[dict]:
    """Keep the records of some identities.

    Args:
        records: Records with a text or None as ``pid``.
        ids: Identities (compared as text), or start, stop and step of a slice of the sorted identities; None = all.

    Returns:
        The chosen records.

    Raises:
        InputError: An identity does not occur, or the slice is empty or has other keys.
    """
    if ids is None:
        return records
    present = sorted_ids(record["pid"] for record in records if record["pid"] is not None)
    if isinstance(ids, Mapping):
        if not set(ids) <= {"start", "stop", "step"}:
            raise InputError(
                f"ids has the keys {', '.join(ids)}, expected some of start, stop, step"
            )
        wanted = set(present[slice(ids.get("start"), ids.get("stop"), ids.get("step"))])
    else:
        wanted = {str(one) for one in ids}
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


def walk_images(root: str, extensions: Sequence[str]) -> list[str]:
    """Sorted paths, relative to ``root`` and with ``/``, of all images below it; hidden files left out."""
    found = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        inner = os.path.relpath(folder, root).replace(os.sep, "/")
        found += [
            name if inner == "." else f"{inner}/{name}"
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in extensions
        ]
    return sorted(found)


def _number_cameras(texts: dict[Any, str]) -> dict[Any, int]:
    """Replace camera names by their positions among the sorted names."""
    numbers = {text: number for number, text in enumerate(sorted_ids(texts.values()))}
    return {key: numbers[text] for key, text in texts.items()}


def _cell(row: dict[str, str], column: str) -> str:
    """A field without surrounding blanks; rows shorter than the header have None."""
    return (row[column] or "").strip()


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"pattern {pattern!r} is no regular expression ({error}); set pattern"
        ) from error
    if "pid" not in compiled.groupindex:
        raise InputError(
            f"pattern {pattern!r} has the groups {', '.join(compiled.groupindex) or '(none)'}, expected (?P<pid>...) "
            "and optionally (?P<camid>...); set pattern"
        )
    return compiled
