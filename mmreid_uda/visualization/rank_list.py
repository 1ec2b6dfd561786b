"""Rank lists: each query with the gallery images nearest to it, right ones framed green, wrong ones red."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmreid_uda.utils import InputError, check_vectors

from .tiles import GRAY, GREEN, RED, framed, labeled, read_crop, row_of, stacked

__all__ = ["RankRow", "Ranked", "draw_rank_list", "query_caption", "rank_rows"]


class Ranked(NamedTuple):
    """A gallery image in the ranking of a query."""

    path: str
    identity: str
    """Its true one, as the data name it."""
    right: bool
    """Whether that is the query's."""


RankRow = tuple[str, Sequence[Ranked]]
"""A query's path and the gallery images from the nearest on."""


def rank_rows(
    features: np.ndarray,
    pids: np.ndarray,
    camids: np.ndarray,
    is_gallery: np.ndarray,
    paths: Sequence[str],
    queries: Sequence[int],
    topk: int = 8,
    ids: np.ndarray | None = None,
) -> list[RankRow]:
    """Find the gallery images nearest to some queries, by the rules of the evaluation.

    Gallery images of the query's identity *and* camera, and junk of identity -1, are left out.

    Args:
        features: float32 (N, D), unit rows, of one test set.
        pids: int (N,).
        camids: int (N,), negative = unknown.
        is_gallery: bool (N,); queries may be among them.
        paths: Of the N images.
        queries: Which rows to search for.
        topk: Gallery images per query.
        ids: (N,), what the data call the identities, if that is not ``pids``.

    Returns:
        What :func:`draw_rank_list` draws.

    Raises:
        InputError: Features are not finite.
    """
    features = check_vectors(features, "features", names=paths)
    names = pids if ids is None else ids
    gallery = np.flatnonzero(is_gallery & (pids != -1))
    rows: list[RankRow] = []
    for query in queries:
        order = gallery[np.argsort(-(features[gallery] @ features[query]), kind="stable")]
        left_out = (pids[order] == pids[query]) & (camids[order] == camids[query])
        # Of an unknown camera only the query itself.
        left_out &= (camids[query] >= 0) | (order == query)
        ranked = order[~left_out][:topk]
        rows.append(
            (
                paths[query],
                [
                    Ranked(paths[one], str(names[one]), bool(pids[one] == pids[query]))
                    for one in ranked
                ],
            )
        )
    return rows


def query_caption(
    path: str, identity: object, camera: int | None = None, ap: float | None = None
) -> str:
    """One line about a query.

    Args:
        path: Its file, of which the name is shown.
        identity: As the data name it.
        camera: None or negative = unknown.
        ap: Average precision, 0..1, shown in percent; None = not measured.

    Returns:
        Parts with commas in between.
    """
    parts = [os.path.basename(path), f"identity {identity}"]
    parts += [] if camera is None or camera < 0 else [f"camera {camera}"]
    parts += [] if ap is None else [f"AP {100 * ap:.1f} %"]
    return ", ".join(parts)


def draw_rank_list(
    rows: Sequence[RankRow], captions: Sequence[str] = (), size: tuple[int, int] = (128, 64)
) -> np.ndarray:
    """Draw queries and their nearest gallery images, each above its file name, and matches above their identity.

    Args:
        rows: Queries and what was found for them, at least one.
        captions: A line of text above each row, or none at all.
        size: Height and width of an image in pixels.

    Returns:
        A BGR picture, uint8 (H, W, 3).

    Raises:
        InputError: If there is no query, or an image cannot be read.
    """
    if not rows:
        raise InputError("found 0 queries to draw, expected at least 1; set --queries.")
    drawn = []
    for query, gallery in rows:
        asked = labeled(framed(read_crop(query), size, GRAY), query, "query")
        found = [
            labeled(
                framed(read_crop(one.path), size, GREEN if one.right else RED),
                one.path,
                f"id {one.identity}",
            )
            for one in gallery
        ]
        drawn.append(row_of([[asked], found] if found else [[asked]]))
    return stacked(drawn, captions)
