"""Distances between queries and gallery, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils import InputError, check_vectors, in_threads, single_threaded_products
from mmreid_uda.utils.dist import own_turns

from .budget import rows_within

__all__ = ["as_rows", "as_sides", "distance_blocks", "prepare_features", "row_scales"]

# Gallery images of one product: the tile of distances stays in a core's cache until it is finished.
_TILE = 1024


def prepare_features(features: Tensor | np.ndarray, *, normalize: bool = True) -> Tensor:
    """Bring features into the form in which they are compared.

    Args:
        features: (N, D), any floating type, any device.
        normalize: Divide each row by its Euclidean norm.

    Returns:
        float32 (N, D) on the device of ``features``.

    Raises:
        InputError: The array is not two-dimensional, has NaN or infinite entries, or rows of zeros to be normalised.
    """
    rows = as_rows(features, normalize)
    scales, _ = row_scales(rows, normalize)
    return rows * scales[:, None] if normalize else rows


def as_rows(features: Tensor | np.ndarray, normalize: bool = True, of: str = "images") -> Tensor:
    """Check features that are to be compared.

    Args:
        features: (N, D), any real type, any device.
        normalize: Whether they are compared by direction only: no row may be zero.
        of: What they are the features of, for the sentence.

    Returns:
        float32 (N, D), without a copy where they are that.

    Raises:
        InputError: As :func:`~mmreid_uda.utils.check_vectors`.
    """
    return torch.as_tensor(check_vectors(features, f"features of the {of}", zeros=not normalize))


def as_sides(
    query: Tensor | np.ndarray, gallery: Tensor | np.ndarray, normalize: bool = True
) -> tuple[Tensor, Tensor]:
    """Check queries and a gallery that are to be compared with each other.

    Args:
        query: (Q, D), any real type, any device.
        gallery: (G, D).
        normalize: As for :func:`as_rows`.

    Returns:
        float32 (Q, D) and (G, D), both on the queries' device.

    Raises:
        InputError: As :func:`as_rows`, or their dimensions differ.
    """
    queries = as_rows(query, normalize, "queries")
    images = as_rows(gallery, normalize, "gallery images").to(queries.device)
    if queries.shape[1] != images.shape[1]:
        raise InputError(
            f"found queries of {queries.shape[1]} dimensions and a gallery of {images.shape[1]}, expected features of "
            "one model: extract both with the same config and checkpoint."
        )
    return queries, images


def row_scales(rows: Tensor, normalize: bool = True) -> tuple[Tensor, Tensor]:
    """What the rows are to be multiplied with, and the squared norms that they have then.

    Args:
        rows: float32 (N, D), of :func:`as_rows`.
        normalize: Whether rows are compared by direction only.

    Returns:
        Scales float32 (N,): one over the norm, or ones. Squares float32 (N,).
    """
    norms = torch.linalg.vector_norm(rows, dim=1)
    scales = 1 / norms.clamp_min(1e-12) if normalize else torch.ones_like(norms)
    return scales, (norms * scales).square()


def distance_blocks(
    query_features: Tensor | np.ndarray,
    gallery_features: Tensor | np.ndarray,
    *,
    normalize: bool = True,
    block_size: int | None = None,
    reuse_memory: bool = False,
    over_ranks: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """Squared Euclidean distances, a block of queries at a time, so that no Q×G matrix is ever held.

    For rows of unit norm this is ``2 - 2 cos``: the order is that of the cosine similarity. The features are not
    copied: norms are applied to the products. On the CPU threads fill tiles of a block, and the distances do not depend
    on their number.

    Args:
        query_features: (Q, D).
        gallery_features: (G, D).
        normalize: Compare L2-normalised rows, as nearly all papers do; False compares them as they are.
        block_size: Queries per block; None chooses it from the size of the gallery (at most 512).
        reuse_memory: Every block overwrites the one before.
        over_ranks: Leave the blocks of other ranks out; ranks take them in turn, so that a block is the same whatever
            their number.

    Yields:
        ``(start, block)``: the index of the block's first query, and its distances, float32 (rows, G), ``>= 0``.

    Raises:
        InputError: The features are not finite, zero where they are normalised, or their dimensions differ.
    """
    query, gallery = as_sides(query_features, gallery_features, normalize)
    if block_size is None:
        block_size = rows_within(None, len(gallery), row_bytes=0, fixed_bytes=0, step="")
    query_scales, query_squares = row_scales(query, normalize)
    gallery_scales, gallery_squares = row_scales(gallery, normalize)
    fill = _fill_on_cpu if query.device.type == "cpu" else _fill_on_device
    buffer = query.new_empty(min(block_size, len(query)), len(gallery)) if reuse_memory else None
    starts = range(0, len(query), block_size)
    for start in own_turns(starts) if over_ranks else starts:
        part = slice(start, start + block_size)
        rows = query[part] * (-2 * query_scales[part, None])
        if buffer is None:
            block = query.new_empty(len(rows), len(gallery))
        else:
            block = buffer[: len(rows)]
        fill(block, rows, query_squares[part], gallery, gallery_scales, gallery_squares)
        yield start, block


def _fill_on_device(
    block: Tensor,
    rows: Tensor,
    squares: Tensor,
    gallery: Tensor,
    gallery_scales: Tensor,
    gallery_squares: Tensor,
) -> None:
    """Write ``|q|² + |g|² - 2 q·g`` into a block.

    Args:
        block: (rows, G), the result.
        rows: (rows, D), -2 q.
        squares: (rows,), |q|².
        gallery: (G, D), still to be scaled.
        gallery_scales: (G,).
        gallery_squares: (G,), |g|² after scaling.
    """
    torch.mm(rows, gallery.t(), out=block)
    block.mul_(gallery_scales).add_(gallery_squares).add_(squares[:, None]).clamp_(min=0)


def _fill_on_cpu(block: Tensor, *arguments: Tensor) -> None:
    """As :func:`_fill_on_device`, a tile in each thread: NumPy's products on one thread each are the faster ones."""
    out, rows, squares, gallery, gallery_scales, gallery_squares = (
        tensor.numpy() for tensor in (block, *arguments)
    )

    def fill_tile(first: int) -> None:
        columns = slice(first, first + _TILE)
        tile = out[:, columns]
        np.matmul(rows, gallery[columns].T, out=tile)
        tile *= gallery_scales[columns]
        tile += gallery_squares[columns]
        tile += squares[:, None]
        np.maximum(tile, 0, out=tile)

    with single_threaded_products():
        in_threads(fill_tile, range(0, len(gallery), _TILE))
