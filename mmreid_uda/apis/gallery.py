"""A searchable gallery: an index of features, the paths they belong to, and the fingerprint of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmreid_uda.neighbors import VectorIndex
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.choices import IndexKind
from mmreid_uda.utils.files import (
    open_arrays,
    require_file,
    require_suffix,
    require_writable,
    write_arrays,
)
from mmreid_uda.utils.values import Count, checked

__all__ = [
    "Gallery",
    "Match",
    "require_npz",
    "require_same_length",
    "require_same_model",
    "save_features",
]


class Match(NamedTuple):
    """One line of a search result."""

    path: str
    """The gallery image; ``<array 3>`` for one that was given as an array."""
    similarity: float
    """Cosine, -1..1."""
    position: int
    """Number of the image in the gallery."""


@checked
class Gallery:
    """Features of images that are searched.

    Args:
        features: float32 (N, D).
        paths: Names of the N images.
        fingerprint: Of the model that made the features, see :func:`~mmreid_uda.apis.model_fingerprint`.
        index: ``'flat'``, ``'ivf'`` or ``'hnsw'``, see :class:`~mmreid_uda.clustering.VectorIndex`.
        nprobe: Lists that a search of ``'ivf'`` looks at. Defaults to 64.
        ef_search: Candidates that a search of ``'hnsw'`` keeps. Defaults to 64.

    Raises:
        InputError: Features are not finite, numbers of features and paths differ, or an option is unknown.
    """

    def __init__(
        self,
        features: np.ndarray,
        paths: Sequence[Any],
        fingerprint: str,
        index: IndexKind = "flat",
        nprobe: Count = 64,
        ef_search: Count = 64,
    ) -> None:
        self.index = VectorIndex(features, index, nprobe=nprobe, ef_search=ef_search)
        require_same_length(len(self.index), len(paths))
        self.paths = [str(path) for path in paths]
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self.paths)

    def search(self, features: np.ndarray, topk: int = 10) -> list[list[Match]]:
        """Find the most similar images.

        Args:
            features: float32 (Q, D), of the same model.
            topk: Matches per query, >= 1.

        Returns:
            For each query its matches, best first: ``topk``, or all if the gallery is smaller; an approximate index
            may find fewer.

        Raises:
            InputError: The dimension or ``topk`` is not as expected.
        """
        similarities, indices = self.index.search(features, topk)
        return [
            [
                Match(self.paths[index], float(similarity), int(index))
                for similarity, index in zip(*row)
                if index >= 0
            ]
            for row in zip(similarities, indices)
        ]

    @checked
    def save(self, path: str | Path) -> None:
        """Write one ``.npz`` file: vectors or index, paths, fingerprint.

        Args:
            path: Name that ends in ``.npz``; folders are made.

        Raises:
            InputError: The name does not end in ``.npz``.
        """
        arrays = {**self.index.arrays(), "paths": np.array(self.paths)}
        _write(path, {**arrays, "fingerprint": np.array(self.fingerprint)})

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Gallery:
        """Read a gallery, or features that ``tools/extract_features.py`` or ``tools/deploy/run_onnx.py`` wrote.

        Args:
            path: An ``.npz`` file.

        Returns:
            The gallery.

        Raises:
            InputError: The file is missing, or is no gallery.
        """
        require_file(path, "a gallery: build it with `python tools/search_gallery.py build`")
        gallery = cls.__new__(cls)
        expected = (
            "expected an .npz file with features, paths and fingerprint; build it again with `python "
            "tools/search_gallery.py build`"
        )
        with open_arrays(path, "is not a gallery", expected) as arrays:
            gallery.index = VectorIndex.from_arrays(arrays)
            gallery.paths = [str(one) for one in np.atleast_1d(arrays["paths"]).tolist()]
            gallery.fingerprint = str(arrays["fingerprint"])
        require_same_length(len(gallery.index), len(gallery.paths))
        return gallery


def save_features(
    path: str | Path,
    features: np.ndarray,
    paths: Sequence[str],
    fingerprint: str,
    labels: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write features to an ``.npz`` file, which :meth:`Gallery.load` reads as a gallery with a flat index.

    Args:
        path: Name that ends in ``.npz``.
        features: float32 (N, D).
        paths: Names of the N images.
        fingerprint: Of the model.
        labels: Further arrays: ``pid`` (N,), integers or texts, ``camid`` (N,), ``has_cameras`` (), ``time`` (N,),
            ``tracklet`` (N,).

    Raises:
        InputError: Another name, features that are not finite, or numbers of features and paths that differ.
    """
    features = check_vectors(features, "features to save", names=paths)
    require_same_length(len(features), len(paths))
    _write(
        path,
        dict(
            labels or {},
            features=features,
            paths=np.array([str(one) for one in paths]),
            fingerprint=np.array(fingerprint),
        ),
    )


def require_npz(path: str | Path) -> None:
    """Refuse a place for features or a gallery that cannot be written, before they are computed.

    Args:
        path: Where a file is to be written.

    Raises:
        InputError: The name does not end in ``.npz``, or there can be no such file.
    """
    require_suffix(path, ".npz")
    require_writable(path)


def _write(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    require_npz(path)
    write_arrays(path, arrays, compressed=False)


def require_same_model(queries: str, gallery: str, name: str = "") -> None:
    """Refuse to compare features of two models.

    Args:
        queries: Fingerprint of the model of the queries; empty = unknown.
        gallery: Fingerprint of the model of the gallery; empty = unknown.
        name: File of the gallery.

    Raises:
        InputError: Both are known, and differ.
    """
    if queries and gallery and queries != gallery:
        raise InputError(
            f"the gallery {f'{name!r} ' if name else ''}was made by a model or preprocessing with the fingerprint "
            f"{gallery[:12]}, the queries have {queries[:12]}, and features of the two cannot be compared: give the "
            "config and checkpoint that made it, or build the gallery again."
        )


def require_same_length(features: int, paths: int) -> None:
    """Refuse another number of paths than of features.

    Args:
        features: Number of features.
        paths: Number of paths.

    Raises:
        InputError: They differ.
    """
    if features != paths:
        raise InputError(
            f"found {features} features and {paths} paths, expected one path for each feature."
        )
