"""What pictures of crops are put together from: framed tiles, rows of groups, captions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np

from mmreid_uda.datasets.transforms import LoadReIDImage
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, checked

__all__ = [
    "BLUE",
    "GRAY",
    "GREEN",
    "ORANGE",
    "RED",
    "framed",
    "labeled",
    "read_crop",
    "row_of",
    "spread",
    "stacked",
]

GREEN, RED, BLUE = (80, 170, 60), (60, 60, 210), (200, 120, 40)
ORANGE, GRAY = (30, 150, 240), (150, 150, 150)
Items = TypeVar("Items", list[str], np.ndarray)

_PAPER, _INK = 255, (40, 40, 40)
# Pixels of a letter of the small font, and of a line.
_LETTER, _LINE = 6, 11
_FRAME, _GAP, _CAPTION = 4, 6, 22


@checked
def spread(items: Items, num: Count) -> Items:
    """At most so many of several, evenly spread over them.

    Args:
        items: A list or array.
        num: Largest number, >= 1.

    Returns:
        A part of it, in order, beginning with the first.

    Raises:
        InputError: ``num`` is below 1.
    """
    return items[:: max(1, len(items) // num)][:num]


def read_crop(path: str) -> np.ndarray:
    """Read an image as training does.

    Args:
        path: Of the file.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        InputError: If there is no readable image.
    """
    try:
        return LoadReIDImage()({"img_path": path})["img"]
    except InputError as error:
        raise InputError(
            f"found no readable image at '{path}', expected one to draw; restore it, or run from the folder that "
            "relative paths start in."
        ) from error


def framed(image: np.ndarray, size: tuple[int, int], color: tuple[int, int, int]) -> np.ndarray:
    """Resize an image and put a frame of 4 pixels around it.

    Args:
        image: uint8 (h, w, 3), BGR.
        size: Height and width inside the frame, in pixels.
        color: Of the frame, BGR.

    Returns:
        uint8 (height + 8, width + 8, 3), BGR.
    """
    image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(
        image, _FRAME, _FRAME, _FRAME, _FRAME, cv2.BORDER_CONSTANT, value=color
    )


def labeled(tile: np.ndarray, path: str, text: str) -> np.ndarray:
    """Put a file's name, on two lines if it is long, and a text below a tile; what does not fit is cut off.

    Args:
        tile: uint8 (H, W, 3), BGR.
        path: Of the file.
        text: Of one line.

    Returns:
        uint8 (H + 37, W, 3), BGR.
    """
    fitting = tile.shape[1] // _LETTER
    name = os.path.basename(path)
    if len(name) > 2 * fitting:  # the end tells images of one person apart
        name = ".." + name[-(2 * fitting - 2) :]
    lines = [name[:fitting], name[fitting:], text[:fitting]]
    label = np.full((_LINE * len(lines) + 4, tile.shape[1], 3), _PAPER, np.uint8)
    for number, line in enumerate(lines, 1):
        place = (1, _LINE * number)
        cv2.putText(label, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.3, _INK, 1, cv2.LINE_AA)
    return np.concatenate([tile, label])


def row_of(groups: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Put tiles of one height beside each other, with wider gaps between groups.

    Args:
        groups: Tiles uint8 (H, w, 3); at least one, in the first group.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    gap = np.full((groups[0][0].shape[0], _GAP, 3), _PAPER, np.uint8)
    pieces: list[np.ndarray] = []
    for group in groups:
        pieces += [piece for tile in group for piece in (tile, gap)]
        pieces.append(gap)
    return np.concatenate(pieces[:-1], axis=1)


def stacked(rows: Sequence[np.ndarray], captions: Sequence[str] = ()) -> np.ndarray:
    """Put rows below each other, each under its caption if there are captions; short rows are filled up.

    Args:
        rows: At least one, uint8 (h, w, 3), BGR.
        captions: One for each row, or none at all.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    pieces = []
    texts = [(text, _text_width(text)) for text in captions]
    width = max([row.shape[1] for row in rows] + [needed for _, needed in texts])
    for number, row in enumerate(rows):
        if captions:
            pieces.append(_caption(captions[number], width))
        blank = np.full((row.shape[0], width - row.shape[1], 3), _PAPER, np.uint8)
        pieces += [
            np.concatenate([row, blank], axis=1),
            np.full((_GAP, width, 3), _PAPER, np.uint8),
        ]
    return np.concatenate(pieces)


def _text_width(text: str) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 8


def _caption(text: str, width: int) -> np.ndarray:
    bar = np.full((_CAPTION, width, 3), _PAPER, np.uint8)
    cv2.putText(bar, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
    return bar
