"""The table that a run prints when it starts: identities, images, cameras, and what else is known of the images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from mmengine.dist import is_main_process

from .base_reid import ReIDDataset, log_once

__all__ = ["log_statistics", "statistics_table"]

_HEADER = ("dataset", "split", "ids", "images", "cameras")
# Columns that are left out where no dataset has anything in them.
_MORE = ("times", "tracklets", "links", "ignored", "folders are")


def statistics_table(datasets: Iterable[ReIDDataset]) -> str:
    """Lay out the size of each dataset.

    Args:
        datasets: Splits of any datasets.

    Returns:
        One line per split under a header, with the version of data that have several; ``-`` stands for unknown
        identities or cameras, ``6+?`` for images of 6 cameras and some of unknown ones. Where any split has them, also
        the share of images whose time is known, the tracklets, the links, the images to ignore, and what sub-folders
        were taken for.
    """
    rows = [(*_HEADER, *_MORE), *(_row(dataset) for dataset in datasets)]
    shown = [
        column
        for column in range(len(rows[0]))
        if column < len(_HEADER) or any(row[column] != "-" for row in rows[1:])
    ]
    rows = [tuple(row[column] for column in shown) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )


def log_statistics(datasets: Iterable[ReIDDataset]) -> None:
    """Write the table to the log of rank 0, once per process and content: val and test often read the same sets.

    Args:
        datasets: A row of the table each.
    """
    if is_main_process():
        log_once(f"Datasets:\n{statistics_table(datasets)}")


def _row(dataset: ReIDDataset) -> tuple[str, ...]:
    ids = f"{dataset.num_pids:,}" if dataset.num_pids else "-"
    # Of some images alone: there may be more cameras than are known.
    cameras = (
        f"{dataset.num_cams:,}{'' if dataset.has_cameras else '+?'}" if dataset.num_cams else "-"
    )
    name = f"{dataset.name} {dataset.version}".rstrip()
    evidence = dataset.evidence
    timed = float(np.isfinite(evidence.times).mean())
    counts = (
        len(np.unique(evidence.tracklets[evidence.tracklets >= 0])),
        len(evidence.links),
        int(evidence.ignored.sum()),
    )
    return (
        *(name, dataset.split, ids, f"{len(dataset):,}", cameras),
        f"{timed:.0%}" if timed else "-",
        *(f"{count:,}" if count else "-" for count in counts),
        dataset.folders_are or "-",
    )
