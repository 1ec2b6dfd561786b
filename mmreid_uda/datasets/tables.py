"""Lists of images as text files: lines, and tables with a header. Whoever wrote the file, it is read or refused."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmreid_uda.utils import InputError

from .files import is_file, shown

__all__ = ["Table", "local_path", "read_lines", "read_table", "read_text"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t", "|")
_HINT = (
    "save it as UTF-8 (in a spreadsheet 'CSV UTF-8'), or set encoding to the one it has, such as 'cp1252', 'gbk' or "
    "'utf-16'"
)


def read_text(path: str, encoding: str | None = None, hint: str = _HINT) -> str:
    """Read a text file.

    Args:
        path: The file.
        encoding: Its encoding. Defaults to None: what its byte order mark says, else UTF-8.
        hint: What to do about a file that is written otherwise, for the message.

    Returns:
        The text, without byte order mark.

    Raises:
        InputError: The file cannot be read, or is no text in this encoding.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"the list {shown(path)} cannot be read ({reason}), expected a text file; name another file"
        ) from error
    if encoding is None:
        encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        raise InputError(
            f"{shown(path)} is not {encoding} text: byte 0x{content[place : place + 1].hex()} "
            f"in line {content[:place].count(10) + 1}; {hint}"
        ) from error
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"encoding={encoding!r} was given for {shown(path)}, expected one that Python knows; {hint}"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"line {line} of {shown(path)} holds a NUL, which no text does; {hint}")
    return text


def read_lines(path: str) -> Iterator[tuple[str, str]]:
    """The lines of a list that are not blank, without surrounding blanks.

    Args:
        path: The file.

    Yields:
        ``<path>:<number>`` for messages, and the line.

    Raises:
        InputError: See :func:`read_text`.
    """
    text = read_text(path, hint="take the list file of the release, or save it as UTF-8")
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Args:
        path: The file, for messages.
        header: Names of the columns.
        rows: Cells by column, without surrounding blanks; rows without any text are left out.
        lines: Where each row ends in the file, counted from 1.
    """

    path: str
    header: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[str]:
        """The cells of one column.

        Args:
            name: Of the column.

        Returns:
            A text for each row.
        """
        return [row[name] for row in self.rows]


def read_table(
    path: str, columns: Collection[str], delimiter: str | None = None, encoding: str | None = None
) -> Table:
    """Read a CSV file with a header.

    Args:
        path: The file.
        columns: Names of columns that are looked for; of these none may occur twice.
        delimiter: Separator of the cells. Defaults to None: the one of ``, ; tab |`` with which the first line has most
            of ``columns``; or what a first line ``sep=;`` says.
        encoding: See :func:`read_text`.

    Returns:
        The table; it may lack columns.

    Raises:
        InputError: See :func:`read_text`; or quotes, cells or the number of cells in a row are not as expected.
    """
    text = read_text(path, encoding)
    first, _, rest = text.partition("\n")
    skipped = 0
    if first[:4].lower() == "sep=" and len(first.rstrip("\r")) == 5:
        text, delimiter, skipped = rest, delimiter or first[4], 1
    if delimiter is None:
        delimiter = _likely_delimiter(text, columns)
    reader = _reader(text, delimiter)
    numbered: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                numbered.append((reader.line_num + skipped, cells))
    except csv.Error as error:
        raise InputError(
            f"line {reader.line_num + skipped} of {shown(path)} is no row of a CSV file ({error}); mend its quotes, or "
            "set delimiter"
        ) from error
    header = numbered[0][1] if numbered else []
    twice = [name for name, count in Counter(header).items() if count > 1 and name in columns]
    if twice:
        raise InputError(
            f"{shown(path)} has the column {shown(twice[0])} twice, expected it once; rename one"
        )
    rows = []
    for line, cells in numbered[1:]:
        if any(cells[len(header) :]):
            raise InputError(
                f"line {line} of {shown(path)} has {len(cells)} cells, but the header {len(header)}; put cells that "
                f"hold the separator {delimiter!r} in quotes, or set delimiter"
            )
        rows.append(dict(zip(header, cells + [""] * (len(header) - len(cells)))))
    return Table(path, header, rows, [line for line, _ in numbered[1:]])


def _reader(text: str, delimiter: str) -> Any:
    """A reader that refuses a quote that is never closed, instead of taking all that follows for one cell."""
    try:
        return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"delimiter={delimiter!r} was given, expected one character that separates cells, such as ';'; set "
            "delimiter, or leave it out"
        ) from error


def _likely_delimiter(text: str, columns: Collection[str]) -> str:
    """The delimiter with which the first line names most of the columns."""
    start = next((line for line in io.StringIO(text) if line.strip()), "")

    def named(delimiter: str) -> int:
        try:
            cells: list[str] = next(_reader(start, delimiter), [])
        except csv.Error:
            return 0
        return len(set(columns) & {cell.strip() for cell in cells})

    return max(_DELIMITERS, key=named)


def local_path(folder: str, name: str) -> str:
    r"""The path that a list means by a name: below a folder unless absolute; ``\`` may separate, as on Windows.

    Args:
        folder: What names are relative to.
        name: As it stands in the list.

    Returns:
        The path, there or not.
    """
    path = os.path.join(folder, name)
    if "\\" in name and os.sep == "/" and not is_file(path):
        return os.path.join(folder, *name.replace("\\", "/").split("/"))
    return path
