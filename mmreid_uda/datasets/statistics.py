"""The table of identities, images and cameras that a run prints when it starts."""

from __future__ import annotations

from collections.abc import Iterable

from mmengine.dist import is_main_process

from .base_reid import ReIDDataset, log_once

__all__ = ["log_statistics", "statistics_table"]

_HEADER = ("dataset", "split", "ids", "images", "cameras")


def statistics_table(datasets: Iterable[ReIDDataset]) -> str:
    """Lay out the size of each dataset.

    Args:
        datasets: Splits of any datasets.

    Returns:
        One line per split under a header, with the version of data that have several; ``-`` stands for unknown
        identities or cameras, ``6+?`` for images of 6 cameras and some of unknown ones.
    """
    rows = [_HEADER, *(_row(dataset) for dataset in datasets)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
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


def _row(dataset: ReIDDataset) -> tuple[str, str, str, str, str]:
    ids = f"{dataset.num_pids:,}" if dataset.num_pids else "-"
    # Of some images alone: there may be more cameras than are known.
    cameras = (
        f"{dataset.num_cams:,}{'' if dataset.has_cameras else '+?'}" if dataset.num_cams else "-"
    )
    name = f"{dataset.name} {dataset.version}".rstrip()
    return name, dataset.split, ids, f"{len(dataset):,}", cameras
