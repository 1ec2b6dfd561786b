"""What a sweep of clusterings found: clusters, outliers and quality, over what was swept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmreid_uda.clustering import SweepResult
from mmreid_uda.utils import InputError

from .picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_cluster_sweep"]


def draw_cluster_sweep(results: Sequence[SweepResult], num_identities: int | None = None) -> Figure:
    """Draw figures over the radius, or over K: one line per setting of everything else.

    Args:
        results: Of :func:`~mmreid_uda.clustering.sweep_dbscan` or :func:`~mmreid_uda.clustering.sweep_kmeans`.
        num_identities: The true number of clusters, dashed, or None.

    Returns:
        The figure; panels for clusters, outliers and, if the truth is known, quality. The radius that the ρ-rule
        recommends for a line is dotted in its colour.

    Raises:
        InputError: If there are no results.
    """
    if not results:
        raise InputError(
            "found no setting to draw, expected at least one: give --eps or --num-clusters."
        )
    axis = "eps" if "eps" in results[0].setting else "num_clusters"
    names = ["clusters", "outlier_ratio"]
    names += [name for name in ("nmi", "f_score") if name in results[0].metrics]
    figure, panels = new_figure(1, len(names), (4.0 * len(names), 3.4))
    lines: dict[str, list[SweepResult]] = {}
    for result in results:
        others = [f"{name} {value:g}" for name, value in result.setting.items() if name != axis]
        lines.setdefault(", ".join(others), []).append(result)
    for panel, name in zip(panels[0], names):
        for label, line in lines.items():
            points = sorted((result.setting[axis], result.metrics[name]) for result in line)
            [drawn] = panel.plot(*zip(*points), marker=".", label=label)
            if "rho_eps" in line[0].metrics:
                marked = line[0].metrics["rho_eps"]
                panel.axvline(marked, color=drawn.get_color(), linewidth=1, linestyle=":")
        panel.set(title=name, xlabel=axis)
    for panel in panels[0, :2]:
        panel.set_ylim(0)
    if num_identities is not None:
        panels[0, 0].axhline(num_identities, color="0.5", linewidth=1, linestyle="--")
    if any(lines):
        panels[0, 0].legend(fontsize="x-small")
    return figure
