"""The figures of :mod:`clustering_costs` as tables and as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from clustering_sides import REFERENCE

from mmreid_uda.visualization import new_figure, write_picture

__all__ = ["draw", "report", "report_growth"]

_MIB = 1 << 20


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out as tables."""
    lines = [
        f"{metrics['num_samples']} × {metrics['dim']} features ({metrics['features']}), k1={metrics['k1']}, "
        f"k2={metrics['k2']}, eps={metrics['eps']}, {metrics['threads']} threads, median of "
        f"{metrics['repetitions']}, on {metrics['processor']}",
        f"{'seconds':16}{'all':>9}{'kNN':>9}{'after':>9}{'CPU':>9}{'× ref.':>8}{'after ×':>9}{'+MiB':>8}"
        f"{'clusters':>10}",
    ]
    sides = metrics["sides"]
    beside = sides.get(REFERENCE)
    for side, row in sides.items():
        quotients = [
            f"{beside[key] / row[key]:.1f}" if beside else "-" for key in ("seconds", "after_knn")
        ]
        added = "-" if row["added_bytes"] is None else f"{row['added_bytes'] / _MIB:.0f}"
        lines.append(
            f"{side:16}{row['seconds']:9.3f}{row['knn']:9.3f}{row['after_knn']:9.3f}{row['cpu_seconds']:9.2f}"
            f"{quotients[0]:>8}{quotients[1]:>9}{added:>8}{row['num_clusters']:10}"
        )
    for side, row in sides.items():
        steps = ", ".join(
            f"{step} {seconds:.4f}"
            + (f" ({row['cpu_steps'][step]:.4f})" if step in row["cpu_steps"] else "")
            for step, seconds in row["steps"].items()
        )
        lines.append(f"{side:16}{steps} s (of CPU time)")
    lines.append(
        f"floor {metrics['gemm_floor_seconds']:.3f} s at {metrics['product_rate'] / 1e9:.0f} GFLOP/s; float32 takes "
        f"{metrics['gemm_floor_ratio']:.2f} floors"
    )
    if metrics["camera_after_knn"]:
        memory = metrics["camera_memory"]
        lines.append(
            f"camera-aware beside float32: {metrics['camera_after_knn']:.2f} times the seconds after the search, "
            f"{'unknown' if memory is None else f'{memory:.2f} times'} the memory"
        )
    for side, share in metrics["same_neighbors"].items():
        lines.append(f"images with the neighbours of float32 in the search of {side}: {share:.4%}")
    if beside:
        lines.append(
            f"from the same ranks and similarities: largest difference of distances "
            f"{metrics['max_distance_difference']:.1e}, labels equal: {metrics['labels_equal']}"
        )
    if metrics["growth"]:
        lines += report_growth(metrics["growth"])
    return "\n".join(lines)


def report_growth(growth: dict[str, Any]) -> list[str]:
    """The lines of the growth over N."""
    lines = []
    for side, row in growth["sides"].items():
        for key, name in (("seconds", "all"), ("after_knn", "after kNN")):
            values = ", ".join(
                f"{num}: {seconds:.3f}" for num, seconds in zip(growth["num_samples"], row[key])
            )
            lines.append(f"{side:16}{name}: {values} s; N^{row[f'exponent_{key}']:.2f}")
        for step, cpu in row["cpu"].items():
            values = ", ".join(
                f"{num}: {1e6 * seconds / num:.2f}"
                for num, seconds in zip(growth["num_samples"], cpu)
            )
            lines.append(
                f"{side:16}{step}: {values} µs of CPU time per image; N^{row['cpu_exponents'][step]:.2f}"
            )
    return lines


def draw(metrics: dict[str, Any], path: str) -> None:
    """Draw the seconds of the sides, and their growth if it was measured."""
    growth = metrics["growth"]
    panels = 2 if growth else 1
    figure, axes = new_figure(1, panels, (5.5 * panels, 4))
    left = axes[0, 0]
    names = list(metrics["sides"])
    for key, name in (("seconds", "all"), ("after_knn", "after kNN")):
        values = [metrics["sides"][side][key] for side in names]
        offset = 0.2 if key == "seconds" else -0.2
        bars = left.barh(np.arange(len(names)) - offset, values, 0.4, label=name)
        left.bar_label(bars, fmt="%.3g", padding=2)
    left.axvline(metrics["gemm_floor_seconds"], color="black", linestyle=":", label="GEMM floor")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set(xscale="log", xlabel="seconds", title=f"{metrics['num_samples']} × {metrics['dim']}")
    left.margins(x=0.15)
    left.legend()
    if growth:
        right = axes[0, 1]
        for side, row in growth["sides"].items():
            for key, name in (("seconds", "all"), ("after_knn", "after kNN")):
                label = f"{side}, {name}: N^{row[f'exponent_{key}']:.2f}"
                right.plot(growth["num_samples"], row[key], marker="o", label=label)
        right.set(xscale="log", yscale="log", xlabel="N", ylabel="seconds", title="growth")
        right.legend()
    write_picture(path, figure)
