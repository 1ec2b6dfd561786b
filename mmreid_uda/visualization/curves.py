"""Training curves: what runs have logged, read from their folders and drawn over each other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmreid_uda.utils import InputError

from .picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Curve", "draw_curves", "read_scalars"]

# What places a record, and is no curve.
_PLACES = ("step", "iter", "epoch")
_PANELS_PER_ROW = 3
# Beyond this, where losses go that diverge, matplotlib finds no ticks.
_LARGEST = 1e100


@dataclass
class Curve:
    """One logged quantity.

    Args:
        axis: What the steps count: ``'iteration'`` or ``'epoch'``.
        points: Step -> value.
    """

    axis: str
    points: dict[int, float] = field(default_factory=dict)


def read_scalars(work_dir: str | Path) -> dict[str, Curve]:
    """Read what a run has logged, over all its starts; what a later start logged again counts.

    Args:
        work_dir: Folder of the run; mmengine's ``*/vis_data/scalars.json`` are read.

    Returns:
        Name -> curve; empty if nothing was logged.

    Raises:
        InputError: A line is no record, other than the last one of a run that is going on or was killed.
    """
    curves: dict[str, Curve] = {}
    for log in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        for record in _records(log):
            axis = "iteration" if "iter" in record else "epoch"
            for name, value in record.items():
                if name not in _PLACES and _is_number(value):
                    curves.setdefault(name, Curve(axis)).points[record["step"]] = value
    return curves


def _is_number(value: Any) -> bool:
    """Whether a logged value can be drawn; what is not finite leaves a gap in its curve."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _records(log: Path) -> Iterator[dict[str, Any]]:
    """One dict with a step per line; half a line at the end is left out."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            record = None
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            yield record
        elif number < len(lines):
            raise InputError(
                f"line {number} of {str(log)!r} is no record, expected JSON with a step on each of the {len(lines)} "
                "lines; remove the line."
            )


def draw_curves(runs: Mapping[str, Mapping[str, Curve]], names: Sequence[str]) -> Figure:
    """Draw one panel per quantity, one line per run.

    Args:
        runs: Name of a run -> its curves, as :func:`read_scalars` gives them.
        names: Names or patterns of them, such as ``'*/mAP'``; one that no run has is left out.

    Returns:
        The figure, panels in the order of ``names``.

    Raises:
        InputError: If no run has any of them.
    """
    logged = list(dict.fromkeys(name for curves in runs.values() for name in curves))
    chosen = list(
        dict.fromkeys(one for pattern in names for one in logged if fnmatchcase(one, pattern))
    )
    if not chosen:
        raise InputError(
            f"found {', '.join(logged) or 'nothing'} in the logs of {', '.join(runs)}, expected at least one of "
            f"{', '.join(names)}: choose others with --curves, or correct the folders of the runs."
        )
    columns = min(_PANELS_PER_ROW, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, panels = new_figure(rows, columns, (4.4 * columns, 3.2 * rows))
    for panel, name in zip(panels.flat, chosen):
        for number, (run, curves) in enumerate(runs.items()):
            if name in curves:
                points = [
                    (step, value if abs(value) < _LARGEST else math.nan)
                    for step, value in sorted(curves[name].points.items())
                ]
                # A colour of its own for each run, also where others have no such curve.
                style = dict(color=f"C{number}", marker="." if len(points) < 50 else "")
                panel.plot(*zip(*points), label=run, **style)
                panel.set_xlabel(curves[name].axis)
        panel.set_title(name)
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in panels.flat[len(chosen) :]:
        panel.set_axis_off()
    if len(runs) > 1:
        handles = {
            label: line
            for panel in panels.flat
            for line, label in zip(*panel.get_legend_handles_labels())
        }
        figure.legend(handles.values(), handles, loc="outside lower center", fontsize="small")
    return figure
