"""The exact search by torch, without kernels and on GPUs: ``topk`` of every block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmreid_uda.utils.progress import Progress

from .lists import Lists, Wanted

__all__ = ["GPU_BLOCK", "TORCH_BLOCK", "search_by_torch"]

TORCH_BLOCK = 2048
# On a GPU, whose memory holds the block (256 MiB) and its sortable keys (512 MiB) at once.
GPU_BLOCK = 8192
# Low half of a merge key: (similarity, then lower index first) as one sortable integer.
_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1


def search_by_torch(
    rows: Tensor,
    wanted: Sequence[Wanted],
    blocks: Sequence[tuple[int, int]],
    size: int,
    waiting: bool | None = None,
) -> list[Lists]:
    """Let the similarities of blocks compete, on the device of the rows.

    Args:
        rows: float32 (N, D).
        wanted: Who competes.
        blocks: First rows and first columns.
        size: Rows of a block.
        waiting: Whether a block may be looked at before the next one is begun, which saves work on a CPU; a GPU would
            stand still. None knows by the device. The lists are the same.

    Returns:
        A list for each that is wanted; ``min_similarity`` comes for free.
    """
    if waiting is None:
        waiting = rows.device.type == "cpu"
    nowhere = _encode(
        torch.tensor(-torch.inf, device=rows.device), torch.tensor(len(rows), device=rows.device)
    )
    all_keys = [nowhere.repeat(len(rows), one.k) for one in wanted]
    cameras = [torch.from_numpy(one.cameras).to(rows.device) for one in wanted]
    min_similarity = torch.full((len(rows),), torch.inf, device=rows.device)

    def merge(part: slice, block: Tensor, others: slice) -> None:
        min_similarity[part] = torch.minimum(min_similarity[part], block.amin(1))
        for one, keys, camera in zip(wanted, all_keys, cameras):
            competing = block
            if len(camera):
                same = camera[part, None] == camera[None, others]
                if waiting and one.same and not bool(same.any()):
                    continue
                competing = block.masked_fill(~same if one.same else same, -torch.inf)
            _merge_topk(keys, part, competing, others.start, waiting)

    progress = Progress("finding neighbours", len(blocks), "blocks")
    for number, (first, second) in enumerate(blocks):
        progress.update(number)
        above, right = slice(first, first + size), slice(second, second + size)
        block = rows[above] @ rows[right].T
        if first == second:
            block.fill_diagonal_(torch.inf)
        else:
            merge(right, block.T.contiguous(), above)
        merge(above, block, right)
    results = []
    for one, keys in zip(wanted, all_keys):
        indices, similarities = _decode(keys)
        # Images that did not compete may stand where places are left.
        indices = indices.masked_fill(similarities == -torch.inf, len(rows)).to(torch.int32)
        arrays = (part.cpu().numpy() for part in (indices, similarities, min_similarity))
        results.append(Lists(one, *arrays))
    return results


def _merge_topk(keys: Tensor, rows: slice, block: Tensor, first_column: int, waiting: bool) -> None:
    """Let a block of similarities compete for the places in the running lists of its rows.

    Args:
        keys: int64 (N, k), the lists so far, changed in place.
        rows: The rows of the block.
        block: float32 (R, C); +inf marks a row itself, -inf what does not compete.
        first_column: Index of the block's first column.
        waiting: Whether ties may be looked at; else all entries are made sortable, which needs no look.
    """
    k = min(keys.shape[1], block.shape[1])
    if waiting:
        values, columns = _top(block, k)
        best = _encode(values, columns + first_column)
    else:
        columns = torch.arange(first_column, first_column + block.shape[1], device=block.device)
        best = _encode(block, columns).topk(k, dim=1, sorted=False).values
    candidates = torch.cat([keys[rows], best], 1)
    keys[rows] = candidates.topk(keys.shape[1], dim=1).values


def _top(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest entries of each row, in any order; of equal ones at the boundary those of lowest index."""
    if k == block.shape[1]:
        return block, torch.arange(k, device=block.device).expand_as(block)
    values, columns = block.topk(k + 1, dim=1)
    tied = (values[:, k - 1] == values[:, k]) & (values[:, k] > -torch.inf)
    tied = tied.nonzero().squeeze(1)
    values, columns = values[:, :k], columns[:, :k]
    if len(tied):
        # topk keeps any of the equal entries; choose again in these rows.
        entries, boundary = block[tied], values[tied, k - 1].unsqueeze(1)
        above, equal = entries > boundary, entries == boundary
        room = k - above.sum(1, keepdim=True)
        chosen = above | (equal & (equal.cumsum(1) <= room))
        columns[tied] = chosen.nonzero()[:, 1].view(-1, k)
        values[tied] = entries.gather(1, columns[tied])
    return values, columns


def _encode(similarities: Tensor, indices: Tensor) -> Tensor:
    """Integers that sort as (similarity ascending, index descending); undone by :func:`_decode`."""
    bits = (similarities + 0.0).view(torch.int32)  # + 0.0 makes -0 and +0 the same number
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
    return (ordered << _INDEX_BITS) + (_INDEX_MASK - indices)


def _decode(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Indices int64 and similarities float32 of :func:`_encode`'s integers."""
    indices = _INDEX_MASK - (keys & _INDEX_MASK)
    ordered = (keys >> _INDEX_BITS).to(torch.int32)
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    return indices, bits.view(torch.float32)
