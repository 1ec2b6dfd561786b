"""Image files, on the disk or packed: which there are, which can be read, and which names are one and the same file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmreid_uda.utils import InputError

from .packs import IMAGES, PACK_SUFFIX, find_pack

__all__ = [
    "IMAGE_EXTENSIONS",
    "checked_extensions",
    "decodable",
    "decodable_files",
    "file_numbers",
    "file_state",
    "folder_name",
    "is_file",
    "is_folder",
    "list_images",
    "listing",
    "read_file",
    "real_paths",
    "require_files",
    "shown",
    "subfolders",
    "walk_images",
    "walk_others",
]

IMAGE_EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".pgm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
    ".jp2",
    ".gif",
    ".avif",
    ".heic",
)
"""Endings, in lower case, that count as images. One that cannot be decoded here is told, not left out in silence."""

_LONGEST = 200


def shown(text: str) -> str:
    """A name for a message.

    Args:
        text: A name or path.

    Returns:
        It in quotes, on one line, and cut in the middle where it is very long.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
    return f"'{text}'" if text.isprintable() else repr(text)


def checked_extensions(extensions: str | Iterable[str]) -> tuple[str, ...]:
    """Endings of file names as they are compared: in lower case, with the dot.

    Args:
        extensions: One or several, such as ``'jpg'`` or ``('.JPG', '.png')``.

    Returns:
        Such as ``('.jpg', '.png')``.
    """
    several = [extensions] if isinstance(extensions, str) else extensions
    return tuple(f".{one.lower().lstrip('.')}" for one in several)


def folder_name(path: str) -> str:
    """What a folder of images is called.

    Args:
        path: Of a folder or pack.

    Returns:
        Its own name, without the ``.pack`` of a pack.
    """
    return os.path.basename(os.path.abspath(path)).removesuffix(PACK_SUFFIX)


def is_file(path: str) -> bool:
    """Tell whether a file is there.

    Args:
        path: On the disk, or of an image in a pack.

    Returns:
        True also for links to files.
    """
    if os.path.isfile(path):
        return True
    found = find_pack(path)
    return found is not None and found[0].place(found[1]) is not None


def is_folder(path: str) -> bool:
    """Tell whether a folder is there.

    Args:
        path: On the disk, or of a folder in a pack.

    Returns:
        True also for links to folders.
    """
    if os.path.isdir(path):
        return True
    found = find_pack(path)
    return found is not None and found[0].has_folder(found[1])


