"""Rank lists: each query with the gallery images nearest to it, right ones framed green, wrong ones red."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .tiles import GREEN, GREY, RED, framed, read_crop, row_of, stacked

__all__ = ["RankRow", "draw_rank_list", "rank_rows"]

RankRow = tuple[str, Sequence[tuple[str, bool]]]
"""A query's path and, from the nearest on, gallery paths with whether the identity is the query's."""


def rank_rows(
    features: np.ndarray,
    pids: np.ndarray,
    camids: np.ndarray,
    is_query: np.ndarray,
    paths: Sequence[str],
    queries: Sequence[int],
    topk: int = 8,
) -> list[RankRow]:
    """Find the gallery images nearest to some queries, by the rules of the evaluation.

    Gallery images of the query's identity *and* camera, and junk of identity -1, are left out.

    Args:
        features: float32 (N, D), unit rows, of one test set.
        pids: int (N,).
        camids: int (N,).
        is_query: bool (N,); the others are the gallery.
        paths: Of the N images.
        queries: Which rows to search for.
        topk: Gallery images per query.

    Returns:
        What :func:`draw_rank_list` draws.
    """
    gallery = np.flatnonzero(~is_query & (pids != -1))
    rows: list[RankRow] = []
    for query in queries:
        order = gallery[np.argsort(-(features[gallery] @ features[query]), kind="stable")]
        ranked = order[(pids[order] != pids[query]) | (camids[order] != camids[query])][:topk]
        rows.append(
            (paths[query], [(paths[one], bool(pids[one] == pids[query])) for one in ranked])
        )
    return rows


def draw_rank_list(
    rows: Sequence[RankRow],
    captions: Sequence[str] = (),
    size: tuple[int, int] = (128, 64),
) -> np.ndarray:
    """Draw queries and their nearest gallery images.

    Args:
        rows: Queries and what was found for them, at least one.
        captions: A line of text above each row, or none at all.
        size: Height and width of an image in pixels.

    Returns:
        A BGR picture, uint8 (H, W, 3).

    Raises:
        InputError: If an image cannot be read.
    """
    drawn = []
    for query, gallery in rows:
        found = [framed(read_crop(path), size, GREEN if right else RED) for path, right in gallery]
        groups = [[framed(read_crop(query), size, GREY)]] + ([found] if found else [])
        drawn.append(row_of(groups))
    return stacked(drawn, captions)
