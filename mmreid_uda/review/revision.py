"""What becomes of the links that are there when a person says something new: pure arrays.

Must-links close: who is linked with the same image is linked. So a group of images is kept together by few links, and
a cannot-link between two images speaks of their groups. What is taken out of a group may have held it together, or
have carried its cannot-links; then new links must stand in for the old ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmreid_uda.clustering import consistent_links
from mmreid_uda.clustering.labels import components
from mmreid_uda.structures import Links

__all__ = ["Revision", "join_links", "pairs_to_links", "revise"]

Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Revision:
    """What is to be written beside a person's word.

    Args:
        taken_back: int64, positions in the old links of those that contradict it.
        carried: Links that stand in for old ones.
        woken: int64, images that were ignored until somebody spoke of them.
    """

    taken_back: np.ndarray
    carried: Links
    woken: np.ndarray


def pairs_to_links(first: np.ndarray, second: np.ndarray, must: bool, priority: int = 2) -> Links:
    """Links of one kind.

    Args:
        first: int (L,), images.
        second: int (L,), the other images, or one for all.
        must: True = the same subject.
        priority: Of all of them. Defaults to 2, a person's.

    Returns:
        L links, without those of an image to itself.
    """
    first, second = np.broadcast_arrays(np.asarray(first, np.int64), np.asarray(second, np.int64))
    apart = first != second
    num = int(apart.sum())
    return Links(first[apart], second[apart], np.full(num, must), np.full(num, priority))


def join_links(*parts: Links) -> Links:
    """Links one after the other.

    Args:
        *parts: Some links each.

    Returns:
        All of them, in their order.
    """
    return Links(
        *(
            np.concatenate([getattr(one, name) for one in parts])
            for name in ("first", "second", "must", "priority")
        )
    )


def revise(
    old: Links, ignored: np.ndarray, new: Links, leaving: np.ndarray, distances: Distances
) -> Revision:
    """Fit old links to a person's word, which prevails over all that was said before.

    * Old links that contradict it are taken back. Where it joins, cannot-links go first; where it separates, of the
      must-links between the two that one goes whose images are farthest apart.
    * What followed from the old links and is not contradicted still follows: a group that lost links is linked anew,
      as far as it may be one, and each of its parts keeps the group's cannot-links.
    * After that no link contradicts another, so a clusterer that obeys links obeys all of them.

    As many links are carried as were taken back or ended at images that leave, times two at most for must-links, and a
    cannot-link of a group for each part that the group came apart into.

    Args:
        old: Between N images, each pair once.
        ignored: bool (N,), images that show no subject; links of theirs sleep.
        new: What is said now, free of contradictions. Of its cannot-links the first images are one group.
        leaving: int64, images that are said to show no subject.
        distances: Of pairs of images (first, second), float (L,).

    Returns:
        What is to be written.
    """
    num, empty = len(ignored), Links()
    spoken = np.unique(np.concatenate([new.first, new.second]))
    woken = spoken[ignored[spoken]]
    after = ignored.copy()
    after[woken], after[leaving] = False, True
    slept, sleeps = (mask[old.first] | mask[old.second] for mask in (ignored, after))
    base = np.flatnonzero(~slept)
    base = base[consistent_links(old.chosen(base))]
    asked = np.flatnonzero(~sleeps)
    kept, taken_back = _kept(old, asked, slept, new, distances)

    before = old.chosen(base)
    groups = components(before.first[before.must], before.second[before.must], num)
    links = join_links(new, old.chosen(kept))
    lost = base[~np.isin(base, kept)]
    touched = np.unique(groups[np.concatenate([old.first[lost], old.second[lost]])])
    if not len(touched):
        return Revision(taken_back, empty, woken)
    musts = _carried_musts(links, groups, touched, after, new)
    links = join_links(links, musts)
    said = before.chosen(~before.must & ~np.isin(base, taken_back))
    cannots = _carried_cannots(links, groups, touched, after, said)
    return Revision(taken_back, join_links(musts, cannots), woken)


def _kept(
    old: Links, asked: np.ndarray, slept: np.ndarray, new: Links, distances: Distances
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the old links that fit to the new ones, and of those that do not."""
    must = old.must[asked]
    trusted = must if new.must.all() else ~must
    # What awakes has the least to say. Of what is not trusted the nearest images are believed first.
    rank = np.where(slept[asked], 2.0, np.where(trusted, 0.0, 1.0))
    far = np.zeros(len(asked))
    far[must & ~trusted] = distances(*_ends(old, asked[must & ~trusted]))
    order = np.lexsort((np.arange(len(asked)), far, -old.priority[asked], rank))
    asked = asked[order]
    both = join_links(new, old.chosen(asked))
    fits = consistent_links(
        Links(both.first, both.second, both.must, np.zeros(len(both), np.int64))
    )[len(new) :]
    return np.sort(asked[fits]), np.sort(asked[~fits])


def _ends(links: Links, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return links.first[which], links.second[which]


def _parts(
    links: Links, groups: np.ndarray, touched: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, dict[int, dict[int, int]]]:
    """Groups of images under links; and of each touched old group its parts there, with an image of each."""
    now = components(links.first[links.must], links.second[links.must], len(groups))
    parts: dict[int, dict[int, int]] = defaultdict(dict)
    for image in np.flatnonzero(np.isin(groups, touched) & ~ignored).tolist():
        parts[int(groups[image])].setdefault(int(now[image]), image)
    return now, parts


def _carried_musts(
    links: Links, groups: np.ndarray, touched: np.ndarray, ignored: np.ndarray, new: Links
) -> Links:
    """Must-links that hold the parts of each touched group together, as far as they may be one."""
    now, parts = _parts(links, groups, touched, ignored)
    # The group that is separated from the rest comes last: the rest is linked past it.
    separated = set(now[new.first[~new.must]].tolist())
    chains = [
        [of_part[part] for part in sorted(of_part, key=lambda part: (part in separated, part))]
        for of_part in parts.values()
    ]
    first = [image for chain in chains for image in chain[:-1]]
    second = [image for chain in chains for image in chain[1:]]
    wanted = pairs_to_links(np.array(first, np.int64), np.array(second, np.int64), True)
    both = join_links(links, wanted)
    fits = consistent_links(
        Links(both.first, both.second, both.must, -(np.arange(len(both)) >= len(links)).astype(int))
    )
    return wanted.chosen(fits[len(links) :])


def _carried_cannots(
    links: Links, groups: np.ndarray, touched: np.ndarray, ignored: np.ndarray, said: Links
) -> Links:
    """Cannot-links that all parts of a touched group still have with whom the group had them."""
    of_touched = np.isin(groups[said.first], touched) | np.isin(groups[said.second], touched)
    said = said.chosen(of_touched)
    ends = np.concatenate([said.first, said.second])
    now, parts = _parts(links, groups, np.unique(groups[ends]), ignored)
    known = {
        tuple(sorted(pair))
        for pair in zip(
            now[links.first[~links.must]].tolist(), now[links.second[~links.must]].tolist()
        )
    }
    first, second = [], []
    pairs = zip(groups[said.first].tolist(), groups[said.second].tolist())
    for one, other in dict.fromkeys(pairs):
        for part, image in parts[one].items():
            for counterpart, opposite in parts[other].items():
                pair = tuple(sorted((part, counterpart)))
                if part != counterpart and pair not in known:
                    known.add(pair)
                    first.append(image)
                    second.append(opposite)
    return pairs_to_links(np.array(first, np.int64), np.array(second, np.int64), False)
