"""From a path to pixels; a file that is no image is named in one sentence."""

from __future__ import annotations

import io
from typing import Literal

import cv2
import numpy as np
from mmcv.image import imfrombytes
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image

from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils import InputError

from ..files import read_file

__all__ = ["LoadReIDImage", "decode_image"]


@TRANSFORMS.register_module()
class LoadReIDImage(BaseTransform):
    """Read an image file as BGR pixels, turned upright by its EXIF orientation.

    Reads ``img_path``; writes ``img``, uint8 (H, W, 3) in BGR order (grey files get three equal channels). Of a file
    with 16 bits a channel the highest 8 that its brightest pixel uses are taken: the pictures of a 12-bit sensor, which
    fill a sixteenth of the range, are not black.

    Args:
        imdecode_backend: ``'cv2'``, or ``'pillow'``, which the papers' code decodes with. Both give the same pixels of
            JPEG files (both wheels carry libjpeg-turbo). Resizing differs: Pillow's bicubic kernel (a = -0.5, widened
            when shrinking) is that of the papers, and the published recipes give ``Resize`` ``backend='pillow'``;
            OpenCV's (a = -0.75, not widened) takes less time.
        backend_args: Where the files lie if not on a local disk, as in ``mmengine.fileio.get``.

    Raises:
        InputError: When an image is loaded: its file is missing or cannot be decoded.
    """

    def __init__(
        self, imdecode_backend: Literal["cv2", "pillow"] = "cv2", backend_args: dict | None = None
    ) -> None:
        self.imdecode_backend = imdecode_backend
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Decode ``results['img_path']`` into ``results['img']``.

        Raises:
            InputError: The file is missing, or cannot be read or decoded.
        """
        path = results["img_path"]
        try:
            if self.backend_args is None and "://" not in path:
                content = read_file(path)
            else:
                content = fileio.get(path, backend_args=self.backend_args)
        except OSError as error:
            state = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
            reason = "" if isinstance(error, FileNotFoundError) else f" ({error.strerror or error})"
            raise InputError(
                f"the image '{path}' {state}{reason}, expected the file that was listed when the dataset was built; "
                "restore it, or set corrupt='skip' on the dataset to leave such images out"
            ) from error
        image = decode_image(content, self.imdecode_backend)
        if image is None:
            raise InputError(
                f"the image '{path}' ({len(content)} bytes) cannot be decoded, expected a whole JPEG, PNG or other "
                "image file; restore it, or set corrupt='skip' on the dataset to leave such images out"
            )
        results["img"] = image
        return results


def decode_image(content: bytes, backend: str = "cv2") -> np.ndarray | None:
    """Decode an encoded image, turned upright by its EXIF orientation.

    Args:
        content: Of a file.
        backend: ``'cv2'`` or ``'pillow'``, see :class:`LoadReIDImage`.

    Returns:
        uint8 (H, W, 3), BGR; None where it cannot be decoded.
    """
    try:
        if backend == "cv2" or _is_deep(content):
            image = _decode_deep(content)
        else:
            image = imfrombytes(content, flag="color", backend=backend)
    # OpenCV refuses an empty buffer; Pillow's plug-ins raise any of the others on broken files.
    except (cv2.error, OSError, SyntaxError, ValueError):
        return None
    return None if image is None else np.ascontiguousarray(image)


def _decode_deep(content: bytes) -> np.ndarray | None:
    """Decode by OpenCV; what has 16 bits a channel is brought to 8 by its brightest pixel."""
    buffer = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        return cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    used = max(8, int(image.max()).bit_length())
    return np.right_shift(image.astype(np.uint16), used - 8).astype(np.uint8)


def _is_deep(content: bytes) -> bool:
    """Tell whether Pillow would cut the values of a file off at 255: one of more than 8 bits a channel."""
    with Image.open(io.BytesIO(content)) as image:
        return image.mode.startswith("I")
