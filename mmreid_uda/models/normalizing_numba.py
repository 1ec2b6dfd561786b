"""The compiled half of :mod:`.data_preprocessor` for CPUs; import it only if numba is there."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["normalize_images"]


# NumPy's division has no check for zero, so that many pixels are divided at a time; each is rounded as torch does.
@njit(nogil=True, cache=True, error_model="numpy")
def normalize_images(first, last, images, view, mean, std, order, boxes, erase_value, normalized):
    """Normalize one view of the images ``first..last-1`` and fill their boxes, in one pass over the pixels.

    Args:
        first: First image.
        last: The one behind the last.
        images: uint8 (B, V, H, W, 3).
        view: Which of the V views.
        mean: float32 (3,), of the channels written.
        std: float32 (3,), likewise.
        order: int64 (3,), the channel of ``images`` that each of them is.
        boxes: int64 (B, V, 4): top, left, height, width; height 0 = none.
        erase_value: float32 (3,), likewise.
        normalized: float32 (B, 3, H, W), written.
    """
    height, width = images.shape[2:4]
    for image in range(first, last):
        for y in range(height):
            pixels = images[image, view, y].reshape(-1)
            for channel in range(3):
                part = pixels[order[channel] :]
                shift, scale = mean[channel], std[channel]
                written = normalized[image, channel, y]
                for x in range(width):
                    written[x] = (np.float32(part[3 * x]) - shift) / scale
        top, left, rows, columns = boxes[image, view]
        for channel in range(3):
            for y in range(max(top, 0), min(top + rows, height)):
                for x in range(max(left, 0), min(left + columns, width)):
                    normalized[image, channel, y, x] = erase_value[channel]
