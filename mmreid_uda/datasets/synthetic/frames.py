"""Empty frames of real cameras as backgrounds of rendered people."""

from __future__ import annotations

import hashlib
import os

import cv2
import numpy as np

from mmreid_uda.utils import InputError

from ..files import list_images

__all__ = ["frames_digest", "read_frames"]


def frames_digest(folder: str) -> str:
    """Tell frames from other frames.

    Args:
        folder: Folder of images.

    Returns:
        12 hexadecimal digits, equal for equal images in the same order.

    Raises:
        InputError: The folder is none, holds no image, or one cannot be read.
    """
    digest = hashlib.sha256()
    for path in _paths(folder):
        digest.update(hashlib.sha256(_content(path)).digest())
    return digest.hexdigest()[:12]


def read_frames(folder: str, size: tuple[int, int]) -> list[np.ndarray]:
    """Read frames, enlarged or reduced to cover a size, of which what goes beyond is cut off on both sides.

    Args:
        folder: Folder of images.
        size: Height and width in pixels.

    Returns:
        uint8 (*size, 3) each, BGR, sorted by the names of the files.

    Raises:
        InputError: The folder is none, holds no image, or one cannot be read.
    """
    return [_covering(path, size) for path in _paths(folder)]


def _paths(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in list_images(folder)]
    except InputError as error:
        raise InputError(
            f"backgrounds='{folder}' is no folder with images that can be read, expected empty frames of your cameras "
            "(.jpg or .png); give the folder that they lie in, or leave backgrounds out for drawn places"
        ) from error


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error


def _unreadable(path: str, found: str) -> InputError:
    return InputError(
        f"the frame '{path}' cannot be read ({found}), expected an image; mend it, or take it out of the folder that "
        "backgrounds names"
    )


def _covering(path: str, size: tuple[int, int]) -> np.ndarray:
    content = np.frombuffer(_content(path), np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise _unreadable(path, "it does not hold what its name says")
    scale = max(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(want, round(scale * has)) for want, has in zip(size, image.shape))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, (width, height), interpolation=method)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return np.ascontiguousarray(image[top : top + size[0], left : left + size[1]])
