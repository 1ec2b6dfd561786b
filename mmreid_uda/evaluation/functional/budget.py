"""How many queries may be evaluated at a time within a budget of memory."""

from __future__ import annotations

from mmengine.logging import print_log

from mmreid_uda.utils import InputError, parse_size

__all__ = ["log_memory", "rows_within"]

# A block's rows if memory does not matter: enough for the matrix product, and still at most 256 MiB of float32.
_MOST_ROWS, _FEW_ROWS = 512, 32
_BLOCK_ENTRIES = 2**26
# Steps over fewer pairs of images take seconds and are not announced.
_LONG_STEP = 10**8


def rows_within(
    max_memory: str | int | None, num_columns: int, *, row_bytes: int, fixed_bytes: int, step: str
) -> int:
    """Choose how many rows a block of distances has.

    Args:
        max_memory: Budget above the features, such as ``'4GiB'``; None sets no limit.
        num_columns: Columns of the block.
        row_bytes: What each row needs.
        fixed_bytes: What the step needs beside the rows.
        step: Its name, for the message.

    Returns:
        Rows, 1..512.

    Raises:
        InputError: Not even one row fits.
    """
    rows = min(max(_BLOCK_ENTRIES // max(num_columns, 1), _FEW_ROWS), _MOST_ROWS)
    if max_memory is None:
        return rows
    budget = parse_size(max_memory, "max_memory")
    fitting = (budget - fixed_bytes) // max(row_bytes, 1)
    if fitting < 1:
        raise InputError(
            f"max_memory={max_memory!r} allows {budget / 2**20:.0f} MiB, but {step} needs at least "
            f"{(fixed_bytes + row_bytes) / 2**20:.0f} MiB beside the features: set max_memory to more."
        )
    return min(rows, fitting)


def log_memory(step: str, num_queries: int, num_gallery: int, rows: int, num_bytes: int) -> None:
    """Write a line about a step that will take long, before it begins.

    Args:
        step: Its name.
        num_queries: Q.
        num_gallery: G.
        rows: Queries per block.
        num_bytes: What the step will hold beside the features.
    """
    if num_queries * num_gallery >= _LONG_STEP:
        print_log(
            f"{step}: {num_queries} queries × {num_gallery} gallery images in blocks of {rows} queries, "
            f"{num_bytes / 2**20:.0f} MiB beside the features",
            logger="current",
        )
