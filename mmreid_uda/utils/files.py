"""Files that are either whole or not there, files that are not what they should be, and the results of runs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

__all__ = [
    "PRETRAINED_FILES",
    "atomic_path",
    "is_pretrained",
    "last_epoch",
    "open_arrays",
    "read_json",
    "read_results",
    "repository",
    "require_file",
    "require_suffix",
    "require_writable",
    "require_writable_folder",
    "said_to_be_unwritable",
    "unfinished",
    "write_arrays",
    "write_json",
]

# What the file system says where there is no room left: the disk, the quota, the largest file; or where it fails,
# and is then mounted read-only.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# A file system that is full still has room for an empty file.
_SAMPLE = bytes(4096)
# Letters of a reason that a sentence has room for.
_LONGEST_REASON = 150

PRETRAINED_FILES = ("config.json", "model.safetensors")
"""A folder of weights in the layout of the Hugging Face hub: all that is not a tensor, and the tensors."""


def repository() -> Path:
    """The folder with ``configs/``, ``projects/``, ``tools/`` and ``model-index.yml``.

    Returns:
        The checkout that holds the package; of an installed package ``.mim`` inside, as in OpenMMLab's packages.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / ".mim"
    return installed if installed.is_dir() else package.parent


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and rename it when the block succeeds.

    A run that is interrupted, a full disk, a power cut leave the old file, or none, never half of one. Missing folders
    are made.

    Args:
        path: The file to write.

    Yields:
        The temporary path.

    Raises:
        InputError: There can be no such file, or the disk is full. Other errors of the block are left as they are.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    with said_to_be_unwritable(path):
        _refuse_other_than_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        temporary.unlink()  # the block may make a link
    try:
        with said_to_be_unwritable(path, only=_NO_ROOM):
            yield temporary
        with said_to_be_unwritable(path):
            if temporary.is_file():
                _write_through(temporary)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_through(path: Path) -> None:
    """Have the content on the disk before the name: else a power cut may leave the new name on an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot
            raise
    finally:
        os.close(descriptor)


def require_writable(path: str | Path) -> None:
    """Refuse a place that cannot be written, before the work whose result it is for; nothing is left there.

    Args:
        path: A file, there or not, in a folder that may have to be made.

    Raises:
        InputError: There can be no such file.
    """
    path = Path(path)
    with said_to_be_unwritable(path):
        _refuse_other_than_file(path)
        _write_sample(path.absolute().parent, path.name)


def _refuse_other_than_file(path: Path) -> None:
    """Refuse a folder, and a device such as /dev/null, whose place a file would take."""
    if path.is_dir():
        raise IsADirectoryError(0, "it is a folder")
    if path.exists() and not path.is_file():
        raise OSError(0, "it is no regular file")


def require_writable_folder(path: str | Path) -> None:
    """As :func:`require_writable`, for a folder that many files will be written to, there or not.

    Raises:
        InputError: It cannot be made, is something else, or nothing can be written there.
    """
    with said_to_be_unwritable(Path(path)):
        _write_sample(Path(path).absolute())


def _write_sample(folder: Path, name: str = "") -> None:
    """Write a file, which is gone at once, to a folder or to the nearest one above it that is there.

    Args:
        folder: Absolute.
        name: Of the file that is to be written later; this and the folders to be made must not be too long.
    """
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    longest = os.pathconf(nearest, "PC_NAME_MAX")
    if any(len(os.fsencode(part)) > longest for part in (*folder.relative_to(nearest).parts, name)):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    # Without a buffer, which would be written, or not, when the file is closed and before it is removed.
    with tempfile.NamedTemporaryFile(dir=nearest, prefix=".", buffering=0) as sample:
        if sample.write(_SAMPLE) < len(_SAMPLE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def said_to_be_unwritable(path: Path, only: Collection[int] = ()) -> Iterator[None]:
    """Put an error of the file system into a sentence.

    Args:
        path: What was to be written.
        only: Numbers of the errors; others are left as they are. Defaults to none: all errors.

    Raises:
        InputError: Instead of an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if only and error.errno not in only:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "make room or name another place" if full else "name another place"
        raise InputError(
            f"{str(path)!r} cannot be written ({error.strerror or error}); {hint}, with --out or as work_dir."
        ) from error


def is_pretrained(folder: str | Path) -> bool:
    """Whether a folder has both files of :data:`PRETRAINED_FILES`.

    Args:
        folder: Any place, there or not; what is no path is none.

    Returns:
        True if it has.
    """
    try:
        return all(Path(folder, name).is_file() for name in PRETRAINED_FILES)
    except (OSError, TypeError, ValueError):  # a name too long, a zero byte, somebody else's folder
        return False


