"""Inverted lists of rows that stay where they are: k-means sorts them, and a row is compared with the nearest lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmreid_uda.utils import make_rng

from .lists import Lists, Wanted

__all__ = [
    "InvertedLists",
    "draw_sample",
    "inverted_bytes",
    "nearest_lists",
    "number_of_lists",
    "train_centers",
]

# Lists of an inverted file: 4·sqrt(N), and images enough to train each (faiss asks for 39).
_LISTS_PER_ROOT, _IMAGES_PER_LIST = 4, 39
# A list's number is kept in 16 bits.
_MOST_LISTS = 1 << 16
# Images of the sample for k-means, for each list, and its iterations.
_TRAINED_PER_LIST, _ITERATIONS = 64, 10
# Rows compared with all centers at once.
_ROWS = 1024
# Members of a list compared at once: where features have collapsed, one list has all images.
_MEMBERS = 1024
# More of the nearest lists than these are chosen by a partition instead of a list in order.
_FEW = 96


def number_of_lists(num: int) -> int:
    """How many lists so many images are sorted into.

    Args:
        num: N.

    Returns:
        About ``4·sqrt(N)``, fewer for few images.
    """
    return max(1, min(int(_LISTS_PER_ROOT * num**0.5), num // _IMAGES_PER_LIST, _MOST_LISTS))


def inverted_bytes(num: int, dim: int, nprobe: int, rows: int, threads: int) -> int:
    """Memory of inverted lists and their search.

    Args:
        num: N.
        dim: D.
        nprobe: Lists that a row looks at.
        rows: Rows that are searched together.
        threads: So many at a time.

    Returns:
        Bytes; training, which is over when the search begins, takes no more at a time.
    """
    lists = number_of_lists(num)
    nprobe = min(nprobe, lists)
    # Numbers of lists, the order of all rows while they are sorted, and centers.
    held = num * (2 * nprobe + 16) + 4 * lists * dim
    # The rows that ask, with the similarities; the numbers of their lists in order; or, before, those with all centers.
    thread = 4 * rows * (dim + _MEMBERS) + 16 * rows * nprobe + 4 * dim * _MEMBERS
    training = 8 * dim * min(num, _sample_size(lists))
    return max(held + threads * max(thread, 8 * _ROWS * lists), training)


def _sample_size(lists: int) -> int:
    return max(_TRAINED_PER_LIST * lists, 1 << 14)


def draw_sample(rows: np.ndarray, lists: int, seed: int) -> np.ndarray:
    """Rows to train an index on: 64 for each list, at most all.

    Args:
        rows: float32 (N, D).
        lists: How many there are to train.
        seed: Of the draw.

    Returns:
        float32 (M, D).
    """
    size = _sample_size(lists)
    if size >= len(rows):
        return rows
    rng = make_rng(seed, "sample of an index")
    return rows[np.sort(rng.choice(len(rows), size, replace=False))]


def train_centers(faiss: Any, rows: np.ndarray, seed: int) -> np.ndarray:
    """The centers of the lists, by k-means on a sample.

    Args:
        faiss: The package.
        rows: float32 (N, D), unit rows.
        seed: Of the sample and the k-means.

    Returns:
        float32 (L, D), unit rows.
    """
    lists = number_of_lists(len(rows))
    sample = draw_sample(rows, lists, seed)
    kmeans = faiss.Kmeans(
        rows.shape[1],
        lists,
        niter=_ITERATIONS,
        spherical=True,
        seed=int(make_rng(seed, "inverted file").integers(2**31)),
        min_points_per_centroid=1,  # faiss would warn of few images on stdout
        max_points_per_centroid=len(sample),
    )
    kmeans.train(np.ascontiguousarray(sample))
    return kmeans.centroids


@dataclass(frozen=True)
class InvertedLists:
    """The rows of an array, sorted into lists by number; the array is not copied.

    Args:
        rows: float32 (N, D), unit rows; may be mapped from a file.
        centers: float32 (L, D).
        members: int32 (N,), the rows of the first list, of the second, ...; ascending in each.
        starts: int64 (L + 1,), where the lists begin.
    """

    rows: np.ndarray
    centers: np.ndarray
    members: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, centers: np.ndarray, nearest: np.ndarray) -> InvertedLists:
        """Sort the rows.

        Args:
            rows: As above.
            centers: As above.
            nearest: uint16 (N,), the nearest center of each row.

        Returns:
            The lists.
        """
        members = np.argsort(nearest, kind="stable").astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(np.bincount(nearest, minlength=len(centers)))])
        return cls(rows, centers, members, starts)

    def search(self, first: int, probes: np.ndarray, wanted: Sequence[Wanted]) -> list[np.ndarray]:
        """The nearest rows in the lists that some rows look at, themselves left out.

        Blocks of similarities are those of one list with the rows that look at it, whoever computes them.

        Args:
            first: The first of the rows.
            probes: uint16 (n, nprobe), the lists that each looks at.
            wanted: Who competes.

        Returns:
            For each that is wanted int32 (n, k), N where there are no more.
        """
        from . import kernels

        num = len(probes)
        own = self.rows[first : first + num]
        found = [Lists.empty(num, one, np.float32) for one in wanted]
        flat = probes.reshape(-1)
        looking = (np.argsort(flat, kind="stable") // probes.shape[1]).astype(np.int32)
        counts = np.bincount(flat, minlength=len(self.centers))
        ends = np.cumsum(counts)
        for number in np.flatnonzero(counts * np.diff(self.starts)).tolist():
            asking = looking[ends[number] - counts[number] : ends[number]]
            members = self.members[self.starts[number] : self.starts[number + 1]]
            asked = own[asking]
            for start in range(0, len(members), _MEMBERS):
                part = members[start : start + _MEMBERS]
                scores = asked @ self.rows[part].T
                for lists in found:
                    rule = (lists.wanted.cameras, lists.wanted.same)
                    kernels.merge_topk_scattered(
                        scores, asking, part, first, *rule, lists.indices, lists.scores
                    )
        for lists in found:
            lists.indices[np.isneginf(lists.scores)] = len(self.rows)
        return [lists.indices for lists in found]


def nearest_lists(block: np.ndarray, centers: np.ndarray, nprobe: int) -> np.ndarray:
    """The lists whose centers are nearest to rows.

    Args:
        block: float32 (n, D).
        centers: float32 (L, D).
        nprobe: Lists, at most L.

    Returns:
        uint16 (n, nprobe), the nearest first, the others in any order.
    """
    from . import kernels

    nearest = np.empty((len(block), nprobe), np.uint16)
    nobody = np.empty(0, np.int32)
    for start in range(0, len(block), _ROWS):
        scores = block[start : start + _ROWS] @ centers.T
        if nprobe <= _FEW:
            lists = Lists.empty(len(scores), Wanted(nprobe), np.float32)
            kernels.merge_topk(scores, 0, 0, nobody, nobody, False, *lists.arrays)
            nearest[start : start + _ROWS] = lists.indices
            continue
        best = scores.argmax(1)
        scores[np.arange(len(scores)), best] = np.inf
        chosen = np.argpartition(-scores, nprobe - 1, 1)[:, :nprobe]
        at = (chosen == best[:, None]).argmax(1)
        chosen[np.arange(len(chosen)), at] = chosen[:, 0]
        chosen[:, 0] = best
        nearest[start : start + _ROWS] = chosen
    return nearest
