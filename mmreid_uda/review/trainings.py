"""From what was said to the next training, and what became of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmreid_uda.checkpoint import find_labels, run_config
from mmreid_uda.clustering import cluster_statistics, label_health
from mmreid_uda.config import load_config
from mmreid_uda.datasets.links import ImageFiles, read_links, resolve_links
from mmreid_uda.structures import Evidence
from mmreid_uda.utils.files import open_arrays, read_results

__all__ = ["Comparison", "compare_runs", "free_folder", "next_training"]


class Comparison(NamedTuple):
    """One figure of two runs; None = unknown."""

    name: str
    before: float | None
    after: float | None


def next_training(
    work_dir: str | Path, links: str | Path, new_work_dir: str | Path | None = None
) -> list[str]:
    """The command that trains as a run was trained, with links.

    Args:
        work_dir: Folder of the run.
        links: The file of links.
        new_work_dir: Folder of the new run; None for ``WORK_DIR-2`` or the next that is free.

    Returns:
        The words of the command.

    Raises:
        InputError: There is no run.
    """
    config = run_config(work_dir)
    target = load_config(config).get("target")
    named = ["target._delete_=True", f"target.name={target}"] if isinstance(target, str) else []
    folder = free_folder(work_dir) if new_work_dir is None else Path(new_work_dir)
    options = [*named, f"target.links={Path(links).resolve()}"]
    return ["mmreid", "train", str(config), "--work-dir", str(folder), "--cfg-options", *options]


def free_folder(work_dir: str | Path) -> Path:
    """A folder beside a run for the next one.

    Args:
        work_dir: Folder of the run.

    Returns:
        ``WORK_DIR-<n>``, the first from 2 on that is not there; of a run that is named so
        after one beside it, from its number on.
    """
    work_dir = Path(work_dir)
    first = work_dir.name
    number = 2
    found = re.fullmatch(r"(.+)-([0-9]{1,4})", first)
    if found and work_dir.with_name(found[1]).exists():
        first, number = found[1], int(found[2]) + 1
    while (folder := work_dir.with_name(f"{first}-{number}")).exists():
        number += 1
    return folder


def compare_runs(
    before: str | Path, after: str | Path, links: str | Path, root: str | Path
) -> list[Comparison]:
    """Hold the last labels of two runs, and their last evaluations, against each other.

    Links are those of the file now, for both runs: the first may have been trained before anybody had said anything.

    Args:
        before: Folder of a run.
        after: Folder of another one.
        links: The file of links.
        root: Folder that its paths are relative to.

    Returns:
        Violated links, figures of the clusters, those that the run has logged of its labels, and metrics of the test
        sets; in this order. What only one run knows is None for the other.

    Raises:
        InputError: A folder holds no run with pseudo-labels.
    """
    sides = [_figures(Path(one), links, root) for one in (before, after)]
    names = dict.fromkeys(name for side in sides for name in side)
    return [Comparison(name, sides[0].get(name), sides[1].get(name)) for name in names]


def _figures(run: Path, links: str | Path, root: str | Path) -> dict[str, float]:
    """What is known of a run."""
    file = find_labels(run)
    with open_arrays(file, "holds no pseudo-labels", "expected those of a run") as arrays:
        paths, labels = arrays["paths"].tolist(), arrays["labels"].astype(np.int64)
        logged = json.loads(str(arrays["statistics"]))
    rows = read_links(str(links)) if Path(links).exists() else []
    said, ignored, _ = resolve_links(rows, ImageFiles(paths, str(root)))
    evidence = Evidence(np.full(len(paths), -1), ignored=ignored, links=said)
    found = {
        **label_health(labels, evidence=evidence),
        **cluster_statistics(labels[~ignored]),
    }
    found = {**found, **{name: value for name, value in logged.items() if name not in found}}
    results = run / "results.json"
    epochs = read_results(results) if results.is_file() else {}
    return {**found, **(epochs[max(epochs)] if epochs else {})}
