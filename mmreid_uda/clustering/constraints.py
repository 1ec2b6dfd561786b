"""What must, and what cannot be one cluster: links without contradictions, and the rule of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mmreid_uda.structures import Links
from mmreid_uda.utils import InputError

from .labels import components, renumber_by_first

__all__ = ["TICKS", "Constraints", "consistent_links", "make_constraints", "time_conflicts"]

TICKS = 1000
"""Times are compared in milliseconds: what a frame number and a rate give differs in the last bit."""


@dataclass(frozen=True)
class Constraints:
    """Constraints between M nodes, free of contradictions.

    A cannot-link is a set of two groups. People seen at one instant are one set, however many they are: a rule never
    becomes pairs.

    Args:
        sizes: int64 (M,), images of each node.
        groups: int64 (M,), nodes that must be one cluster share a number ``0..G-1``, in the order of their first nodes.
        exclusive: int8 (S, G), sets of groups; no two groups of a set can be one cluster.
        spread: How much one subject varies: the median cosine distance between the means of the first and the second
            half of a tracklet, see :func:`~mmreid_uda.clustering.tracklets.half_distances`; None = unknown.
    """

    sizes: np.ndarray
    groups: np.ndarray
    exclusive: sparse.csr_array
    spread: float | None = None

    @classmethod
    def none(cls, sizes: np.ndarray) -> Constraints:
        """Nothing must, everything can be.

        Args:
            sizes: int64 (M,), images of each node.

        Returns:
            Constraints of M nodes.
        """
        return make_constraints(sizes)

    @property
    def group_sizes(self) -> np.ndarray:
        """int64 (G,), images of each group."""
        return np.bincount(self.groups, self.sizes).astype(np.int64)

    @property
    def constrained(self) -> np.ndarray:
        """Bool (G,), groups that cannot be in one cluster with some other."""
        return np.bincount(self.exclusive.indices, minlength=self.exclusive.shape[1]) > 0

    @property
    def exclusive_share(self) -> float:
        """Share of all pairs of groups that cannot be in one cluster, 0..1; a pair in several sets counts as often."""
        num = self.exclusive.shape[1]
        sizes = np.diff(self.exclusive.indptr).astype(np.float64)
        return min(1.0, float((sizes * (sizes - 1)).sum()) / max(num * (num - 1), 1))

    def contracted(self) -> Constraints:
        """The same with each group as one node.

        Returns:
            Constraints of G nodes, each a group of its own.
        """
        sizes = self.group_sizes
        return Constraints(sizes, np.arange(len(sizes)), self.exclusive, self.spread)

    def violations(self, labels: np.ndarray) -> tuple[int, int]:
        """Count what labels do not obey.

        Args:
            labels: int64 (M,) of the nodes, -1 = outlier.

        Returns:
            Nodes that are not in the cluster of the first node of their group, or outliers in a group of several; and
            groups of a set beyond the first in one cluster.
        """
        first = np.unique(self.groups, return_index=True)[1]
        several = np.bincount(self.groups)[self.groups] > 1
        apart = several & ((labels != labels[first][self.groups]) | (labels < 0))
        sets = np.repeat(np.arange(self.exclusive.shape[0]), np.diff(self.exclusive.indptr))
        found = labels[first][self.exclusive.indices]
        sets, found = sets[found >= 0], found[found >= 0]
        together = len(found) - len(np.unique(np.stack([sets, found]), axis=1).T)
        return int(apart.sum()), together


def consistent_links(links: Links) -> np.ndarray:
    """Which links can be kept together: those of high priority first, of equal ones the earlier.

    A must-link is rejected if kept cannot-links separate what it would join; a cannot-link, if kept must-links join
    what it would separate. Must-links of an image to itself say nothing.

    Args:
        links: Between any positions.

    Returns:
        bool (L,), True = kept.

    Raises:
        InputError: If something cannot be the same as itself.
    """
    itself = (links.first == links.second) & ~links.must
    if itself.any():
        raise InputError(
            f"found {itself.sum()} cannot-links of an image to itself (the first is of image "
            f"{links.first[itself][0]}), expected two images: correct the file of links."
        )
    parent: dict[int, int] = {}
    forbidden: dict[int, set[int]] = {}

    def find(place: int) -> int:
        while (above := parent.setdefault(place, place)) != place:
            parent[place] = place = parent.setdefault(above, above)
        return place

    kept = np.zeros(len(links), np.bool_)
    for number in np.argsort(-links.priority, kind="stable").tolist():
        a, b = find(int(links.first[number])), find(int(links.second[number]))
        apart = b in forbidden.get(a, ())
        if not links.must[number]:
            if a == b:
                continue
            forbidden.setdefault(a, set()).add(b)
            forbidden.setdefault(b, set()).add(a)
        elif apart:
            continue
        elif a != b:
            # The smaller set is renamed and poured into the larger.
            if len(forbidden.get(a, ())) < len(forbidden.get(b, ())):
                a, b = b, a
            parent[b] = a
            for other in forbidden.pop(b, ()):
                forbidden[other].remove(b)
                forbidden[other].add(a)
                forbidden.setdefault(a, set()).add(other)
        kept[number] = True
    return kept


def make_constraints(
    sizes: np.ndarray,
    links: Links | None = None,
    exclusive: tuple[np.ndarray, np.ndarray] | None = None,
    spread: float | None = None,
) -> Constraints:
    """Close links under what follows from them.

    Args:
        sizes: int64 (M,), images of each node.
        links: Between nodes, all of them kept by :func:`consistent_links`.
        exclusive: Sets of nodes that exclude each other, as :func:`time_conflicts` gives them. Links prevail: of a set,
            nodes that must be one cluster count as one.
        spread: As of :class:`Constraints`.

    Returns:
        The constraints.
    """
    num, links = len(sizes), Links() if links is None else links
    must, cannot = links.must, ~links.must
    groups = renumber_by_first(components(links.first[must], links.second[must], num))
    num_groups = int(groups.max()) + 1
    pairs = np.stack([groups[links.first[cannot]], groups[links.second[cannot]]], axis=1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    rows = np.repeat(np.arange(len(pairs)), 2)
    columns = pairs.ravel()
    if exclusive is not None:
        rows = np.concatenate([rows, exclusive[0] + len(pairs)])
        columns = np.concatenate([columns, groups[exclusive[1]]])
    # Groups that are twice in a set are there once; a set of one says nothing.
    rows, columns = np.unique(np.stack([rows, columns]), axis=1)
    rows, inverse = np.unique(rows, return_inverse=True)
    useful = (np.bincount(inverse, minlength=1) > 1)[inverse] if len(rows) else inverse > 0
    rows, columns = np.unique(inverse[useful], return_inverse=True)[1], columns[useful]
    sets = sparse.csr_array(
        (np.ones(len(rows), np.int8), (rows, columns)),
        shape=(int(rows.max(initial=-1)) + 1, num_groups),
    )
    return Constraints(np.asarray(sizes, np.int64), groups, sets, spread)


def time_conflicts(
    starts: np.ndarray,
    ends: np.ndarray,
    cameras: np.ndarray,
    disjoint: Iterable[Sequence[int]] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Which nodes were seen at the same time, and so are different subjects.

    Nodes of one camera exclude each other where their spans overlap, ends included; likewise nodes of cameras that do
    not overlap in view. Instants (spans of no length) of one time are one set; spans that overlap are sets of two. Of a
    tracker that follows one subject twice nothing is known here: its boxes would tell.

    Args:
        starts: float64 (M,) in seconds, on one clock for all cameras; NaN = unknown.
        ends: float64 (M,), not before the starts.
        cameras: int64 (M,), -1 = unknown.
        disjoint: Numbers of cameras of which no two see the same place.

    Returns:
        Sets and nodes, int64 (K,) and (K,): the node is in the set. Sets are numbered from 0.
    """
    known = np.isfinite(starts) & np.isfinite(ends) & (cameras >= 0)
    starts, ends = (
        np.round(np.where(known, times, 0) * TICKS).astype(np.int64) for times in (starts, ends)
    )
    numbers = np.unique(cameras[known])
    clocks = [list(of) for of in disjoint]
    together = {number for clock in clocks for number in clock}
    clocks += [[number] for number in numbers.tolist() if number not in together]
    sets, nodes, num = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    pairs = [np.zeros((0, 2), np.int64)]
    for clock in clocks:
        here = np.flatnonzero(known & np.isin(cameras, clock))
        here = here[np.argsort(starts[here], kind="stable")]
        spans, points = here[ends[here] > starts[here]], here[ends[here] == starts[here]]
        at = starts[points]
        # Instants: each time is a set.
        sets.append(num + np.unique(at, return_inverse=True)[1])
        nodes.append(points)
        num = max(num, int(sets[-1].max(initial=-1)) + 1)
        # Spans in the order of their starts overlap those that begin before they end.
        until = np.searchsorted(starts[spans], ends[spans], "right")
        pairs.append(_ranges(spans, np.arange(1, len(spans) + 1), until, spans))
        begin = np.searchsorted(at, starts[spans], "left")
        until = np.searchsorted(at, ends[spans], "right")
        pairs.append(_ranges(spans, begin, until, points))
    joined = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    sets.append(num + np.repeat(np.arange(len(joined)), 2))
    nodes.append(joined.ravel())
    return np.concatenate(sets), np.concatenate(nodes)


def _ranges(
    nodes: np.ndarray, begin: np.ndarray, end: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Pairs int64 (P, 2) of every node with ``others[begin:end]`` of its own."""
    counts = np.maximum(end - begin, 0)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([np.repeat(nodes, counts), others[np.repeat(begin, counts) + offsets]], axis=1)
