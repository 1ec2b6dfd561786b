"""Query expansion: a query becomes the weighted mean of itself and what it finds first, and is asked again."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn import functional

from mmreid_uda.utils.dist import gather_turns
from mmreid_uda.utils.progress import Progress
from mmreid_uda.utils.values import Count, checked

from .budget import log_memory, rows_within
from .distance import distance_blocks, prepare_features

__all__ = ["Alpha", "expand_queries"]

Alpha = Annotated[float, Ge(0), Lt(math.inf)]
"""The power that cosines are weighed with."""


@checked
def expand_queries(
    query_features: Tensor | np.ndarray,
    gallery_features: Tensor | np.ndarray,
    k: Count = 10,
    alpha: Alpha = 3.0,
    *,
    database_side: bool = False,
    block_size: int | None = None,
    max_memory: str | int | None = None,
    over_ranks: bool = False,
) -> tuple[Tensor, Tensor]:
    """Move every query towards its first k gallery images: ``q <- (q + Σ cos(q, g)^α g) / |…|``.

    α = 0 gives all of them the query's own weight 1: average query expansion (AQE). A negative cosine counts as 0.
    Labels are not used. Rankings are made a block of queries at a time.

    Args:
        query_features: (Q, D), any device; compared and averaged with unit norm.
        gallery_features: (G, D).
        k: Gallery images to average over, >= 1; all of them if there are fewer.
        alpha: α >= 0; the larger, the less the far ones weigh. The paper uses 3.
        database_side: First move every gallery image towards its first k *other* gallery images in the same way; the
            queries then meet the moved ones.
        block_size: Queries per block; None chooses it from the size of the gallery.
        max_memory: Budget for what is held beside the given features, such as ``'4GiB'``; None sets no limit.
        over_ranks: Share the blocks among all ranks, which must all call this with the same features; the result is
            that of one process, on every rank.

    Returns:
        Queries float32 (Q, D) and gallery float32 (G, D), rows of unit norm.

    Raises:
        InputError: A parameter is out of range, the features are not finite, or not even one query fits into
            ``max_memory``.

    Source: Chum et al., "Total Recall", ICCV 2007 (AQE); Radenović et al., "Fine-tuning CNN Image Retrieval with No
    Human Annotation", TPAMI 2019, section 3.3 (αQE).
    """
    query = prepare_features(query_features)
    gallery = prepare_features(gallery_features).to(query.device)
    num_queries, num_gallery = len(query), len(gallery)
    if block_size is None:
        # Unit rows and results, and per row the block, its order while the first k are chosen, and sums.
        held = 8 * query.numel() + 4 * (1 + database_side) * gallery.numel()
        row_bytes = 16 * num_gallery + 12 * query.shape[1]
        block_size = rows_within(
            max_memory,
            num_gallery,
            row_bytes=row_bytes,
            fixed_bytes=held,
            step="the query expansion",
        )
        log_memory(
            "query expansion",
            num_queries + database_side * num_gallery,
            num_gallery,
            block_size,
            held + block_size * row_bytes,
        )
    if database_side:
        gallery = _expand(gallery, gallery, k, alpha, block_size, over_ranks, among_themselves=True)
    return _expand(query, gallery, k, alpha, block_size, over_ranks), gallery


def _expand(
    rows: Tensor,
    gallery: Tensor,
    k: int,
    alpha: float,
    block_size: int,
    over_ranks: bool,
    among_themselves: bool = False,
) -> Tensor:
    """Move unit rows towards their first k in the gallery, themselves left out if they are the gallery: (N, D)."""
    expanded = []
    k = min(k, len(gallery) - among_themselves)
    blocks = distance_blocks(
        rows,
        gallery,
        normalize=False,
        block_size=block_size,
        reuse_memory=True,
        over_ranks=over_ranks,
    )
    for start, block in Progress("query expansion", len(rows), "images").watch(blocks):
        if among_themselves:
            block.diagonal(start).fill_(torch.inf)
        distances, columns = block.topk(k, dim=1, largest=False)
        weights = (1 - distances / 2).clamp_(min=0) ** alpha
        total = rows[start : start + len(block)].clone()
        for place in range(k):
            total += weights[:, place, None] * gallery[columns[:, place]]
        expanded.append(functional.normalize(total, dim=1))
    return gather_turns(expanded, len(rows), block_size) if over_ranks else torch.cat(expanded)
