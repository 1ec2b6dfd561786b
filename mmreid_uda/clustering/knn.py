"""Exact nearest neighbours by cosine similarity, in blocks: the first step of every graph-based clusterer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils import InputError

__all__ = ["Neighbours", "find_neighbours", "knn", "unit_rows"]

# 2048 × 2048 float32 similarities are 16 MiB: large enough for a fast product, small enough for the cache of a CPU.
BLOCK_SIZE = 2048
# Low half of a merge key: (similarity, then lower index first) as one sortable integer.
_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of N unit vectors, nearest first.

    Args:
        indices: int64 (N, k); the first column is the row itself.
        similarities: float32 (N, k), cosine of each of them, descending after the first column.
        lowest: float32 (N,), the smallest similarity of a row to *any* other row: its farthest point.
    """

    indices: np.ndarray
    similarities: np.ndarray
    lowest: np.ndarray


def knn(
    features: np.ndarray | Tensor, k: int, *, block_size: int = BLOCK_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Find the ``k`` most similar rows of every row, exactly.

    A row is its own first neighbour, also among exact duplicates; other ties go to the lower index. Only the upper
    triangle of blocks is multiplied, so a similarity is the same number in both directions; memory is O(N·k) plus two
    blocks. A CUDA tensor is searched on its device.

    Args:
        features: float32 (N, D), rows of unit norm.
        k: Neighbours per row, itself included, ``1 <= k <= N``.
        block_size: Rows and columns of a block of similarities (``4·block_size²`` bytes each). Defaults to 2048.

    Returns:
        indices int64 (N, k) and similarities float32 (N, k), most similar first.

    Raises:
        InputError: If ``k`` is outside ``1..N`` or the features are not a matrix.
    """
    found = find_neighbours(features, k, block_size=block_size)
    return found.indices, found.similarities


def find_neighbours(
    features: np.ndarray | Tensor, k: int, *, block_size: int = BLOCK_SIZE
) -> Neighbours:
    """:func:`knn`, with the similarity to the farthest point of each row as a by-product.

    Args, errors: as :func:`knn`.

    Returns:
        The neighbours; :attr:`Neighbours.lowest` scales the distances of the 'full' Jaccard variant.
    """
    rows = torch.as_tensor(features)
    if rows.ndim != 2 or not 1 <= k <= len(rows):
        raise InputError(
            f"found features of shape {tuple(rows.shape)} and k={k} neighbours, expected (N, D) with 1 <= k <= N: "
            "lower k1 of the clusterer or add images."
        )
    rows = rows.to(torch.float32).contiguous()
    keys = torch.full((len(rows), k), torch.iinfo(torch.int64).min, device=rows.device)
    lowest = torch.full((len(rows),), torch.inf, device=rows.device)
    starts = range(0, len(rows), block_size)
    for first in starts:
        for second in range(first, len(rows), block_size):
            above, right = slice(first, first + block_size), slice(second, second + block_size)
            block = rows[above] @ rows[right].T
            if first == second:
                block.fill_diagonal_(torch.inf)
            else:
                _absorb(keys, lowest, right, block.T.contiguous(), first)
            _absorb(keys, lowest, above, block, second)
    indices, similarities = _decode(keys)
    similarities[:, 0] = torch.einsum("nd,nd->n", rows, rows)
    if len(rows) == 1:
        lowest = similarities[:, 0]
    return Neighbours(indices.cpu().numpy(), similarities.cpu().numpy(), lowest.cpu().numpy())


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Scale every row to unit norm.

    Args:
        features: (N, D), no zero rows.

    Returns:
        float32 (N, D).
    """
    features = np.asarray(features, dtype=np.float32)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _absorb(keys: Tensor, lowest: Tensor, rows: slice, block: Tensor, first_column: int) -> None:
    """Let a block of similarities compete for the places in the running lists of its rows.

    Args:
        keys: int64 (N, k), the lists so far, changed in place.
        lowest: float32 (N,), smallest similarity so far, changed in place.
        rows: The rows of the block.
        block: float32 (R, C); +inf marks a row itself.
        first_column: Index of the block's first column.
    """
    lowest[rows] = torch.minimum(lowest[rows], block.amin(1))
    values, columns = _top(block, min(keys.shape[1], block.shape[1]))
    candidates = torch.cat([keys[rows], _encode(values, columns + first_column)], 1)
    keys[rows] = candidates.topk(keys.shape[1], dim=1).values


def _top(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest entries of each row, in any order; of equal ones at the boundary those of lowest index."""
    if k == block.shape[1]:
        return block, torch.arange(k, device=block.device).expand_as(block)
    values, columns = block.topk(k + 1, dim=1)
    tied = (values[:, k - 1] == values[:, k]).nonzero().squeeze(1)
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
