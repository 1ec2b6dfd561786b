"""Rank lists: each query with the gallery images nearest to it, right ones framed green, wrong ones red."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mmreid_uda.utils import InputError

__all__ = ["draw_rank_list"]

_GREEN, _RED, _GREY, _PAPER = (80, 170, 60), (60, 60, 210), (150, 150, 150), 255
_FRAME, _GAP, _CAPTION = 4, 6, 22


def _tile(path: str, size: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    """An image of (height, width) with a frame."""
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"found no readable image at '{path}', expected one to draw.")
    image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(
        image, _FRAME, _FRAME, _FRAME, _FRAME, cv2.BORDER_CONSTANT, value=colour
    )


def _row(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Tiles beside each other, a wider gap after the query."""
    height = tiles[0].shape[0]
    gap = np.full((height, _GAP, 3), _PAPER, np.uint8)
    pieces = [tiles[0], gap, gap]
    for tile in tiles[1:]:
        pieces += [tile, gap]
    return np.concatenate(pieces, axis=1)


def draw_rank_list(
    rows: Sequence[tuple[str, Sequence[tuple[str, bool]]]],
    captions: Sequence[str] = (),
    size: tuple[int, int] = (128, 64),
) -> np.ndarray:
    """Draw queries and their nearest gallery images.

    Args:
        rows: Per query its path and, from the nearest on, the gallery paths with whether the identity is the query's.
            All rows have the same number of gallery images.
        captions: A line of text above each row, or none at all.
        size: Height and width of an image in pixels.

    Returns:
        A BGR picture, uint8 (H, W, 3).
    """
    pieces = []
    for number, (query, gallery) in enumerate(rows):
        tiles = [_tile(query, size, _GREY)]
        tiles += [_tile(path, size, _GREEN if right else _RED) for path, right in gallery]
        row = _row(tiles)
        if captions:
            bar = np.full((_CAPTION, row.shape[1], 3), _PAPER, np.uint8)
            cv2.putText(
                bar,
                captions[number],
                (4, 16),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.45,
                (40, 40, 40),
                1,
                cv2.LINE_AA,
            )
            pieces.append(bar)
        pieces += [row, np.full((_GAP, row.shape[1], 3), _PAPER, np.uint8)]
    return np.concatenate(pieces)
