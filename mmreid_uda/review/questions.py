"""Pairs of images to ask a person about: those whose answer tells most, and random ones to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch

from mmreid_uda.clustering.labels import components
from mmreid_uda.clustering.tracklets import chain_links
from mmreid_uda.neighbors.knn import find_neighbors
from mmreid_uda.structures import Links
from mmreid_uda.utils import make_rng

from .looks import first_of_each, similarities_to_centers, sums_of, two_looks, unit_rows

__all__ = ["Known", "Question", "Rule", "ask_me", "random_questions"]

Rule = Literal["ask_me", "random", "uniform"]
"""``'ask_me'``: see :func:`ask_me`. ``'random'``: an image and one of its nearest. ``'uniform'``: any two images."""

# Nearest other clusters that one may be merged with, nearest images of a random pair, and outliers looked at.
_NEAREST, _NEIGHBORS, _OUTLIERS = 8, 10, 4096
# Candidates for each question, before farther radii are tried.
_ENOUGH = 3
SCALES = ((0.9, 1.1), (0.8, 1.2), (0.7, 1.3))
"""Factors on the radius of narrower and wider clusterings, step by step."""
FIRST_GUESS = ((0.3, 0.15, 0.08, 0.03), (0.6, 0.45, 0.3, 0.15))
"""Probability that an answer changes labels: of joins and of breaks, in each step and after the last."""
# The first guess weighs as much as so many answers.
_PRIOR_ANSWERS = 4.0

Cell = tuple[int, int]
"""Kind of a question, 0 = join, 1 = break, and its step."""


class Question(NamedTuple):
    """A pair of images: do they show one subject?"""

    first: int
    second: int
    similarity: float
    """Cosine."""
    probability: float
    """That they show one subject, as far as is known; 0.5 of random pairs."""
    gain: float
    """Pairs of images whose labels the answer changes, on average."""
    why: str
    """In words."""
    cell: Cell | None = None
    """Kind and step of the rule ``'ask_me'``."""


class Known:
    """What links say of pairs, closed under what follows from them.

    Args:
        links: Between N images.
        ignored: bool (N,), images that show no subject.
        tracklets: int64 (N,), -1 = none; nothing follows from them, but an answer about an image of a long one tells
            more. Defaults to None: none.
    """

    def __init__(
        self, links: Links, ignored: np.ndarray, tracklets: np.ndarray | None = None
    ) -> None:
        links = links.chosen(~(ignored[links.first] | ignored[links.second]))
        self.links, self.ignored = links, ignored
        self.groups = components(links.first[links.must], links.second[links.must], len(ignored))
        first, second = links.first[links.must], links.second[links.must]
        if tracklets is not None:
            chain = chain_links(tracklets, np.zeros(len(tracklets)))
            first, second = np.append(first, chain[0]), np.append(second, chain[1])
        self.units = components(first, second, len(ignored))
        self._apart = {
            pair for one, other in self._ends(~links.must) for pair in ((one, other), (other, one))
        }

    def _ends(self, which: np.ndarray) -> Iterable[tuple[int, int]]:
        first, second = self.links.first[which], self.links.second[which]
        return zip(self.groups[first].tolist(), self.groups[second].tolist())

    def says(self, first: int, second: int) -> bool:
        """Whether the answer about a pair follows from links.

        Args:
            first: An image.
            second: Another.

        Returns:
            True also where one of both shows no subject.
        """
        one, other = int(self.groups[first]), int(self.groups[second])
        nobody = bool(self.ignored[first] or self.ignored[second])
        return nobody or one == other or (one, other) in self._apart

    def related(self, numbers: np.ndarray, must: bool) -> set[tuple[int, int]]:
        """Parts of a labelling that a link leads between.

        Args:
            numbers: int64 (N,), -1 = none.
            must: Which links.

        Returns:
            Pairs (smaller, larger) of numbers.
        """
        which = self.links.must == must
        one, other = numbers[self.links.first[which]], numbers[self.links.second[which]]
        told = (one >= 0) & (other >= 0)
        return set(
            zip(np.minimum(one, other)[told].tolist(), np.maximum(one, other)[told].tolist())
        )


def ask_me(
    features: np.ndarray,
    labels: np.ndarray,
    known: Known,
    clustered: Callable[[float], np.ndarray],
    past: Mapping[Cell, tuple[int, int]],
    num: int,
    seed: int = 0,
) -> list[Question]:
    """Choose the pairs whose answer is expected to change most labels.

    Clusterings with a narrower and a wider radius disagree with the labels where these are unsure. What a wider one
    joins is asked as *one subject in two clusters?*: the middle images of both; if they are the same, |A|·|B| pairs
    come together (an outlier is a cluster of one). What a narrower one breaks is asked as *two subjects in one
    cluster?*: the middle images of its two largest parts; if they differ, |A|·|B| pairs come apart. Radii are tried in
    three steps (:data:`SCALES`), farther ones only where nearer ones give too few candidates; then come the two looks
    of whole clusters, and the nearest clusters.

    The middle of a part is its image nearest to the center; where images are linked, or of a tracklet, of the most that
    are one.

    The gain of a question is the number of pairs times the probability that the answer changes them. For each kind
    and step that is the share of the answers so far that did, with the first guess of :data:`FIRST_GUESS` as heavy as
    four answers; its odds are multiplied by ``exp(±b·(s - s₀))`` for a pair of cosine ``s`` where ``s₀`` is the median
    of the kind and step, and ``b = (μ₁ - μ₀)/σ²`` the slope between pairs within and between clusters (means and
    common variance of the cosines of the two looks of clusters, and of near clusters). The highest gains are asked,
    each cluster once at most, and no pair whose answer follows from links.

    Args:
        features: float32 (N, D), unit rows, in which images of different cameras can be compared.
        labels: int64 (N,), -1 = outlier.
        known: What is answered or follows from answers.
        clustered: Gives the labels with the radius times a factor.
        past: Of earlier questions by kind and step: how many were answered, and how many of these changed labels.
        num: Questions at most.
        seed: Of the outliers that are looked at, where they are many.

    Returns:
        The questions, the highest gain first.
    """
    parts = _Parts(features, labels, known, seed)
    if not len(parts.images):
        return []
    found: list[_Candidates] = []
    near = _near_parts(parts.centers)
    for step, (narrower, wider) in enumerate([*SCALES, (None, None)]):
        inside = parts.looks() if narrower is None else clustered(narrower)
        joined = None if wider is None else clustered(wider)
        found += [parts.breaks(inside, step), parts.joins(near, joined, step)]
        if sum(len(one.first) for one in found) >= _ENOUGH * num:
            break
    all_of = _Candidates(*(np.concatenate(column) for column in zip(*found)))
    first, second, kind, places, pairs, one, other = all_of
    cosine = np.einsum("nd,nd->n", features[first], features[second]).astype(np.float64)
    slope = parts.slope(near)
    change = np.zeros(len(first))
    for cell in set(zip(kind.tolist(), places.tolist())):
        own = (kind == cell[0]) & (places == cell[1])
        share = _share(past, cell)
        nearer = (cosine[own] - np.median(cosine[own])) * (-slope if cell[0] else slope)
        change[own] = 1 / (1 + (1 - share) / share * np.exp(-np.clip(nearer, -20, 20)))
    gain = change * pairs
    questions: list[Question] = []
    used: set[int] = set()
    for place in np.lexsort((second, first, places, -gain)).tolist():
        if len(questions) == num:
            break
        a, b, own = int(first[place]), int(second[place]), {int(one[place]), int(other[place])}
        if own & used or known.says(a, b):
            continue
        used |= own
        whole = bool(kind[place])
        why = (
            f"If they differ, their cluster comes apart ({int(pairs[place])} pairs of images)"
            if whole
            else f"If they are the same, their two clusters become one ({int(pairs[place])} pairs of images)"
        )
        probability = float(1 - change[place] if whole else change[place])
        cell = int(kind[place]), int(places[place])
        questions.append(
            Question(a, b, float(cosine[place]), probability, float(gain[place]), why, cell)
        )
    return questions


def _share(past: Mapping[Cell, tuple[int, int]], cell: Cell) -> float:
    """How often an answer of this kind and step has changed labels."""
    asked, changed = past.get(cell, (0, 0))
    return (changed + _PRIOR_ANSWERS * FIRST_GUESS[cell[0]][cell[1]]) / (asked + _PRIOR_ANSWERS)


class _Candidates(NamedTuple):
    """Pairs that could be asked; ``one`` and ``other`` are the clusters of the two images."""

    first: np.ndarray
    second: np.ndarray
    kind: np.ndarray
    step: np.ndarray
    pairs: np.ndarray
    one: np.ndarray
    other: np.ndarray


class _Parts:
    """Clusters, and outliers as clusters of one, with their centers and middle images."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, known: Known, seed: int) -> None:
        inlier = np.flatnonzero((labels >= 0) & ~known.ignored)
        clusters, number = np.unique(labels[inlier], return_inverse=True)
        out = np.flatnonzero((labels < 0) & ~known.ignored)
        if len(out) > _OUTLIERS:
            rng = make_rng(seed, "outliers to ask about")
            out = np.sort(rng.choice(out, _OUTLIERS, replace=False))
        self.features, self.known = features, known
        self.images = np.concatenate([inlier, out])
        self.number = np.concatenate([number, len(clusters) + np.arange(len(out))])
        self.num = len(clusters) + len(out)
        self.sizes = np.bincount(self.number, minlength=self.num)
        self.centers, self.similarity, self.middles = self._middles(self.number, self.num)
        self.joined: set[tuple[int, int]] = self._related(self.number, False)
        self.joined |= self._related(self.number, True)
        self.broken: set[int] = set()

    def _middles(self, number: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centers of some parts, cosines of the images to them, and the image in the middle of each."""
        centers = unit_rows(sums_of(self.features, self.images, number, num))
        similarity = similarities_to_centers(self.features, self.images, centers, number)
        # An answer speaks of all that is known to be one with the image: that of the largest such unit of the part.
        unit = np.stack([number, self.known.units[self.images]])
        _, cell, counts = np.unique(unit, axis=1, return_inverse=True, return_counts=True)
        rank = -similarity - 4.0 * counts[cell.ravel()]
        return centers, similarity, self.images[first_of_each(rank, number, num)]

    def _related(self, number: np.ndarray, must: bool) -> set[tuple[int, int]]:
        of_image = np.full(len(self.features), -1)
        of_image[self.images] = number
        return self.known.related(of_image, must)

    def looks(self) -> np.ndarray:
        """Labels of all images by the two looks of their clusters, int64 (N,)."""
        inside = np.full(len(self.features), -1)
        halves = two_looks(self.features, self.images, self.number, self.similarity)
        inside[self.images] = halves.half
        return inside

    def slope(self, near: tuple[np.ndarray, np.ndarray]) -> float:
        """How the odds of one subject grow with the cosine of two images, at least 0."""
        inside = self.looks()[self.images]
        halves, half = np.unique(inside, return_inverse=True)
        _, _, middles = self._middles(half, len(halves))
        whole = np.flatnonzero(np.diff(halves // 2) == 0)
        samples = [
            np.einsum("nd,nd->n", self.features[one], self.features[other]).astype(np.float64)
            for one, other in (
                (middles[whole], middles[whole + 1]),
                (self.middles[near[0]], self.middles[near[1]]),
            )
        ]
        if min(map(len, samples)) < 2:
            return 0.0
        variance = np.average([one.var() for one in samples], weights=[len(one) for one in samples])
        return float(max(samples[0].mean() - samples[1].mean(), 0) / max(variance, 1e-4))

    def breaks(self, inside: np.ndarray, step: int) -> _Candidates:
        """The two largest parts of each cluster that other labels break, if it was not broken before."""
        of_image = inside[self.images]
        alone = of_image < 0
        of_image = np.where(alone, int(inside.max(initial=0)) + 1 + self.images, of_image)
        cells, cell = np.unique(np.stack([self.number, of_image]), axis=1, return_inverse=True)
        cell, owner = cell.ravel(), cells[0]
        sizes = np.bincount(cell, minlength=len(owner))
        centers, _, middles = self._middles(cell, len(owner))
        order = np.lexsort((np.arange(len(owner)), -sizes, owner))
        begin = np.searchsorted(owner[order], np.arange(self.num))
        largest = order[begin]
        # Of equal parts the one least like the largest.
        like = np.einsum("nd,nd->n", centers, centers[largest[owner]])
        order = np.lexsort((like, -sizes, np.arange(len(owner)) != largest[owner], owner))
        counts = np.bincount(owner, minlength=self.num)
        several = np.array(
            [one for one in np.flatnonzero(counts > 1).tolist() if one not in self.broken], np.int64
        )
        one, other = order[begin[several]], order[begin[several] + 1]
        told = self._related(cell, True) | self._related(cell, False)
        fresh = [
            pair not in told
            for pair in zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist())
        ]
        one, other, several = one[fresh], other[fresh], several[fresh]
        self.broken |= set(several.tolist())
        return _candidates(
            middles[one], middles[other], 1, step, sizes[one] * sizes[other], several, several
        )

    def joins(
        self, near: tuple[np.ndarray, np.ndarray], joined: np.ndarray | None, step: int
    ) -> _Candidates:
        """Near clusters whose middle images other labels join, if they were not joined before."""
        one, other = near
        if joined is not None:
            together = joined[self.middles[one]] == joined[self.middles[other]]
            together &= joined[self.middles[one]] >= 0
            one, other = one[together], other[together]
        fresh = [pair not in self.joined for pair in zip(one.tolist(), other.tolist())]
        one, other = one[fresh], other[fresh]
        self.joined |= set(zip(one.tolist(), other.tolist()))
        pairs = self.sizes[one] * self.sizes[other]
        return _candidates(self.middles[one], self.middles[other], 0, step, pairs, one, other)


def _candidates(
    first: np.ndarray,
    second: np.ndarray,
    kind: int,
    step: int,
    pairs: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
) -> _Candidates:
    num = len(first)
    return _Candidates(first, second, np.full(num, kind), np.full(num, step), pairs, one, other)


def _near_parts(centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of clusters of which one is among the nearest of the other, the smaller number first."""
    k = min(_NEAREST, len(centers) - 1)
    if k < 1:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    found = find_neighbors(torch.from_numpy(centers), k + 1)
    assert found is not None
    pairs = np.stack([np.repeat(np.arange(len(centers)), k), found.indices[:, 1:].ravel()])
    one, other = np.unique(np.sort(pairs, axis=0), axis=1)
    return one, other


def random_questions(
    features: np.ndarray, known: Known, num: int, rng: np.random.Generator, near: bool
) -> list[Question]:
    """Choose pairs at random, to compare with.

    Args:
        features: float32 (N, D), unit rows.
        known: What is answered or follows from answers.
        num: Questions at most.
        rng: Draws.
        near: Whether the second is one of the ten nearest images of the first; else it is any other.

    Returns:
        Up to ``num`` questions; fewer where nearly all is known.
    """
    awake = np.flatnonzero(~known.ignored)
    questions: dict[tuple[int, int], Question] = {}
    for _ in range(20 * num):
        if len(questions) == num or len(awake) < 2:
            break
        first = int(rng.choice(awake))
        others = awake[awake != first]
        if near:
            k = min(_NEIGHBORS, len(others))
            others = others[np.argpartition(-(features[others] @ features[first]), k - 1)[:k]]
        second = int(rng.choice(np.sort(others)))
        if not known.says(first, second):
            cosine = float(features[first] @ features[second])
            why = "an image and one of its nearest, drawn" if near else "two images, drawn"
            pair = min(first, second), max(first, second)
            questions.setdefault(pair, Question(first, second, cosine, 0.5, 0.0, why))
    return list(questions.values())
