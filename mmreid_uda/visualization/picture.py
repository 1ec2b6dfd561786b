"""Figures of matplotlib without its global state, and pictures as pixels, bytes and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Picture = Figure | np.ndarray

__all__ = ["encode_picture", "figure_pixels", "new_figure", "write_picture"]

_DPI = 120


def new_figure(
    rows: int, columns: int, size: tuple[float, float], **kwargs: Any
) -> tuple[Figure, np.ndarray]:
    """Make a figure that nothing but the caller refers to.

    Args:
        rows: Rows of panels.
        columns: Columns of panels.
        size: Width and height in inches.
        **kwargs: For ``Figure.subplots``.

    Returns:
        The figure, and its panels, (rows, columns).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def figure_pixels(figure: Figure) -> np.ndarray:
    """Render a figure at 120 dots per inch.

    Args:
        figure: Of :func:`new_figure`.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, 2::-1])


def encode_picture(picture: Picture, suffix: str = ".png") -> bytes:
    """Encode a figure or a BGR image.

    Args:
        picture: The figure, or uint8 (H, W, 3).
        suffix: ``'.png'``, ``'.jpg'`` or another that OpenCV writes.

    Returns:
        Content of a file.

    Raises:
        InputError: If it does not write that one.
    """
    pixels = picture if isinstance(picture, np.ndarray) else figure_pixels(picture)
    try:
        return cv2.imencode(suffix, pixels)[1].tobytes()
    except cv2.error as error:
        raise InputError(
            f"found {suffix!r} as the kind of picture to write, expected one that OpenCV writes: end --out in .png."
        ) from error


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write a figure or a BGR image to a file.

    Args:
        path: Name that ends in ``.png`` or the like; folders are made.
        picture: The figure, or uint8 (H, W, 3).

    Raises:
        InputError: If OpenCV does not write such a file.
    """
    content = encode_picture(picture, Path(path).suffix)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
