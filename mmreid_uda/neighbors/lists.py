"""Lists of nearest neighbours: what a search gives, and what it fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.dist import get_world_size

from mmreid_uda.utils.dist import gather_on_rank0

__all__ = ["CameraNeighbors", "Lists", "Neighbors", "Wanted", "joined", "largest"]


@dataclass(frozen=True)
class Neighbors:
    """The nearest neighbours of N unit vectors, nearest first.

    Args:
        indices: int32 (N, k); the first column is the row itself.
        similarities: float32 (N, k), cosine of each of them, descending after the first column.
        min_similarity: float32 (N,), the smallest similarity of a row to *any* other row: its farthest point. None if
            it was not asked for.
    """

    indices: np.ndarray
    similarities: np.ndarray
    min_similarity: np.ndarray | None = None

    @property
    def num_columns(self) -> int:
        """Neighbours per row."""
        return self.indices.shape[1]

    def first(self, k: int) -> Neighbors:
        """The nearest ones: those that a search for fewer would have found.

        Args:
            k: Neighbours per row.

        Returns:
            At most ``k`` of them.
        """
        if k >= self.num_columns:
            return self
        return Neighbors(
            np.ascontiguousarray(self.indices[:, :k]),
            np.ascontiguousarray(self.similarities[:, :k]),
            self.min_similarity,
        )


@dataclass(frozen=True)
class CameraNeighbors:
    """The nearest neighbours in the same camera, and those in the others.

    Args:
        intra: Within the camera, the row itself first; index -1 and similarity -inf where the camera has no more.
        inter: Of other cameras, likewise, without the row itself.
    """

    intra: Neighbors
    inter: Neighbors

    @property
    def num_columns(self) -> int:
        """Neighbours per row in both lists."""
        return self.intra.num_columns + self.inter.num_columns

    @property
    def min_similarity(self) -> np.ndarray | None:
        """As :attr:`Neighbors.min_similarity`, over the images of all cameras."""
        return self.intra.min_similarity

    def together(self) -> Neighbors:
        """All of them; where a list has ended, the row itself.

        Returns:
            Indices int32 (N, k_intra + k_inter), in no order but the row itself first.
        """
        indices = np.concatenate([self.intra.indices, self.inter.indices], 1)
        similarities = np.concatenate([self.intra.similarities, self.inter.similarities], 1)
        rows, places = np.nonzero(indices < 0)
        indices[rows, places] = rows
        similarities[rows, places] = similarities[rows, 0]
        return Neighbors(indices, similarities, self.intra.min_similarity)

    def nearest(self, k: int) -> Neighbors:
        """The nearest of all cameras.

        Args:
            k: Neighbours per row, no more than either list is long unless that list has all there are.

        Returns:
            Those that :func:`find_neighbors` finds, at most ``k``.
        """
        indices = np.concatenate([self.intra.indices, self.inter.indices], 1)
        similarities = np.concatenate([self.intra.similarities, self.inter.similarities], 1)
        scores = -similarities
        scores[:, 0] = -np.inf  # the row itself, also among exact duplicates
        order = np.lexsort((indices, scores))[:, : min(k, len(indices))]
        return Neighbors(
            np.take_along_axis(indices, order, 1),
            np.take_along_axis(similarities, order, 1),
            self.intra.min_similarity,
        )


@dataclass(frozen=True)
class Wanted:
    """Which images compete for the places of a list.

    Args:
        k: Places.
        cameras: int32 (N,); those of the row's own camera compete, or those of the others. Of length 0: all do.
        same: Whether it is those of the own camera.
        farthest: Whether the farthest win, instead of the nearest.
    """

    k: int
    cameras: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    same: bool = False
    farthest: bool = False

    @property
    def rule(self) -> tuple[np.ndarray, np.ndarray, bool]:
        """What the kernels are told of it."""
        return self.cameras, self.cameras, self.same

    @property
    def itself(self) -> bool:
        """Whether a row stands in its own list."""
        return not self.farthest and (self.same or not self.cameras.size)


@dataclass
class Lists:
    """The nearest of each row so far; a place not yet taken has index N and the lowest score there is.

    Args:
        wanted: Who competes.
        indices: int32 (N, k).
        scores: float32 (N, k), similarities, or int32 (N, k), those of rounded rows; descending. The row itself has
            the largest value of the type.
        min_similarity: float32 (N,), smallest similarity so far; or (0,) if nobody asks.
    """

    wanted: Wanted
    indices: np.ndarray
    scores: np.ndarray
    min_similarity: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All of it, for sending."""
        return self.indices, self.scores, self.min_similarity

    @classmethod
    def empty(
        cls, num: int, wanted: Wanted, dtype: type, with_min_similarity: bool = False
    ) -> Lists:
        """Lists with free places.

        Args:
            num: N, rows.
            wanted: Who competes.
            dtype: float32 or int32, of the scores.
            with_min_similarity: Whether the smallest similarities are asked for.

        Returns:
            The lists.
        """
        return cls(
            wanted,
            np.full((num, wanted.k), num, np.int32),
            np.full((num, wanted.k), -largest(dtype), dtype),
            np.full(num if with_min_similarity else 0, np.inf, np.float32),
        )

    @classmethod
    def merged(cls, parts: Sequence[Lists]) -> Lists:
        """The best of several lists of the same rows.

        Args:
            parts: Lists that competed for different images.

        Returns:
            The lists.
        """
        wanted = parts[0].wanted
        indices = np.concatenate([part.indices for part in parts], 1)
        scores = np.concatenate([part.scores for part in parts], 1)
        order = np.lexsort((indices, -scores))[:, : wanted.k]
        return cls(
            wanted,
            np.take_along_axis(indices, order, 1),
            np.take_along_axis(scores, order, 1),
            np.min([part.min_similarity for part in parts], axis=0),
        )


def joined(searches: Sequence[Lists]) -> list[Lists]:
    """Bring the lists of all ranks together.

    Args:
        searches: Those of this rank.

    Returns:
        The lists on rank 0; nothing elsewhere.
    """
    if get_world_size() == 1:
        return list(searches)
    parts = gather_on_rank0([array for lists in searches for array in lists.arrays]) or []
    by_search = zip(
        *(
            [Lists(lists.wanted, *part[3 * at : 3 * at + 3]) for at, lists in enumerate(searches)]
            for part in parts
        )
    )
    return [Lists.merged(lists) for lists in by_search]


def largest(dtype: Any) -> Any:
    """The score of a row with itself.

    Args:
        dtype: float32 or int32.

    Returns:
        The largest value of the type.
    """
    return np.inf if dtype == np.float32 else np.iinfo(dtype).max
