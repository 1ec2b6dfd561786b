"""A report that is on disk after every check: as JSON for programs, as Markdown for readers."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmreid_uda.utils.files import atomic_path

from .findings import Result

__all__ = ["Report"]

JSON, MARKDOWN = "gpu_report.json", "gpu_report.md"


class Report:
    """What is known so far.

    Args:
        folder: Takes ``gpu_report.json`` and ``gpu_report.md``.
        machine: Circumstances, name -> value.
        command: Command line, for the heading.
    """

    def __init__(self, folder: Path, machine: dict[str, Any], command: str) -> None:
        self._folder, self._machine, self._command = folder, machine, command
        self._date = time.strftime("%Y-%m-%d %H:%M")
        self._started = time.monotonic()
        self.parts: dict[str, dict[str, Result]] = {}
        self.write()

    @property
    def bad(self) -> list[str]:
        """What someone has to look at: ``part: check`` of all that failed, broke or timed out."""
        return [
            f"{part}: {name}"
            for part, checks in self.parts.items()
            for name, result in checks.items()
            if result.is_bad
        ]

    def record(self, part: str, check: str, result: Result) -> None:
        """Take a result, write both files, and print a line."""
        self.parts.setdefault(part, {})[check] = result
        self.write()
        why = f": {result.message.splitlines()[-1]}" if result.message else ""
        print(f"{result.status:>9} {result.seconds:6.1f} s  {part}: {check}{why}", flush=True)

    def write(self) -> None:
        """Write both files as a whole."""
        metrics = {
            "date": self._date,
            "command": self._command,
            "machine": self._machine,
            "seconds": round(time.monotonic() - self._started, 1),
            "parts": {
                part: {name: asdict(result) for name, result in checks.items()}
                for part, checks in self.parts.items()
            },
        }
        for name, text in (
            (JSON, json.dumps(metrics, indent=2, default=float) + "\n"),
            (MARKDOWN, self.markdown()),
        ):
            with atomic_path(self._folder / name) as path:
                path.write_text(text)

    def markdown(self) -> str:
        """The report as a page."""
        results = [result for checks in self.parts.values() for result in checks.values()]
        counts = Counter(result.status for result in results)
        lines = [
            f"# GPU report, {self._date}",
            "",
            f"`{self._command}`",
            "",
            "; ".join(f"{name} {value}" for name, value in self._machine.items()) + ".",
            "",
            f"{len(results)} checks: " + ", ".join(f"{n} {status}" for status, n in counts.items()),
        ]
        for part, checks in self.parts.items():
            lines += ["", f"## {part}", "", *_tables(checks)]
        return "\n".join(lines) + "\n"


def _tables(checks: dict[str, Result]) -> list[str]:
    """The checks of a part: a table for all that have the same figures, their own tables, and what is to be said."""
    groups: dict[tuple[str, ...], dict[str, Result]] = {}
    for name, result in checks.items():
        groups.setdefault(tuple(_plain(result)), {})[name] = result
    lines: list[str] = []
    for columns, group in groups.items():
        rows = [
            [name, result.status, f"{result.seconds:.1f}", *map(_text, _plain(result).values())]
            for name, result in group.items()
        ]
        lines += [*_table(["check", "", "s", *columns], rows), ""]
    for name, result in checks.items():
        for heading, value in result.metrics.items():
            if isinstance(value, list) and value:
                lines += [f"{name}, {heading}:", ""]
                lines += [
                    *_table(list(value[0]), [list(map(_text, row.values())) for row in value]),
                    "",
                ]
    for name, result in checks.items():
        if "\n" in result.message:
            lines += [f"{name}, {result.status}:", "", "```text", result.message, "```", ""]
        elif result.message:
            lines += [f"* {name}, {result.status}: {result.message}"]
    notes = dict.fromkeys(note for result in checks.values() for note in result.notes)
    return [*lines, *(f"* Note: {note}" for note in notes)]


def _plain(result: Result) -> dict[str, Any]:
    """Figures that are no tables."""
    return {name: value for name, value in result.metrics.items() if not isinstance(value, list)}


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def _text(value: Any) -> str:
    """A figure in few characters."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return str(value).replace("|", "/")
