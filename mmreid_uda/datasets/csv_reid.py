"""Your own images in a table: what the columns of a CSV file tell of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split

from .files import require_files, shown
from .ids import select_ids
from .own_images import TOLD, OwnImages
from .tables import Table, local_path, read_table
from .unknown import known

__all__ = ["CSVReIDDataset"]


class Columns(TypedDict, total=False):
    """What columns of a table hold, and their names."""

    path: str
    pid: str
    camid: str
    time: str
    tracklet: str
    split: str


@DATASETS.register_module()
class CSVReIDDataset(OwnImages):
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
        told = {key: dict(enumerate(table.column(columns[key]))) for key in TOLD if key in columns}
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
                **{key: values[key].get(row) for key in TOLD},
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
