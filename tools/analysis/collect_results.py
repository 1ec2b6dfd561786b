"""Write a table of runs: mean ± standard deviation over seeds of what the last epoch reached.

Runs whose work dirs differ in ``-seed<N>`` alone are one row.

Example:
    python tools/analysis/collect_results.py 'work_dirs/fat/*' --metrics mAP R1 --out work_dirs/fat/table.md
    python tools/analysis/collect_results.py 'work_dirs/fat/*' --file teacher.json --metrics precision recall
    python tools/analysis/collect_results.py 'work_dirs/own/*' --metrics outlier_ratio ari_previous one_camera_share
"""

from __future__ import annotations

import argparse
import glob
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmreid_uda.cli import ToolParser, at_least, run_tool, writable
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path, last_epoch, read_json, read_results, unfinished

__all__ = ["collect", "table"]

RESULTS = "results.json"
# The group of the figures of pseudo-labels, as in the log.
_LABELS = "cluster"
_SEED = re.compile(r"[-_]seed(\d+)$")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Tabulate the last epochs of several runs.")
    parser.add_argument("patterns", nargs="+", help="work dirs, or patterns of them")
    parser.add_argument("--metrics", nargs="+", default=["mAP", "R1"], help="columns per test set")
    parser.add_argument(
        "--epoch", type=at_least(0), help="epoch to read (default: the last evaluated one)"
    )
    parser.add_argument(
        "--file",
        default=RESULTS,
        help="read the numbers of another JSON file of the work dirs, such as teacher.json",
    )
    parser.add_argument("--out", type=writable(), help="Markdown file to write as well")
    return parser.parse_args()


def find_runs(patterns: Iterable[str], file: str = RESULTS) -> list[Path]:
    """Work dirs with such a file that match, sorted.

    Raises:
        InputError: If a pattern matches none.
    """
    runs: set[Path] = set()
    for pattern in patterns:
        found = {Path(path) for path in glob.glob(pattern) if (Path(path) / file).is_file()}
        if not found:
            raise InputError(
                f"found 0 folders with a {file} for {pattern!r}, expected work dirs of runs that have written one; "
                "check the pattern, or train with tools/train.py --work-dir."
            )
        runs |= found
    return sorted(runs)


def collect(
    runs: Iterable[Path], metrics: Sequence[str], epoch: int | None = None, file: str = RESULTS
) -> dict[str, dict[str, list[float]]]:
    """Read the figures of runs.

    Args:
        runs: Work dirs, each with the file.
        metrics: Names without the test set, such as ``'mAP'``; or those of figures of the last pseudo-labels.
        epoch: Number of finished epochs to read ``results.json`` at; None reads the last evaluation.
        file: ``results.json``, or another JSON file of numbers in nested dicts.

    Returns:
        Name of the run without its seed, and whether it is unfinished -> ``'<test set>/<metric>'`` -> one figure in
        percent per seed; ``'cluster/<metric>'`` of pseudo-labels are as they are.

    Raises:
        InputError: If a file is no JSON, a run was not evaluated at ``epoch``, or has none of the metrics.
    """
    rows: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        where = file
        content: dict[str, Any]
        if file == RESULTS:
            epochs = read_results(run / file)
            wanted = last_epoch(run / file) if epoch is None else epoch
            where = f"epoch {wanted} (evaluated after the epochs {', '.join(map(str, epochs)) or 'none'})"
            content = {**epochs.get(wanted, {}), _LABELS: _labels(run / file, wanted)}
        else:
            content = read_json(run / file)
        chosen = {
            name: value
            for name, value in _flat(content).items()
            if name.rpartition("/")[2] in metrics and isinstance(value, (int, float))
        }
        if not chosen:
            raise InputError(
                f"found no {' or '.join(metrics)} in '{run}', {where}, expected one at least; change --metrics, "
                "--epoch or --file."
            )
        name = _SEED.sub("", run.as_posix())
        # A stopped run is a row of its own: its last figures are not the method's.
        if file == RESULTS and epoch is None and (stopped := unfinished(run / file)):
            name += f" ({stopped})"
        row = rows.setdefault(name, {})
        for name, value in chosen.items():
            row.setdefault(name, []).append(value)
    return rows


def _labels(path: Path, epoch: int) -> dict[str, float]:
    """Figures of the last pseudo-labels that were made until an epoch had ended."""
    labels = {int(made): metrics for made, metrics in read_json(path).get("labels", {}).items()}
    return labels[max(made)] if (made := [one for one in labels if one <= epoch]) else {}


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested dicts as one, with names like paths."""
    flat: dict[str, float] = {}
    for name, value in content.items():
        flat.update(
            _flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat


def table(rows: dict[str, dict[str, list[float]]]) -> str:
    """A Markdown table: one line per run, mean ± sample standard deviation per metric, and how many seeds."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    names = list(rows)
    parents = {name.rpartition("/")[0] for name in names}
    if len(parents) == 1:
        names = [name.rpartition("/")[2] for name in names]
    lines = ["| run | seeds | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for name, row in zip(names, rows.values()):
        seeds = max(map(len, row.values()))
        cells = [
            _cell(row.get(column, []), ".3g" if column.startswith(f"{_LABELS}/") else ".1f")
            for column in columns
        ]
        lines.append(f"| {name} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float], form: str) -> str:
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


def main() -> None:
    """Read, print, write."""
    args = parse_args()
    text = table(collect(find_runs(args.patterns, args.file), args.metrics, args.epoch, args.file))
    print(text)
    if args.out:
        with atomic_path(args.out) as path:
            path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_tool(main)
