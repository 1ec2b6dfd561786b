"""Pictures that the server shows: files whose paths the gallery or the run holds, never one that a client names."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from fastapi import HTTPException, Request
from fastapi.responses import Response

from mmreid_uda.datasets.files import file_state, read_file
from mmreid_uda.datasets.transforms import decode_image

__all__ = ["THUMBNAIL_SIZES", "Thumbnails", "encode_jpeg", "picture", "read_picture"]

THUMBNAIL_SIZES = (64, 128, 256)
"""Longer sides in pixels."""

# First bytes of what browsers show -> its type; anything else is decoded and sent as JPEG.
_SHOWN = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_KEPT_FOR = "private, max-age=300"
_QUALITY = 85
# What is written here; other files of the folder are somebody else's.
_OURS = re.compile(r"[0-9a-f]{40}_\d+\.jpg")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}")


class Thumbnails:
    """Small pictures, kept as files up to a total size; those that were not asked for longest go first.

    Args:
        folder: Where they are kept; None takes a folder that is removed with this object.
        max_bytes: Of all together.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="mmreid-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else Path(folder or "")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        files = []
        for one in os.scandir(self.folder):
            if _UNFINISHED.fullmatch(one.name):
                os.unlink(one)
            elif _OURS.fullmatch(one.name):
                files.append(one)
        files.sort(key=lambda one: one.stat().st_atime)
        self._sizes = OrderedDict((one.name, one.stat().st_size) for one in files)
        self.total = sum(self._sizes.values())

    def of(self, path: Path, size: int) -> bytes:
        """The thumbnail of a file.

        Args:
            path: The image.
            size: Longer side in pixels; the next of :data:`THUMBNAIL_SIZES` is taken.

        Returns:
            A JPEG file.

        Raises:
            OSError: The image cannot be read.
            ValueError: It cannot be decoded.
        """
        size = min((one for one in THUMBNAIL_SIZES if one >= size), default=THUMBNAIL_SIZES[-1])
        name, changed = self._name(path, size), file_state(str(path))[1]
        kept = self.folder / name
        with suppress(OSError):
            if kept.stat().st_mtime_ns == changed:
                content = kept.read_bytes()
                with self._lock:
                    if name in self._sizes:
                        self._sizes.move_to_end(name)
                return content
        content = _shrunk(read_file(str(path)), size)
        # Threads may make one thumbnail at the same time; what a crash leaves is made again.
        temporary = self.folder / f".{uuid.uuid4().hex}"
        temporary.write_bytes(content)
        os.utime(temporary, ns=(changed, changed))
        os.replace(temporary, kept)
        self._keep(name, len(content))
        return content

    def discard(self, path: Path) -> None:
        """Remove the thumbnails of an image that is no more.

        Args:
            path: The image.
        """
        for size in THUMBNAIL_SIZES:
            name = self._name(path, size)
            with self._lock:
                self.total -= self._sizes.pop(name, 0)
            (self.folder / name).unlink(missing_ok=True)

    def keep(self, paths: Iterable[Path]) -> None:
        """Remove the thumbnails of all other images.

        Args:
            paths: The images.
        """
        names = {self._name(path, size) for path in paths for size in THUMBNAIL_SIZES}
        with self._lock:
            others = [one for one in self._sizes if one not in names]
            self.total -= sum(self._sizes.pop(one) for one in others)
        for one in others:
            (self.folder / one).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove a folder that nobody has named."""
        if self._temporary:
            self._temporary.cleanup()

    def _keep(self, name: str, num_bytes: int) -> None:
        with self._lock:
            self.total += num_bytes - self._sizes.pop(name, 0)
            self._sizes[name] = num_bytes
            gone = []
            while self.total > self.max_bytes and len(self._sizes) > 1:
                oldest, freed = self._sizes.popitem(last=False)
                self.total -= freed
                gone.append(oldest)
        for oldest in gone:
            (self.folder / oldest).unlink(missing_ok=True)

    @staticmethod
    def _name(path: Path, size: int) -> str:
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()
        return f"{digest[:40]}_{size}.jpg"


def _shrunk(content: bytes, size: int) -> bytes:
    """A picture as JPEG whose longer side has a size; small ones stay as they are."""
    pixels = decode_image(content)
    if pixels is None:
        raise ValueError("no image")
    scale = size / max(pixels.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return encode_jpeg(pixels, _QUALITY)


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encode pixels.

    Args:
        pixels: uint8 (H, W, 3), BGR.
        quality: 0..100.

    Returns:
        A JPEG file.
    """
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def read_picture(path: Path) -> tuple[bytes, str]:
    """Read an image as a browser shows it.

    Args:
        path: The file.

    Returns:
        Its content, and its type; a file of a kind that browsers do not show becomes a JPEG.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no image.
    """
    content = read_file(str(path))
    for start, kind in _SHOWN.items():
        if content.startswith(start):
            return content, kind
    pixels = decode_image(content)
    if pixels is None:
        raise ValueError("no image")
    return encode_jpeg(pixels, 95), "image/jpeg"


def picture(
    request: Request, path: Path, size: int | None, thumbnails: Thumbnails, name: str
) -> Response:
    """Answer a request for an image or its thumbnail.

    Args:
        request: May say which version the client has already (``If-None-Match``).
        path: The file, as the gallery or the run names it.
        size: Of the thumbnail; None for the image itself.
        thumbnails: Where these are kept.
        name: Of the image in sentences.

    Returns:
        The picture; or that the client has it.

    Raises:
        HTTPException: 404: the file is not there, or is no image.
    """
    try:
        num_bytes, changed = file_state(str(path))
        mark = f'"{changed:x}-{num_bytes:x}-{size or 0}"'
        headers = {"etag": mark, "cache-control": _KEPT_FOR}
        if mark in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if size is None:
            content, kind = read_picture(path)
        else:
            content, kind = thumbnails.of(path, size), "image/jpeg"
    except (OSError, ValueError) as error:
        raise HTTPException(
            404,
            f"found no image file of {name}, expected it where it was when it was added; restore it.",
        ) from error
    return Response(content, media_type=kind, headers=headers)
