"""Neighbours that another engine has found, in a file: they become candidates, and similarities are computed anew."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import open_arrays, require_file, require_suffix, write_arrays

__all__ = ["NeighborFile", "features_fingerprint", "read_neighbors", "write_neighbors"]

_FORMAT = (
    "expected 'indptr', whole numbers (N + 1,) from 0 on, and 'indices', whole numbers in 0..N-1, -1 for nobody "
    "(docs/scale.md has the format)"
)
# Rows that the fingerprint reads, spread over all.
_ROWS_READ = 1024
# Numbers looked at together.
_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class NeighborFile:
    """Lists of candidates, one row per image.

    Args:
        indptr: int (N + 1,), where the rows begin.
        indices: int (M,), may be mapped from a file.
    """

    indptr: np.ndarray
    indices: np.ndarray

    def rows(self, first: int, last: int) -> np.ndarray:
        """Candidates of some rows.

        Args:
            first: The first of them.
            last: One behind the last; may be behind the end.

        Returns:
            int32 (n, c), as long as the longest; -1 where a shorter has ended.
        """
        starts = np.asarray(self.indptr[first : last + 1], np.int64)
        part = np.asarray(self.indices[starts[0] : starts[-1]])
        counts = np.diff(starts)
        candidates = np.full((len(counts), int(counts.max(initial=0))), -1, np.int32)
        candidates[np.arange(candidates.shape[1]) < counts[:, None]] = part
        return candidates


def features_fingerprint(features: np.ndarray) -> str:
    """Tell features from others by their shape and some of their rows.

    Args:
        features: float32 (N, D); at most 1024 rows are read, spread over all.

    Returns:
        16 hexadecimal digits.
    """
    places = np.linspace(0, len(features) - 1, min(len(features), _ROWS_READ)).astype(np.int64)
    chosen = np.ascontiguousarray(features[places], "<f4")
    content = f"{features.shape}".encode() + chosen.tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def write_neighbors(
    path: str | Path, indices: np.ndarray, features: np.ndarray | None = None
) -> None:
    """Write the file that ``search='file:PATH'`` of a clusterer reads.

    Args:
        path: ``.npz`` file.
        indices: int (N, k), neighbours in any order, the row itself among them or not; what is outside 0..N-1 is
            nobody.
        features: float32 (N, D), which they were found for, for the fingerprint; None leaves it out.

    Raises:
        InputError: The name has another suffix, or the indices are no matrix of whole numbers.
    """
    require_suffix(path, ".npz")
    found = np.asarray(indices)
    if found.ndim != 2 or found.dtype.kind not in "iu":
        raise InputError(
            f"found neighbours of type {found.dtype} and shape {found.shape}, expected whole numbers (images, "
            "neighbours): give what the engine has found."
        )
    there = (found >= 0) & (found < len(found))
    content: dict[str, Any] = {
        "indptr": np.concatenate([[0], np.cumsum(there.sum(1))]),
        "indices": found[there].astype(np.int32),
    }
    if features is not None:
        content["fingerprint"] = np.array(features_fingerprint(features))
    write_arrays(path, content, compressed=False)


def read_neighbors(path: str | Path, features: np.ndarray) -> NeighborFile:
    """Read neighbours of some features, and check everything that can be checked.

    Args:
        path: An ``.npz`` file, or a folder with a ``.npy`` file for each array, which stay on disk.
        features: float32 (N, D), which they must be of.

    Returns:
        The lists.

    Raises:
        InputError: There is no such file, an array is missing or no list of whole numbers, the numbers of images
            differ, an index is out of range, the metric is not the cosine, or the fingerprint is of other features.
    """
    num = len(features)
    with _arrays(Path(path)) as arrays:
        metric = str(arrays["metric"]) if "metric" in arrays else "cosine"
        fingerprint = str(arrays["fingerprint"]) if "fingerprint" in arrays else ""
        indptr, indices = arrays["indptr"], arrays["indices"]
        for name, values in (("indptr", indptr), ("indices", indices)):
            if values.ndim != 1 or values.dtype.kind not in "iu":
                raise ValueError(f"{name} is {values.dtype} of shape {values.shape}")
    if len(indptr) != num + 1:
        raise InputError(
            f"found neighbours of {len(indptr) - 1} images in {str(path)!r}, expected those of the {num} that are "
            "clustered, in their order: search them anew, or mend clusterer.search."
        )
    steps = np.diff(np.asarray(indptr, np.int64))
    if indptr[0] != 0 or (steps < 0).any() or indptr[-1] != len(indices):
        raise InputError(
            f"found 'indptr' from {indptr[0]} to {indptr[-1]} for {len(indices)} indices in {str(path)!r}, expected it "
            "to ascend from 0 to their number: write the file anew."
        )
    for start in range(0, len(indices), _AT_ONCE):
        part = indices[start : start + _AT_ONCE]
        wrong = (part < -1) | (part >= num)
        if wrong.any():
            raise InputError(
                f"found index {part[wrong.argmax()]} at place {start + wrong.argmax()} of 'indices' in {str(path)!r}, "
                f"expected 0..{num - 1}, or -1 for nobody: write the file anew."
            )
    if metric != "cosine":
        raise InputError(
            f"found neighbours by metric={metric!r} in {str(path)!r}, expected 'cosine': search the unit rows by inner "
            "product."
        )
    expected = features_fingerprint(features)
    if fingerprint and fingerprint != expected:
        raise InputError(
            f"found neighbours of features with fingerprint {fingerprint!r} in {str(path)!r}, expected {expected!r} of "
            "those that are clustered: search them anew, or leave the fingerprint out where they have changed a little."
        )
    return NeighborFile(indptr, indices)


@contextmanager
def _arrays(path: Path) -> Iterator[Any]:
    """What the file or folder holds, by name."""
    if not path.is_dir():
        require_file(
            path, "an .npz file of neighbours, or a folder of .npy files, named by clusterer.search"
        )
        with open_arrays(path, "holds no neighbours", _FORMAT) as arrays:
            yield arrays
        return
    try:
        yield {
            file.stem: np.load(file, mmap_mode="r", allow_pickle=False)
            for file in sorted(path.glob("*.npy"))
        }
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"{str(path)!r} holds no neighbours ({error}), {_FORMAT}.") from error
