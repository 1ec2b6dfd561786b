"""A searchable gallery: an index of features, the paths they belong to, and the fingerprint of the model.

Where cameras and times of its images are known, matches can also be ranked by how long the way between cameras takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmreid_uda.evaluation import TimePrior, joint_score
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
    "Sightings",
    "TimedMatch",
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


class TimedMatch(NamedTuple):
    """One line of the result of a search with a time prior, whose first entries are those of :class:`Match`."""

    path: str
    similarity: float
    position: int
    score: float
    """Of looks and time together, 0..1, by which matches are ordered."""


class Sightings(NamedTuple):
    """Where and when images were taken."""

    cameras: np.ndarray
    """str (N,), '' = unknown."""
    times: np.ndarray
    """float64 (N,) in seconds, NaN = unknown."""

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], num: int) -> Sightings | None:
        """Take them from labels or a file.

        Args:
            arrays: With ``camera`` and ``time``, if they are known.
            num: N.

        Returns:
            The sightings; None where the arrays lack one of both.

        Raises:
            ValueError: Their number is another one.
        """
        if "camera" not in arrays or "time" not in arrays:
            return None
        found = cls(np.asarray(arrays["camera"]).astype(str), np.asarray(arrays["time"], float))
        if found.cameras.shape != (num,) or found.times.shape != (num,):
            raise ValueError(f"cameras and times of other than {num} images")
        return found


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
        sightings: Where and when the images were taken, for a search with a time prior. Defaults to None: unknown.

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
        sightings: Sightings | None = None,
    ) -> None:
        self.index = VectorIndex(features, index, nprobe=nprobe, ef_search=ef_search)
        require_same_length(len(self.index), len(paths))
        self.paths = [str(path) for path in paths]
        self.fingerprint = fingerprint
        self.sightings = sightings

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
    def search_with_times(
        self,
        features: np.ndarray,
        sightings: Sightings,
        prior: TimePrior,
        topk: Count = 10,
        candidates: Count = 1000,
    ) -> list[list[TimedMatch]]:
        """Find the images that are most probable by looks and by the time between cameras.

        The most similar images are ranked anew by :func:`~mmreid_uda.evaluation.joint_score`.

        Args:
            features: float32 (Q, D), of the same model.
            sightings: Of the queries.
            prior: How long the way between cameras takes.
            topk: Matches per query.
            candidates: The most similar images, which are ranked anew; the others are out of the race. Raised to
                ``topk``. Defaults to 1000.

        Returns:
            For each query its matches, best first; those of equal score by similarity.

        Raises:
            InputError: Cameras and times of the gallery are unknown, or none is one of the prior's; or as
                :meth:`search`.
        """
        if self.sightings is None:
            raise InputError(
                "found a gallery without cameras and times of its images, expected both for a time prior: build it "
                "from a data set that reads them (docs/data.md), not from a folder."
            )
        prior.require_cameras(sightings.cameras, "queries")
        prior.require_cameras(self.sightings.cameras, "gallery")
        results = []
        for query, found in enumerate(self.search(features, max(topk, candidates))):
            index = np.array([match.position for match in found], dtype=np.int64)
            probability = prior.probability(
                sightings.cameras[[query]],
                sightings.times[[query]],
                self.sightings.cameras[index],
                self.sightings.times[index],
            )[0]
            scores = joint_score(np.array([match.similarity for match in found]), probability)
            best = np.argsort(-scores, kind="stable")[:topk]
            results.append(
                [
                    TimedMatch(one.path, one.similarity, one.position, float(score))
                    for one, score in ((found[place], scores[place]) for place in best)
                ]
            )
        return results

    @checked
    def save(self, path: str | Path) -> None:
        """Write one ``.npz`` file: vectors or index, paths, fingerprint, and cameras and times where they are known.

        Args:
            path: Name that ends in ``.npz``; folders are made.

        Raises:
            InputError: The name does not end in ``.npz``.
        """
        arrays = {**self.index.arrays(), "paths": np.array(self.paths)}
        if self.sightings is not None:
            arrays.update(camera=self.sightings.cameras, time=self.sightings.times)
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
            gallery.sightings = Sightings.of(arrays, len(gallery.paths))
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
        labels: Further arrays: ``pid`` (N,), integers or texts, ``camid`` (N,), ``camera`` (N,), its name,
            ``has_cameras`` (), ``time`` (N,), ``tracklet`` (N,).

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
