"""Distances between queries and gallery, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils import InputError

__all__ = ["distance_blocks", "prepare_features"]

# Entries of one distance block (256 MiB of float32), and the rows it keeps even if the gallery is huge: with fewer
# rows the matrix product would spend its time reading the gallery.
_BLOCK_ENTRIES = 2**26
_MIN_ROWS, _MAX_ROWS = 32, 512


def prepare_features(features: Tensor | np.ndarray, *, normalize: bool = True) -> Tensor:
    """Bring features into the form in which they are compared.

    Args:
        features: (N, D), any floating type, any device.
        normalize: Divide each row by its Euclidean norm; a row of zeros stays zero.

    Returns:
        float32 (N, D) on the device of ``features``.

    Raises:
        InputError: The array is not two-dimensional, or has NaN or infinite entries.
    """
    tensor = torch.as_tensor(features).detach().float()
    if tensor.dim() != 2:
        raise InputError(
            f"features have shape {tuple(tensor.shape)}, but one row per image is needed: (images, dimensions)."
        )
    norms = torch.linalg.vector_norm(tensor, dim=1, keepdim=True)
    broken = int((~norms.isfinite()).sum())
    if broken:
        raise InputError(
            f"{broken} of {len(tensor)} features have NaN or infinite entries, so they cannot be ranked: "
            f"the training has probably diverged; lower `optim_wrapper.optimizer.lr` or use an earlier checkpoint."
        )
    return tensor / norms.clamp_min(1e-12) if normalize else tensor


def distance_blocks(
    query_features: Tensor | np.ndarray,
    gallery_features: Tensor | np.ndarray,
    *,
    normalize: bool = True,
    block_size: int | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Squared Euclidean distances, a block of queries at a time, so that no Q×G matrix is ever held.

    For rows of unit norm this is ``2 - 2 cos``: the order is that of the cosine similarity.

    Args:
        query_features: (Q, D).
        gallery_features: (G, D).
        normalize: Compare L2-normalised rows (METHODS of nearly all papers); False compares them as they are.
        block_size: Queries per block; None chooses it from the size of the gallery (at most 512).

    Yields:
        ``(start, block)``: the index of the block's first query, and its distances, float32 (rows, G), ``>= 0``.

    Raises:
        InputError: The features are not finite, or their dimensions differ.
    """
    query = prepare_features(query_features, normalize=normalize)
    gallery = prepare_features(gallery_features, normalize=normalize).to(query.device)
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            f"queries have {query.shape[1]} dimensions and the gallery {gallery.shape[1]}: extract both with the "
            f"same model and test configuration."
        )
    if block_size is None:
        block_size = min(max(_BLOCK_ENTRIES // max(len(gallery), 1), _MIN_ROWS), _MAX_ROWS)
    gallery_squared = gallery.square().sum(1)
    for start in range(0, len(query), block_size):
        rows = query[start : start + block_size]
        squares = rows.square().sum(1, keepdim=True) + gallery_squared
        yield start, squares.addmm_(rows, gallery.t(), alpha=-2).clamp_(min=0)