def read_file(path: str) -> bytes:
    """Read a file.

    Args:
        path: On the disk, or of an image in a pack.

    Returns:
        Its content.

    Raises:
        OSError: It is not there, or cannot be read.
    """
    found = find_pack(path, known=True)
    if found is None:
        try:
            with open(path, "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            found = find_pack(path)
            if found is None:
                raise
    pack, name = found
    place = pack.place(name)
    if place is None:  # a table beside the packed images, or nothing
        with open(path, "rb") as file:
            return file.read()
    return pack.read(place)


def file_state(path: str) -> tuple[int, int]:
    """What changes when a file does.

    Args:
        path: On the disk, or of an image in a pack, which changes with the pack.

    Returns:
        Bytes and time of change in nanoseconds.

    Raises:
        OSError: It is not there, or is no regular file: a device never ends.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pack = find_pack(path)
        if pack is None or pack[0].place(pack[1]) is None:
            raise
        found = os.stat(pack[0].path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no regular file", path)
    return found.st_size, found.st_mtime_ns


class _Entries(NamedTuple):
    images: list[str]
    others: list[str]
    folders: list[str]


def _entries(folder: str, extensions: Sequence[str]) -> _Entries:
    """Sorted names of the images, the other files and the folders in a folder, of which some may be packed."""
    found = find_pack(folder)
    if found is None:
        return _entries_on_disk(folder, extensions)
    there = _Entries([], [], [])
    if os.path.isdir(folder):
        there = _entries_on_disk(folder, extensions)
    images, folders = found[0].children(found[1])
    images = [name for name in images if _is_image(name, extensions)]
    return _Entries(
        sorted({*there.images, *images}), there.others, sorted({*there.folders, *folders})
    )


def _is_image(name: str, extensions: Sequence[str]) -> bool:
    return os.path.splitext(name)[1].lower() in extensions


def _entries_on_disk(folder: str, extensions: Sequence[str]) -> _Entries:
    """Sorted names of the images, the other files and the folders that lie in a folder; hidden ones are left out.

    A link that leads nowhere counts as a file: an image that is lost is told when it is read, not left out in silence.
    """
    found = _Entries([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                # Archives packed on a Mac hold a "._name.jpg" beside every image.
                if entry.name.startswith("."):
                    continue
                if _is(entry.is_dir):
                    found.folders.append(entry.name)
                elif _is(entry.is_file) or entry.is_symlink():
                    image = _is_image(entry.name, extensions)
                    (found.images if image else found.others).append(entry.name)
    except OSError as error:
        raise InputError(
            f"the folder {shown(folder)} cannot be read ({error.strerror}), expected images; give yourself the right "
            "to read it, or name another folder"
        ) from error
    for names in found:
        names.sort()
    return found


def _is(question: Any) -> bool:
    """Ask a directory entry; links that go round in a circle are neither file nor folder."""
    try:
        return question()
    except OSError:
        return False


def list_images(folder: str, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> list[str]:
    """Sorted names of the images that lie directly in a folder; hidden files are left out.

    Args:
        folder: An existing folder.
        extensions: Endings that count as images, in lower case with the dot.

    Returns:
        File names, without the folder.

    Raises:
        InputError: The folder is none, cannot be read, or holds no such file.
    """
    if not is_folder(folder):
        raise InputError(
            f"found {'a file' if os.path.exists(folder) else 'nothing'} at {shown(folder)}, expected a folder of "
            "images; extract the archive again or set data_root to the right folder"
        )
    entries = _entries(folder, extensions)
    if not entries.images:
        raise InputError(
            f"found 0 images ({', '.join(extensions)}) and {len(entries.others)} other files in {shown(folder)}, "
            "expected the images of the dataset; extract the archive again or set data_root to the right folder"
        )
    return entries.images


def subfolders(folder: str) -> list[str]:
    """Sorted names of the folders in a folder; hidden ones are left out.

    Args:
        folder: Path of a folder.

    Returns:
        Names, possibly none.

    Raises:
        InputError: The folder cannot be read.
    """
    return _entries(folder, ()).folders


def walk_images(root: str, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> list[str]:
    """Sorted paths of all images below a folder; hidden files and folders are left out, links are followed.

    A link to a folder that it lies in leads round in a circle and is not followed.

    Args:
        root: An existing folder.
        extensions: Endings that count as images, in lower case with the dot.

    Returns:
        Paths relative to ``root``, with ``/``.

    Raises:
        InputError: A folder cannot be read.
    """
    return _walk(root, extensions)[0]


def walk_others(root: str, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> list[str]:
    """Sorted paths of all files below a folder but the images and what is hidden, see :func:`walk_images`.

    Args:
        root: An existing folder.
        extensions: Endings of the images, in lower case with the dot.

    Returns:
        Paths relative to ``root``, with ``/``.

    Raises:
        InputError: A folder cannot be read.
    """
    return [name for name in _walk(root, extensions)[1] if os.path.basename(name) != IMAGES]


def _walk(root: str, extensions: Sequence[str]) -> tuple[list[str], list[str]]:
    """Sorted paths of the images below a folder, on the disk or packed, and of the other files."""
    found: list[str] = []
    others: list[str] = []
    waiting: list[tuple[str, tuple[str, ...]]] = [("", ())]
    if pack := find_pack(root):
        found += [name for name in pack[0].below(pack[1]) if _is_image(name, extensions)]
        if not os.path.isdir(root):
            return found, []
    while waiting:
        inner, above = waiting.pop()
        folder = os.path.join(root, inner)
        real = os.path.realpath(folder)
        if real in above:
            continue
        entries = _entries_on_disk(folder, extensions)
        found += [inner + name for name in entries.images]
        others += [inner + name for name in entries.others]
        waiting += [(f"{inner}{name}/", (*above, real)) for name in entries.folders]
        if inner and IMAGES in entries.others and (pack := find_pack(folder)):
            packed = pack[0].below()
            found += [inner + name for name in packed if _is_image(name, extensions)]
    return sorted(found), sorted(others)


def real_paths(paths: Iterable[str]) -> list[str]:
    """The files that paths name, whatever their spelling: two are equal if and only if they lead to one file.

    Links are followed, in folders and of files, packed ones too; a hard link is a file of its own.

    Args:
        paths: Of files, existing or not.

    Returns:
        Absolute paths without links.
    """
    folders: dict[str, tuple[str, Any]] = {}
    real = []
    # os.path.realpath asks the disk for every folder of every path: here once a folder, and once a file.
    for path in paths:
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            real.append(os.path.realpath(path))
            continue
        if folder not in folders:
            below = os.path.realpath(folder)
            folders[folder] = below, find_pack(below)
        below, packed = folders[folder]
        place = os.path.join(below, name)
        if packed is not None:
            pack, inner = packed
            number = pack.place(f"{inner}/{name}" if inner else name)
            if number is not None:
                real.append(os.path.join(pack.root, pack.file(number)))
                continue
        real.append(os.path.realpath(place) if os.path.islink(place) else place)
    return real


def file_numbers(paths: Iterable[str]) -> np.ndarray:
    """Number files in the order they first occur in.

    Args:
        paths: N paths.

    Returns:
        int64 (N,), equal for the paths of one file.
    """
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(file, len(numbers)) for file in real_paths(paths)], dtype=np.int64
    )


def require_files(paths: Sequence[str], source: str) -> None:
    """Check that every image named by a list is there.

    Args:
        paths: Image paths.
        source: The list they were read from, for the message.

    Raises:
        InputError: Some do not exist.
    """
    missing = [path for path in paths if not is_file(path)]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(paths)} images listed in {shown(source)} do not exist, the first is "
            f"{shown(missing[0])}; extract the images again or set data_root (for a CSV file: img_root)"
        )


def decodable(path: str) -> bool:
    """Tell whether OpenCV can decode an image file.

    Args:
        path: Of the file.

    Returns:
        False also where the file cannot be read.
    """
    try:
        content = np.frombuffer(read_file(path), dtype=np.uint8)
        return content.size > 0 and cv2.imdecode(content, cv2.IMREAD_COLOR) is not None
    # OpenCV raises its own where a header claims more pixels than it takes.
    except (OSError, cv2.error):
        return False


def decodable_files(paths: Sequence[str]) -> list[bool]:
    """Tell of each of many image files whether OpenCV can decode it.

    Args:
        paths: The files.

    Returns:
        A truth value for each.
    """
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(decodable, paths))


def listing(folder: str, limit: int = 8) -> str:
    """What a folder holds, for messages.

    Args:
        folder: Path of a folder, there or not.
        limit: Largest number of names. Defaults to 8.

    Returns:
        Names and the number of the others, as the middle of a sentence.
    """
    try:
        names = _packed_names(folder) or os.listdir(folder)
    except OSError as error:
        return f"what cannot be read ({error.strerror})"
    if not names:
        return "nothing"
    # Hidden files, such as locks, tell least.
    names = sorted(names, key=lambda name: (name.startswith("."), name))
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shown(name) for name in names[:limit]) + more


def _packed_names(folder: str) -> list[str]:
    """What a folder in a pack, or the pack itself, holds; nothing for folders elsewhere."""
    found = find_pack(folder)
    if found is None:
        return []
    images, folders = found[0].children(found[1])
    on_disk = os.listdir(folder) if os.path.isdir(folder) else []
    return list({*images, *folders, *on_disk} - {IMAGES})
