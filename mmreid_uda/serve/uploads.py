"""Images that clients send: judged by their headers before they are decoded."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from fastapi import UploadFile
from PIL import Image

from mmreid_uda.datasets.transforms import decode_image
from mmreid_uda.utils import InputError

from .settings import Limits

__all__ = ["FORMATS", "Upload", "read_upload", "read_uploads"]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""Of images that are decoded; a format has a decoder that somebody may attack."""


class Upload(NamedTuple):
    """An image that a client has sent."""

    content: bytes
    """The file."""
    pixels: np.ndarray
    """uint8 (H, W, 3), BGR, turned upright."""

    @property
    def digest(self) -> str:
        """SHA-256 of the file, for the audit."""
        return hashlib.sha256(self.content).hexdigest()


def read_uploads(files: Sequence[UploadFile], limits: Limits, decoder: str = "cv2") -> list[Upload]:
    """Read and decode the images of a request.

    Args:
        files: Of its form.
        limits: Of their number, bytes and pixels.
        decoder: ``imdecode_backend`` of the model's pipeline.

    Returns:
        The images.

    Raises:
        InputError: There are too many, one is too large, of another format, or cannot be decoded.
    """
    if not 1 <= len(files) <= limits.images:
        raise InputError(
            f"found {len(files)} images in one request, expected 1 to {limits.images}; send several requests."
        )
    return [
        read_upload(one.file.read(limits.image_bytes + 1), limits, decoder, f"image {number}")
        for number, one in enumerate(files, 1)
    ]


def read_upload(content: bytes, limits: Limits, decoder: str, name: str) -> Upload:
    """Decode one image.

    Args:
        content: The file.
        limits: Of bytes and pixels.
        decoder: ``imdecode_backend`` of the model's pipeline.
        name: What sentences call it.

    Returns:
        The image.

    Raises:
        InputError: As :func:`read_uploads`.
    """
    if len(content) > limits.image_bytes:
        raise InputError(
            f"found more than {limits.image_bytes} bytes in {name}, expected at most so many; send a smaller image, or "
            "start the server with a higher --max-image-mb."
        )
    width, height = _size(content, name)
    if width * height > limits.image_pixels:
        raise InputError(
            f"found {width} x {height} pixels in {name}, expected at most {limits.image_pixels} of them; send a "
            "smaller image, or start the server with a higher --max-image-megapixels."
        )
    pixels = decode_image(content, decoder)
    if pixels is None or sorted(pixels.shape[:2]) != sorted((height, width)):
        raise InputError(
            f"found {name} ({len(content)} bytes) that cannot be decoded, expected a whole file; send it again."
        )
    return Upload(content, pixels)


def _size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height by the header; nothing is decoded."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # Its own limit of pixels is above ours.
            warnings.simplefilter("ignore")
            return image.size
    except Image.DecompressionBombError:
        return Image.MAX_IMAGE_PIXELS or 1, 2  # Pillow refuses what has more than twice as many
    # Plug-ins raise any of these on broken headers.
    except (OSError, SyntaxError, ValueError, OverflowError) as error:
        raise InputError(
            f"found {name} ({len(content)} bytes) that is no image of a known format, or one with a broken header, "
            f"expected {', '.join(FORMATS)}; convert it."
        ) from error