def require_file(path: str | Path, expected: str) -> None:
    """Refuse a file that is not there.

    Args:
        path: The file.
        expected: The end of the sentence: what it should be, and where it comes from.

    Raises:
        InputError: There is no such file.
    """
    if not Path(path).is_file():
        raise InputError(f"found no file {str(path)!r}, expected {expected}.")


def require_suffix(path: str | Path, *suffixes: str) -> None:
    """Refuse the name of a file to write that ends otherwise.

    Args:
        path: The name.
        *suffixes: Allowed ends in lower case with the dot, such as ``'.npz'``.

    Raises:
        InputError: The name ends in none of the suffixes.
    """
    if Path(path).suffix.lower() not in suffixes:
        raise InputError(
            f"found {str(path)!r} as the file to write, expected a name in {' or '.join(suffixes)}."
        )


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file of named values.

    Args:
        path: The file, which exists.

    Returns:
        Name -> value.

    Raises:
        InputError: It holds something else, such as the first half of one.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{str(path)!r} is no JSON ({error}), expected a whole file; write it again, or name another one."
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{str(path)!r} holds a {type(content).__name__}, expected named values; name another file."
        )
    return content


def read_results(path: str | Path) -> dict[int, dict[str, float]]:
    """Read the evaluations of a run, which ReportHook writes.

    Args:
        path: ``work_dir/results.json``, which exists.

    Returns:
        Finished epochs -> figures in percent by their names.

    Raises:
        InputError: It holds something else.
    """
    epochs = read_json(path).get("epochs", {})
    try:
        return {
            int(epoch): {name: float(value) for name, value in metrics.items()}
            for epoch, metrics in epochs.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} holds no figures by epochs ({error}), expected what ReportHook writes; name another run."
        ) from error


def last_epoch(path: str | Path) -> int:
    """The last epoch that a run has reported: evaluated, or, where nothing is evaluated, trained.

    Args:
        path: ``work_dir/results.json``, which exists.

    Returns:
        Number of finished epochs.

    Raises:
        InputError: It holds something else.
    """
    evaluated = max(read_results(path), default=0)
    said = read_json(path).get("last_epoch")
    return said if isinstance(said, int) and not evaluated else evaluated


def unfinished(path: str | Path) -> str:
    """Say that a run has stopped before its end.

    Args:
        path: ``work_dir/results.json``, which exists.

    Returns:
        ``'unfinished: 10 of 50 epochs'``; nothing for a complete run, or one that older code has written.
    """
    planned, trained = read_json(path).get("max_epochs"), last_epoch(path)
    if not isinstance(planned, int) or trained >= planned:
        return ""
    return f"unfinished: {trained} of {planned} epochs"


def write_json(path: str | Path, content: Any) -> None:
    """Write values as an indented JSON file, whole or not at all.

    Args:
        path: The file; folders are made.
        content: What JSON can hold.

    Raises:
        InputError: There can be no such file.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_arrays(path: str | Path, arrays: Mapping[str, Any], compressed: bool = True) -> None:
    """Write arrays as an ``.npz`` file, whole or not at all.

    Args:
        path: The file; its name is taken as it is.
        arrays: Name -> array.
        compressed: Whether the file is small, or written and read in less time. Defaults to True.

    Raises:
        InputError: There can be no such file.
    """
    # A file object: NumPy would append .npz to the temporary name.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)


@contextlib.contextmanager
def open_arrays(path: str | Path, refusal: str, expected: str) -> Iterator[Any]:
    """Open an ``.npz`` file of plain arrays; what does not fit in the block is an error of the file.

    Args:
        path: The file, which exists.
        refusal: What is said of a wrong file, such as ``'is not a gallery'``.
        expected: The end of that sentence.

    Yields:
        A mapping of names to arrays.

    Raises:
        InputError: The file is no such archive, or lacks what the block takes from it.
    """
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            yield arrays
    except InputError:
        raise
    # A broken archive ends in whatever zipfile, zlib, NumPy's parser of headers or faiss stumble over.
    except Exception as error:
        raise InputError(
            f"{str(path)!r} {refusal} ({_what_is_wrong(error)}), {expected}."
        ) from error


def _what_is_wrong(error: Exception) -> str:
    """The reason in a few words, without NumPy's advice to load what may run code."""
    text = str(error).partition("\n")[0].strip(" .'\"")
    if isinstance(error, EOFError):
        return "an empty file"
    if isinstance(error, (AttributeError, TypeError)):
        return "one array alone"
    if "Object arrays" in text:
        return "it holds Python objects"
    if "pickle" in text or not text:
        return "not written by NumPy"
    # zipfile quotes the bytes that it has found.
    return text if len(text) <= _LONGEST_REASON else "a damaged archive"
