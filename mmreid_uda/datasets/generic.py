"""Your own images: what folders, file names that a pattern reads, or a CSV file tell of them."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split
from mmreid_uda.utils.values import Count, Positive

from .base_reid import ReIDDataset, sorted_ids
from .clock import Clock
from .files import (
    IMAGE_EXTENSIONS,
    checked_extensions,
    folder_name,
    is_folder,
    listing,
    require_files,
    shown,
    subfolders,
    walk_images,
)
from .tables import Table, local_path, read_table
from .unknown import known

__all__ = ["CSVReIDDataset", "FolderReIDDataset"]


FolderKind = Literal["none", "identity", "camera", "tracklet"]
"""What a folder is named after."""

# The record's key, and group of a pattern, of each.
_KEY = {"identity": "pid", "camera": "camid", "tracklet": "tracklet"}
_GROUPS = ("pid", "camid", "time", "tracklet")


class Columns(TypedDict, total=False):
    """What columns of a table hold, and their names."""

    path: str
    pid: str
    camid: str
    time: str
    tracklet: str
    split: str


class IdSlice(TypedDict, total=False):
    """Start, stop and step of a slice of the sorted identities."""

    start: int | None
    stop: int | None
    step: Count | None


class _OwnImages(ReIDDataset):
    """What folders and tables have in common: texts of an image become an identity, a camera, a time, a tracklet.

    Args:
        data_root: See :class:`ReIDDataset`.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        ids: Keep only these identities: a list of them, or ``dict(start=, stop=, step=)``, a slice of the sorted
            ones, to split training from test people.
        frame_rate: Frames per second where times are numbers of frames, of all cameras or by name of camera, such as
            ``{'1': 25, '2': 12.5}``. Defaults to None: numbers are seconds, other texts dates.
        clock_offsets: Seconds that are added to the times of a camera, by its name, so that all have one clock.
        **kwargs: See :class:`ReIDDataset`.
    """

    def __init__(
        self,
        data_root: str,
        split: Split,
        pipeline: Sequence[dict | Callable],
        *,
        ids: Sequence[Any] | IdSlice | None = None,
        frame_rate: Positive | Mapping[Any, Positive] | None = None,
        clock_offsets: Mapping[Any, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.ids = ids
        self.clock = Clock(frame_rate, clock_offsets)
        super().__init__(data_root, split, pipeline, **kwargs)

    def _understand(
        self, told: Mapping[str, Mapping[Any, str | None]], source: str
    ) -> dict[str, dict[Any, Any]]:
        """Values of the records' keys, by image, of the texts that tell them.

        Args:
            told: Key -> image -> text, of all splits, so that cameras have one number in query and gallery.
            source: Where the texts stand, for messages.
        """
        if self.clock.is_set and "time" not in told:
            raise InputError(
                f"frame_rate or clock_offsets was given, and nothing in {source} is read as a time, expected a group "
                "(?P<time>...) of the pattern or a column time; set pattern or columns, or leave the options out"
            )
        names, cameras = _number_cameras(told.get("camid", {}))
        self.camera_names = names if "camid" in told else None
        cameras_named = {image: names[number] for image, number in cameras.items()}
        return {
            "camid": cameras,
            "time": self.clock.seconds(told.get("time", {}), cameras_named, source),
            **{
                key: {image: known(text) for image, text in told.get(key, {}).items()}
                for key in ("pid", "tracklet")
            },
        }


@DATASETS.register_module()
class FolderReIDDataset(_OwnImages):
    r"""Images below one folder, of which folders and file names tell identity, camera, time and tracklet.

    What the ``pattern`` does not read, ``folders`` may tell: ``<data_root>/<identity>/*.jpg`` for tests,
    ``<data_root>/<camera>/<tracklet>/*.jpg`` of a tracker. Where neither tells identities, the images are one pile for
    ``labels='unlabeled'``. Where ``query`` and ``gallery`` are the same images (no ``split_folders``), evaluation is
    leave-one-out: the same-camera rule keeps an image from finding itself.

    Args:
        data_root: The folder.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        pattern: Regular expression with some of the groups ``pid``, ``camid``, ``time`` and ``tracklet``, searched in
            the path relative to ``data_root`` (with ``/``), e.g. ``r'(?P<pid>\\d+)_c(?P<camid>\\d+)'``. A group that
            did not match, or found a text such as ``none`` or ``-1``, is unknown, see :mod:`.unknown`.
        folders: What sub-folders are named after: ``'identity'``, ``'camera'``, ``'tracklet'`` (of one camera) or
            ``'none'``; one of these for the first level, or a list with one for each, such as
            ``('camera', 'tracklet')``. Defaults to None: ``'identity'`` where identities are needed (tests, labelled
            sources, ``ids``, ``noise``) and the pattern does not read them, else ``'none'``, so that nobody's cameras
            become identities. The table at the start of a run says it.
        split_folders: Sub-folder of each split, e.g. ``dict(train='train', query='probe', gallery='gallery')``;
            ``folders`` are those below. Defaults to None: all splits read all images.
        extensions: Endings that count as images, in any case, with the dot or without.
        name: Defaults to the folder's name.
        ids: Keep only these identities: a list of them, or ``dict(start=, stop=, step=)``, a slice of the sorted
            ones, to split training from test people.
        frame_rate: Frames per second where the group ``time`` reads numbers of frames, of all cameras or by name of
            camera, such as ``{'1': 25, '2': 12.5}``. Defaults to None: numbers are seconds, other texts dates.
        clock_offsets: Seconds that are added to the times of a camera, by its name, so that all have one clock.
        **kwargs: See :class:`ReIDDataset`.

    Example:
        >>> train = dict(type='FolderReIDDataset', data_root='cows', folders='camera')
        >>> test = dict(type='FolderReIDDataset', data_root='known_cows', ids=dict(start=50))
    """

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        pattern: str | None = None,
        folders: FolderKind | Sequence[FolderKind] | None = None,
        split_folders: Mapping[Split, str] | None = None,
        extensions: str | Sequence[str] = IMAGE_EXTENSIONS,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.pattern = None if pattern is None else _compile(pattern)
        groups = () if self.pattern is None else self.pattern.groupindex
        self.levels = _levels(folders, "pid" in groups, kwargs)
        self._chosen_folders = folders is not None or self.pattern is not None
        self.split_folders = split_folders
        self.extensions = checked_extensions(extensions)
        name = name or folder_name(data_root)
        super().__init__(data_root, split, pipeline, name=name, **kwargs)

    @classmethod
    def offers(cls, split: str, **options: Any) -> bool:
        """See :meth:`ReIDDataset.offers`: images of which nothing tells identities cannot be tested on."""
        folders = options.get("split_folders")
        if isinstance(folders, Mapping) and folders.get(split) is None:
            return False
        pattern = options.get("pattern")
        if split == "train" or (pattern is not None and "(?P<pid>" in str(pattern)):
            return True
        # A folder of one's own for a split is that of a test set, also of a target.
        read = {} if isinstance(folders, Mapping) else options
        if "identity" not in _levels(options.get("folders"), False, read):
            return False
        inner = folders[split] if isinstance(folders, Mapping) else ""
        try:
            place = os.path.join(options.get("data_root", ""), inner)
            return bool(subfolders(place)) or listing(place) == "nothing"
        except (InputError, OSError, TypeError, ValueError):
            return True

    def load_split(self) -> list[dict]:
        """Walk the folder and read off the paths what they tell.

        Raises:
            InputError: The folder is missing, has no images, or its paths tell no identities.
        """
        if not is_folder(self.data_root):
            raise InputError(
                f"data_root '{self.data_root}' is not a folder (working folder: '{os.getcwd()}'), expected the folder "
                "of your images; set data_root"
            )
        everything = walk_images(self.data_root, self.extensions)
        prefix = self._prefix(self.split)
        # Numbers count all images of the folder, so that an image is the same number in query and gallery.
        chosen = [
            (number, path) for number, path in enumerate(everything) if path.startswith(prefix)
        ]
        if not chosen:
            folder = os.path.join(self.data_root, prefix)
            raise InputError(
                f"found 0 images ({', '.join(self.extensions)}) in {shown(folder)}, which holds {listing(folder)}, "
                "expected at least one; set data_root, split_folders or extensions"
            )
        told = self._told(everything)
        self._check_told([path for _, path in chosen], prefix, told)
        values = self._understand(told, f"'{self.data_root}'")
        records = [
            {
                "img_path": os.path.join(self.data_root, *path.split("/")),
                "number": number,
                **{key: values[key].get(path) for key in _GROUPS},
            }
            for number, path in chosen
        ]
        return select_ids(records, self.ids)

    def _prefix(self, split: Split) -> str:
        """The folder of a split below ``data_root``, as the paths of its images begin."""
        if self.split_folders is None:
            return ""
        folder = self.split_folders.get(split)
        if folder is not None:
            place = os.path.join(self.data_root, folder)
            inner = os.path.relpath(place, self.data_root).replace(os.sep, "/")
            if is_folder(place) and inner != ".." and not inner.startswith("../"):
                return "" if inner == "." else inner + "/"
        raise InputError(
            f"split_folders names {folder!r} for split '{split}', expected a folder in {shown(self.data_root)}, "
            f"which holds {listing(self.data_root)}; set split_folders"
        )

    def _told(self, paths: list[str]) -> dict[str, dict[str, str | None]]:
        """Key of the records -> path -> text, of the images of all splits; what the pattern reads goes before."""
        told: dict[str, dict[str, str | None]] = {}
        prefixes = [self._prefix(self.split)]
        for split in self.split_folders or ():
            with contextlib.suppress(InputError):  # which is told where that split is read
                prefixes.append(self._prefix(split))
        for level, kind in enumerate(self.levels):
            if kind != "none":
                texts = told.setdefault(_KEY[kind], {})
                for path in paths:
                    inner = path[len(next(filter(path.startswith, prefixes), "")) :]
                    above = inner.split("/")[:-1]
                    if level < len(above):
                        texts[path] = above[level]
        if self.pattern is not None:
            matches = {path: self.pattern.search(path) for path in paths}
            for key in set(_GROUPS) & set(self.pattern.groupindex):
                told[key] = {path: match and match[key] for path, match in matches.items()}
        return told

    def _check_told(self, paths: list[str], prefix: str, told: dict[str, dict]) -> None:
        """Refuse images of the split that the pattern does not know, or that lie beside folders of identities."""
        if self.pattern is not None:
            failed = [path for path in paths if self.pattern.search(path) is None]
            if failed:
                raise InputError(
                    f"{len(failed)} of {len(paths)} images in '{self.data_root}' do not match the pattern "
                    f"{self.pattern.pattern!r}, the first is {shown(failed[0])}; mend pattern or move them away"
                )
        inner = [path[len(prefix) :] for path in paths]
        nested = [path for path in inner if "/" in path]
        if nested:
            self.folders_are = ", ".join(self.levels) or "none"
        if nested and not self._chosen_folders and not self.levels:
            folders = {path.split("/", 1)[0] for path in nested}
            table = os.path.join(self.data_root, prefix, "crops.csv")
            if os.path.isfile(table):
                self._note(
                    f"'{table}' tells more of its images: name that file in place of the folder"
                )
            self._note(
                f"its {len(folders)} sub-folders, such as {shown(min(folders))}, are taken for nothing; "
                "folders='camera', 'tracklet' or 'identity' says what they are"
            )
        if "identity" not in self.levels or (self.pattern and "pid" in self.pattern.groupindex):
            return
        flat = [path for path in inner if prefix + path not in told["pid"]]
        if flat and len(flat) < len(inner):
            raise InputError(
                f"{len(flat)} images lie directly in '{os.path.join(self.data_root, prefix)}' beside the folders of "
                f"identities, the first is {shown(flat[0])}; move them into a folder or give a pattern"
            )


@DATASETS.register_module()
class CSVReIDDataset(_OwnImages):
    r"""Images listed in a CSV file with a header: ``path,pid[,camid][,time][,tracklet][,split]``.

    Without a ``split`` column every split reads all rows, and with rows of split ``test`` both ``query`` and
    ``gallery`` read those: evaluation is then leave-one-out. Identities, cameras and tracklets (names within a camera)
    may be any text; an empty cell, or one such as ``nan`` or ``-``, is an unknown one, see :mod:`.unknown`. Paths may
    have ``\`` between folders.

    Args:
        data_root: Folder that ``ann_file`` is relative to.
        split: See :class:`ReIDDataset`; rows whose ``split`` has this value (in any case) are read.
        pipeline: See :class:`ReIDDataset`.
        ann_file: The CSV file.
        img_root: Folder that the paths are relative to. Defaults to None: the CSV file's folder.
        columns: Other names of the columns, e.g. ``dict(path='file', pid='animal')``.
        delimiter: Separator of the cells. Defaults to None: ``,``, ``;``, tab or ``|``, whichever fits the header.
        encoding: Encoding of the file, such as ``'cp1252'``. Defaults to None: what its byte order mark says, else
            UTF-8.
        name: Defaults to the file's name without its ending.
        ids: See :class:`FolderReIDDataset`.
        frame_rate: See :class:`FolderReIDDataset`, for the column ``time``.
        clock_offsets: See :class:`FolderReIDDataset`.
        **kwargs: See :class:`ReIDDataset`.

    Example:
        >>> dict(type='CSVReIDDataset', ann_file='turtles.csv', columns=dict(pid='turtle'), ids=dict(stop=100))
    """

    def __init__(
        self,
        data_root: str = "",
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        ann_file: str,
        img_root: str | None = None,
        columns: Columns | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.img_root = img_root
        self.columns = dict(columns or {})
        self.delimiter = delimiter
        self.encoding = encoding
        name = name or os.path.splitext(os.path.basename(ann_file))[0]
        super().__init__(data_root, split, pipeline, ann_file=ann_file, name=name, **kwargs)

    @classmethod
    def offers(cls, split: str, **options: Any) -> bool:
        """See :meth:`ReIDDataset.offers`: a test needs a column of identities, and rows of its split."""
        try:
            path = os.path.join(options.get("data_root", ""), options["ann_file"])
            named = {key: key for key in Columns.__annotations__} | dict(
                options.get("columns") or {}
            )
            table = read_table(
                path, set(named.values()), options.get("delimiter"), options.get("encoding")
            )
        except (InputError, KeyError, TypeError, ValueError):
            return True
        if named["path"] not in table.header:
            return True
        rows: Sequence[int] = range(len(table))
        if named["split"] in table.header:
            rows = _rows_of(split, table.column(named["split"]))
        if split == "train":
            return bool(rows)
        pids = table.column(named["pid"]) if named["pid"] in table.header else ()
        return bool(pids) and any(known(pids[row]) is not None for row in rows)

    def load_split(self) -> list[dict]:
        """Read the rows of the split."""
        table, columns = self._read_table()
        self.root = self.img_root or os.path.dirname(self.ann_file) or "."
        told = {
            key: dict(enumerate(table.column(columns[key]))) for key in _GROUPS if key in columns
        }
        values = self._understand(told, shown(self.ann_file))
        everything = range(len(table))
        files = self._required(table, columns["path"], everything)
        # An image listed once as query and once as gallery is one image, with one camera of its own.
        numbers = {path: number for number, path in enumerate(sorted(set(files)))}
        chosen = self._rows_of_split(table, columns)
        if "pid" in columns and not self._unlabeled:
            self._required(table, columns["pid"], chosen)
        records: list[dict[str, Any]] = [
            {
                "img_path": local_path(self.root, files[row]),
                "number": numbers[files[row]],
                **{key: values[key].get(row) for key in _GROUPS},
            }
            for row in chosen
        ]
        require_files([record["img_path"] for record in records], self.ann_file)
        return select_ids(records, self.ids)

    def _read_table(self) -> tuple[Table, dict[str, str]]:
        """The table, and which of its columns hold path, pid, camid and split."""
        if not os.path.isfile(self.ann_file):
            raise InputError(
                f"ann_file {shown(self.ann_file)} is not a file (working folder: '{os.getcwd()}'), expected a CSV file "
                "with a header; set ann_file, which is relative to data_root"
            )
        columns = {key: str(self.columns.get(key, key)) for key in Columns.__annotations__}
        table = read_table(self.ann_file, set(columns.values()), self.delimiter, self.encoding)
        required = {"path", *self.columns} | (set() if self._unlabeled else {"pid"})
        missing = sorted(columns[key] for key in required if columns[key] not in table.header)
        if missing:
            names = ", ".join(map(shown, table.header)) or "(none)"
            raise InputError(
                f"{shown(self.ann_file)} has the columns {names}, but {', '.join(missing)} is missing; rename the "
                "column, or set columns=dict(path=..., pid=..., camid=..., time=..., tracklet=..., split=...) or "
                "delimiter"
            )
        return table, {key: column for key, column in columns.items() if column in table.header}

    def _rows_of_split(self, table: Table, columns: dict[str, str]) -> Sequence[int]:
        if "split" not in columns:
            return range(len(table))
        values = table.column(columns["split"])
        chosen = _rows_of(self.split, values)
        unplaced = sum(known(value) is None for value in values)
        if unplaced:
            self._note(
                f"{unplaced} of the {len(values)} rows of {shown(self.ann_file)} name no split and are in none"
            )
        if not chosen:
            common = Counter(value.lower() for value in values).most_common(8)
            counts = ", ".join(f"{shown(value)}: {count}" for value, count in sorted(common))
            raise InputError(
                f"{shown(self.ann_file)} has 0 rows of split '{self.split}' (its column '{columns['split']}' has "
                f"{counts or 'nothing'}), expected {'' if self.split == 'train' else 'test or '}{self.split}; mend the "
                "column or set columns=dict(split=...)"
            )
        return chosen

    def _required(self, table: Table, column: str, rows: Sequence[int]) -> list[str]:
        """A column of which some rows must have a value."""
        values = table.column(column)
        empty = [row for row in rows if known(values[row]) is None]
        if empty:
            raise InputError(
                f"{len(empty)} of the {len(rows)} rows of {shown(self.ann_file)} have no '{column}', the first is line "
                f"{table.lines[empty[0]]}, expected a value in each; fill it in or remove the row"
            )
        return values


def _rows_of(split: str, values: Sequence[str]) -> list[int]:
    """Positions of the rows that a split reads."""
    wanted = (split,) if split == "train" else (split, "test")
    return [number for number, value in enumerate(values) if value.lower() in wanted]


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


def _number_cameras(texts: Mapping[Any, str | None]) -> tuple[list[str], dict[Any, int]]:
    """The sorted names of the known cameras, and their positions in place of the texts that name one."""
    found = {key: name for key, text in texts.items() if (name := known(text)) is not None}
    names = sorted_ids(found.values())
    numbers = {name: number for number, name in enumerate(names)}
    return names, {key: numbers[name] for key, name in found.items()}


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError, TypeError) as error:
        raise InputError(
            f"pattern {pattern!r} is no regular expression ({error}); set pattern"
        ) from error
    if not set(_GROUPS) & set(compiled.groupindex):
        raise InputError(
            f"pattern {pattern!r} has the groups {', '.join(compiled.groupindex) or '(none)'}, expected some of "
            "(?P<pid>...), (?P<camid>...), (?P<time>...) and (?P<tracklet>...); set pattern"
        )
    return compiled


def _levels(folders: Any, has_pids: bool, options: Mapping[str, Any]) -> tuple[FolderKind, ...]:
    """What each level of sub-folders is named after; where nobody says so, see :class:`FolderReIDDataset`."""
    if folders is None:
        unlabeled = options.get("labels") == "unlabeled"
        needed = not unlabeled or any(options.get(key) is not None for key in ("ids", "noise"))
        return ("identity",) if needed and not has_pids else ()
    several: list[Any] = [folders] if isinstance(folders, str) else list(folders)
    return () if several == ["none"] else tuple(several)
