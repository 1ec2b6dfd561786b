"""Where the matches of a block of queries stand in the ranked gallery, counted without sorting the gallery."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils import InputError, kernels_available, over_rows

from .protocol import Protocol

__all__ = ["SCRATCH", "count_match_ranks", "runs_compiled"]

# Entries ranked at once where kernels are not used, and bytes of scratch memory for each of them.
_RANK_ENTRIES = 2**21
SCRATCH = 32 * _RANK_ENTRIES


def runs_compiled(device: torch.device) -> bool:
    """Whether distances on a device are ranked by compiled kernels.

    Args:
        device: Where the distances are.

    Returns:
        True on a CPU, if numba is installed.
    """
    return device.type == "cpu" and kernels_available()


def count_match_ranks(
    block: Tensor, start: int, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray]:
    """Place of every match in the stable order of its row: #{nearer} + #{equal, and earlier in the gallery}.

    On the CPU with numba every match is compared with every entry, in vectors: for the few matches that a query has
    this is faster than any sorting. Elsewhere every entry falls into the bin of the first match behind it.

    Args:
        block: (rows, kept gallery), distances of queries ``start..``; not changed.
        start: Index of the block's first query.
        protocol: Tells matches and ignored entries.

    Returns:
        Places, 0-based, int64 (rows, most matches of a row), ascending; only the first ``count`` of a row mean
        something. And ``count``, int64 (rows,).

    Raises:
        InputError: A distance is NaN or infinite.
    """
    if runs_compiled(block.device):
        match_ranks, count, finite = _with_kernels(block, start, protocol)
    else:
        match_ranks, count, finite = _without_kernels(block, start, protocol)
    if not finite:
        raise InputError(
            f"the distances of queries {start}..{start + len(block) - 1} hold NaN or inf, so they cannot be ranked."
        )
    return match_ranks, count


def _with_kernels(
    block: Tensor, start: int, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray, bool]:
    from . import kernels

    part = slice(start, start + len(block))
    width = max(int(protocol.run_length[part].max()), 1)
    match_ranks = np.zeros((len(block), width), np.int64)
    count = np.zeros(len(block), np.int64)
    finite = over_rows(
        kernels.count_match_ranks,
        len(block),
        block.contiguous().numpy(),
        protocol.run_start[part],
        protocol.run_length[part],
        protocol.by_identity,
        protocol.query_exclusion_keys[part],
        protocol.gallery_exclusion_keys,
        match_ranks,
        count,
    )
    return match_ranks, count, all(finite)


def _without_kernels(
    block: Tensor, start: int, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray, bool]:
    """As :func:`_with_kernels`, by torch on the device of the block."""
    (row, column), ignored = protocol.pairs(start, start + len(block))
    num_rows, num_gallery = block.shape
    count = np.bincount(row, minlength=num_rows)
    width = max(int(count.max()), 1)
    slot = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    columns = np.full((num_rows, width), num_gallery)
    columns[row, slot] = column
    is_match = torch.from_numpy(columns < num_gallery).to(block.device)
    match_column = torch.from_numpy(columns).to(block.device)
    match = block.gather(1, match_column.clamp(max=num_gallery - 1))
    match, order = match.masked_fill(~is_match, torch.inf).sort(dim=1, stable=True)
    match_column = match_column.gather(1, order)

    step, parts = max(_RANK_ENTRIES // num_gallery, 1), []
    for first in range(0, num_rows, step):
        rows = slice(first, first + step)
        entries = block[rows].clone()
        # NaN wins both extremes, so that one pass finds everything that is not a number.
        if not bool(torch.stack(entries.aminmax()).isfinite().all()):
            return columns, count, False
        inside = (ignored[0] >= first) & (ignored[0] < first + step)
        drop_row, drop_column = (
            torch.from_numpy(index[inside]).to(block.device) for index in ignored
        )
        entries[drop_row - first, drop_column] = torch.inf
        parts.append(_count_before(entries, match[rows], match_column[rows]))
    return torch.cat(parts).cpu().numpy(), count, True


def _count_before(block: Tensor, match: Tensor, match_column: Tensor) -> Tensor:
    """Count the entries that stand before each match.

    Every entry falls into the bin of the first match that it stands before; the running sum over the bins then counts
    the entries before each match.

    Args:
        block: (rows, G) distances.
        match: (rows, M) distances of the matches, ascending by (distance, column), filled up with inf.
        match_column: int64 (rows, M), their columns.

    Returns:
        int64 (rows, M).
    """
    num_rows, num_gallery = block.shape
    width = match.shape[1]
    bins = torch.searchsorted(match, block)
    # An entry as far as a match stands before it if its column is smaller. Both are compared by one integer key:
    # (row, first match of that distance, column).
    row, column = torch.nonzero(match.gather(1, bins.clamp(max=width - 1)) == block, as_tuple=True)
    first_row = torch.arange(num_rows, device=block.device)[:, None] * (width + 1)
    match_keys = (first_row + torch.searchsorted(match, match)) * (num_gallery + 1) + match_column
    keys = (row * (width + 1) + bins[row, column]) * (num_gallery + 1) + column
    bins[row, column] = torch.searchsorted(match_keys.flatten(), keys, right=True) - row * width
    histogram = torch.bincount((bins + first_row).flatten(), minlength=num_rows * (width + 1))
    return histogram.view(num_rows, width + 1).cumsum(1)[:, :width]
