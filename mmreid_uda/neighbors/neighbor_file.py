"""Neighbours that another engine has found, in a file: they become candidates, and similarities are computed anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import open_arrays, require_file, require_suffix, write_arrays

from .knn import unit_rows

__all__ = [
    "LONGEST",
    "NeighborFile",
    "features_sample",
    "open_neighbors",
    "read_neighbors",
    "read_sample",
    "require_features",
    "write_neighbors",
]

LONGEST = 1024
"""Candidates that rows have room for together; what names more is looked at alone, a part at a time."""

_FORMAT = (
    "expected 'indptr', whole numbers (N + 1,) from 0 on, and 'indices', whole numbers in 0..N-1, -1 for nobody "
    "(docs/scale.md has the format)"
)
# Rows of the sample, spread over all, and the cosine of each to the features that are the same but for rounding, be it
# that of mixed precision or of another machine.
_SAMPLED, _SAME = 256, 0.999
# Numbers looked at together.
_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class NeighborFile:
    """Lists of candidates of N images, or of the M nodes that these are put together to.

    Args:
        indptr: int64 (N + 1,), where the rows of the images begin.
        indices: int (P,), candidates -1..N-1; may be mapped from a file.
        sample: float32 (n, D), of :func:`features_sample`; None where the file does not tell.
        of_image: int64 (N,), node of each image, 0..M-1, -1 = it takes no part; None = each image is a node.
    """

    indptr: np.ndarray
    indices: np.ndarray
    sample: np.ndarray | None = None
    of_image: np.ndarray | None = None

    def rows(self, first: int, last: int, longest: int | None = None) -> np.ndarray:
        """Candidates of some nodes.

        Args:
            first: The first of them.
            last: One behind the last; may be behind the end.
            longest: Of nodes with more candidates none is given; None (default) gives all.

        Returns:
            int32 (n, c), nodes, as long as the longest; -1 where a shorter has ended.
        """
        lengths, named = self.lengths(first, last), self._named(first, last)
        if longest is not None and (lengths > longest).any():
            named = named[np.repeat(lengths <= longest, lengths)]
            lengths = np.where(lengths > longest, 0, lengths)
        candidates = np.full((len(lengths), int(lengths.max(initial=0))), -1, np.int32)
        candidates[np.arange(candidates.shape[1]) < lengths[:, None]] = named
        return candidates

    def lengths(self, first: int, last: int) -> np.ndarray:
        """How many candidates some nodes have.

        Args:
            first: As :meth:`rows`.
            last: Likewise.

        Returns:
            int64 (n,).
        """
        if self.of_image is None:
            return np.diff(self.indptr[first : last + 1])
        images, begin = self._images_of(first, last)
        each = self.indptr[images + 1] - self.indptr[images]
        return np.add.reduceat(each, begin[:-1] - begin[0])

    @cached_property
    def widest(self) -> int:
        """Candidates of the node that has most."""
        starts = range(0, self.num_nodes, _AT_ONCE)
        return max(int(self.lengths(start, start + _AT_ONCE).max(initial=0)) for start in starts)

    @property
    def num_nodes(self) -> int:
        """M."""
        return len(self.indptr) - 1 if self.of_image is None else len(self._nodes[1]) - 1

    def num_bytes(self, rows: int, threads: int) -> int:
        """Memory that the candidates take while they are looked at.

        Args:
            rows: Nodes whose candidates are looked at together.
            threads: So many at a time.

        Returns:
            Bytes, with those of the arrays, unless they are on the disk.
        """
        held = self.indptr.nbytes * (1 if self.of_image is None else 3)
        if not isinstance(self.indices, np.memmap):
            held += self.indices.nbytes
        # Where they stand in the file, in a table, and there in order.
        return held + threads * (8 * rows * min(self.widest, LONGEST) + 16 * self.widest)

    @cached_property
    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """The images node by node, and where those of each node begin, int64 (M + 1,)."""
        assert self.of_image is not None
        images = np.argsort(self.of_image, kind="stable")
        images = images[np.count_nonzero(self.of_image < 0) :]
        counts = np.bincount(self.of_image[images])
        return images, np.concatenate([[0], np.cumsum(counts)])

    def _images_of(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """The images of some nodes, and where those of each begin among the images of all."""
        images, begin = self._nodes
        begin = begin[first : last + 1]
        return images[begin[0] : begin[-1]], begin

    def _named(self, first: int, last: int) -> np.ndarray:
        """The candidates of some nodes, one row behind the other."""
        if self.of_image is None:
            ends = self.indptr[first : last + 1]
            return np.asarray(self.indices[ends[0] : ends[-1]])
        images, _ = self._images_of(first, last)
        starts = self.indptr[images]
        counts = self.indptr[images + 1] - starts
        ends = np.cumsum(counts)
        named = self.indices[np.repeat(starts - ends + counts, counts) + np.arange(counts.sum())]
        return np.where(named < 0, -1, self.of_image[named])


def features_sample(features: np.ndarray) -> np.ndarray:
    """Some of the features, by which they are told from others.

    Args:
        features: float32 (N, D).

    Returns:
        float32 (n, D), unit rows, at most 256, spread over all.
    """
    places = np.linspace(0, len(features) - 1, min(len(features), _SAMPLED)).astype(np.int64)
    return unit_rows(np.ascontiguousarray(features[places], np.float32))


def write_neighbors(
    path: str | Path, indices: np.ndarray, features: np.ndarray | None = None
) -> None:
    """Write the file that ``search='file:PATH'`` of a clusterer reads.

    Args:
        path: ``.npz`` file.
        indices: int (N, k), neighbours in any order, the row itself among them or not; what is outside 0..N-1 is
            nobody.
        features: float32 (N, D), which they were found for, of which a sample is kept; None leaves it out.

    Raises:
        InputError: The name has another suffix, the indices are no matrix of whole numbers, or of other images.
    """
    require_suffix(path, ".npz")
    found = np.asarray(indices)
    if found.ndim != 2 or found.dtype.kind not in "iu":
        raise InputError(
            f"found neighbours of type {found.dtype} and shape {found.shape}, expected whole numbers (images, "
            "neighbours): give what the engine has found."
        )
    if features is not None and len(features) != len(found):
        raise InputError(
            f"found neighbours of {len(found)} images beside features of {len(features)}, expected those of the same: "
            "give what the engine has found for these features, a row for each."
        )
    there = (found >= 0) & (found < len(found))
    content: dict[str, Any] = {
        "indptr": np.concatenate([[0], np.cumsum(there.sum(1))]),
        "indices": found[there].astype(np.int32),
    }
    if features is not None:
        content["sample"] = features_sample(features)
    write_arrays(path, content, compressed=False)


def read_neighbors(path: str | Path, features: np.ndarray) -> NeighborFile:
    """Read neighbours of some features, and check everything that can be checked.

    Args:
        path: An ``.npz`` file, or a folder with a ``.npy`` file for each array, which stay on disk.
        features: float32 (N, D), which they must be of.

    Returns:
        The lists.

    Raises:
        InputError: As :func:`open_neighbors` and :func:`require_features`.
    """
    file = open_neighbors(path, len(features))
    require_features(path, file.sample, features)
    return file


def open_neighbors(
    path: str | Path, num_images: int, of_image: np.ndarray | None = None
) -> NeighborFile:
    """Read neighbours of so many images, and check all but whose they are.

    Args:
        path: As :func:`read_neighbors`.
        num_images: N.
        of_image: As :class:`NeighborFile`.

    Returns:
        The lists.

    Raises:
        InputError: There is no such file, an array is missing or no list of whole numbers, the numbers of images
            differ, an index is out of range, or the metric is not the cosine.
    """
    with _arrays(Path(path)) as arrays:
        metric = str(arrays["metric"]) if "metric" in arrays else "cosine"
        sample = _sample(arrays)
        indptr, indices = arrays["indptr"], arrays["indices"]
        for name, values in (("indptr", indptr), ("indices", indices)):
            if values.ndim != 1 or values.dtype.kind not in "iu":
                raise ValueError(f"{name} is {values.dtype} of shape {values.shape}")
    if len(indptr) != num_images + 1:
        raise InputError(
            f"found neighbours of {len(indptr) - 1} images in {str(path)!r}, expected those of the {num_images} that "
            "are clustered, in their order: search them anew, or mend clusterer.search."
        )
    indptr = np.asarray(indptr, np.int64)
    if indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] != len(indices):
        raise InputError(
            f"found 'indptr' from {indptr[0]} to {indptr[-1]} for {len(indices)} indices in {str(path)!r}, expected it "
            "to ascend from 0 to their number: write the file anew."
        )
    for start in range(0, len(indices), _AT_ONCE):
        part = indices[start : start + _AT_ONCE]
        wrong = (part < -1) | (part >= num_images)
        if wrong.any():
            raise InputError(
                f"found index {part[wrong.argmax()]} at place {start + wrong.argmax()} of 'indices' in {str(path)!r}, "
                f"expected 0..{num_images - 1}, or -1 for nobody: write the file anew."
            )
    if metric != "cosine":
        raise InputError(
            f"found neighbours by metric={metric!r} in {str(path)!r}, expected 'cosine': search the unit rows by inner "
            "product."
        )
    return NeighborFile(indptr, indices, sample, of_image)


def read_sample(path: str | Path) -> np.ndarray | None:
    """Some of the features that the neighbours in a file were found for.

    Args:
        path: As :func:`read_neighbors`.

    Returns:
        float32 (n, D); None where the file does not tell.

    Raises:
        InputError: There is no such file, or this array in it is none of numbers.
    """
    with _arrays(Path(path)) as arrays:
        return _sample(arrays)


def require_features(path: str | Path, sample: np.ndarray | None, features: np.ndarray) -> None:
    """Refuse neighbours of other features, or of the same in another order.

    Args:
        path: Of the file, for the sentence.
        sample: Of :func:`read_sample`; None is of any features.
        features: float32 (N, D), which they shall be of.

    Raises:
        InputError: The shape is another, or one of the vectors.
    """
    if sample is None:
        return
    own = features_sample(features)
    if sample.shape != own.shape:
        wrong = f"shape {sample.shape} of the sample in {str(path)!r}, expected {own.shape}"
    else:
        cosines = np.einsum("nd,nd->n", unit_rows(sample), own)
        same = cosines >= _SAME
        if same.all():
            return
        wrong = (
            f"other features for {(~same).sum()} of {len(own)} images in {str(path)!r} (cosines from "
            f"{cosines.min():.3f} on), expected cosines of at least {_SAME}"
        )
    raise InputError(
        f"found {wrong} with what is clustered: search the features of the model that is trained, in the order of its "
        "images, or leave 'sample' out."
    )


def _sample(arrays: Any) -> np.ndarray | None:
    if "sample" not in arrays:
        return None
    sample = np.array(arrays["sample"])
    if sample.ndim != 2 or sample.dtype.kind != "f":
        raise ValueError(f"sample is {sample.dtype} of shape {sample.shape}")
    return sample.astype(np.float32)


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
