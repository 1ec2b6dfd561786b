"""Tracklets as nodes: what a tracker has followed, cut where it took up somebody else."""

from __future__ import annotations

import numpy as np

from mmreid_uda.structures import Evidence, Links
from mmreid_uda.utils import InputError

from .constraints import consistent_links
from .labels import components, renumber_by_first

__all__ = ["chain_links", "half_distances", "identity_switches", "tracklet_nodes"]

# Images looked at on each side of a possible cut: a person's look changes slowly, that of a tracklet at once.
_WINDOW = 12
# Images of a tracklet that is worth being halved.
_LONG = 4
# A tracker's word has the priority of a rule; that of a person is higher.
_PRIORITY = 1


def tracklet_nodes(
    features: np.ndarray,
    evidence: Evidence,
    switches: np.ndarray | None = None,
    links: bool = True,
) -> tuple[np.ndarray, int]:
    """Put the images of each tracklet together.

    Args:
        features: float32 (N, D), rows of unit norm.
        evidence: Of these images. A person's cannot-link within a tracklet cuts it.
        switches: bool (P,), of :func:`identity_switches`; None keeps what the tracker followed.
        links: Whether links are obeyed. Defaults to True.

    Returns:
        int64 (N,), node of each image, numbered by their first images; and how many cuts were made.

    Raises:
        InputError: The switches are those of other tracklets.
    """
    first, second = chain_links(evidence.tracklets, evidence.times)
    if switches is not None and len(switches) != len(first):
        raise InputError(
            f"found tracklets that could be cut at {len(first)} places, expected {len(switches)} as in the run that is "
            "resumed: resume with the same tracklets, or start anew with load_from instead of --resume."
        )
    distances = _gaps(features, first, second)
    kept = np.ones(len(first), np.bool_) if switches is None else ~switches
    # What a person says of images of tracklets comes first; then the links of those tracklets, the surest first.
    tracklets = evidence.tracklets
    said = evidence.links.chosen(links & (evidence.links.priority > _PRIORITY))
    touched = np.unique(tracklets[np.concatenate([said.first, said.second])])
    asked = np.flatnonzero(kept & np.isin(tracklets[first], touched))
    asked = asked[np.argsort(distances[asked], kind="stable")]
    rule = np.ones(len(asked), np.int64)
    together = Links(
        np.concatenate([said.first, first[asked]]),
        np.concatenate([said.second, second[asked]]),
        np.concatenate([said.must, rule > 0]),
        np.concatenate([said.priority, rule * _PRIORITY]),
    )
    kept[asked] = consistent_links(together)[len(said) :]
    nodes = components(first[kept], second[kept], len(features))
    return renumber_by_first(nodes), int((~kept).sum())


def half_distances(features: np.ndarray, nodes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """How much a subject varies while it is followed: the first half of its images against the second.

    Args:
        features: float32 (N, D), rows of unit norm.
        nodes: int64 (N,), -1 = none.
        times: float64 (N,), NaN = unknown.

    Returns:
        Cosine distance between the means of the two halves, float64, of every node with at least four images.
    """
    followed = np.flatnonzero(nodes >= 0)
    order = followed[np.lexsort((times[followed], nodes[followed]))]
    numbers, begin, sizes = np.unique(nodes[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(begin, sizes)
    long = np.repeat(sizes >= _LONG, sizes)
    which = 2 * np.repeat(np.arange(len(numbers)), sizes) + (2 * place >= np.repeat(sizes, sizes))
    sums = np.zeros((2 * len(numbers), features.shape[1]), np.float32)
    np.add.at(sums, which[long], features[order[long]])
    first, second = sums[::2][sizes >= _LONG], sums[1::2][sizes >= _LONG]
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return 1 - np.einsum("nd,nd->n", first, second) / lengths


def chain_links(tracklets: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each image of a tracklet with the next.

    Args:
        tracklets: int64 (N,), -1 = none.
        times: float64 (N,), NaN = unknown: such images come last; of equal times the order is that of the images.

    Returns:
        Positions int64 (P,) and (P,), tracklet by tracklet.
    """
    followed = np.flatnonzero(tracklets >= 0)
    order = followed[np.lexsort((times[followed], tracklets[followed]))]
    same = tracklets[order[1:]] == tracklets[order[:-1]]
    return order[:-1][same], order[1:][same]


def identity_switches(features: np.ndarray, evidence: Evidence, cut_above: float) -> np.ndarray:
    """Where a tracker has most likely taken up somebody else.

    Before and after a switch stand two looks, each for a while, and the change comes at once. So a place is judged by
    the product of two numbers: the distance of the two images beside it; and by how much two means describe the images
    around it better than one (the gain of a change point, ``n₁n₂/(n₁+n₂) · |mean₁ - mean₂|²/2`` of up to twelve images
    on each side). Both are measured in their medians over all places, most of which are no switch.

    Args:
        features: float32 (N, D), rows of unit norm.
        evidence: Of these images.
        cut_above: Product above which a place is cut.

    Returns:
        bool (P,), a value for each pair of :func:`chain_links`, True = cut between the two images.
    """
    first, second = chain_links(evidence.tracklets, evidence.times)
    distances = _gaps(features, first, second)
    cuts = np.zeros(len(first), np.bool_)
    if not len(first):
        return cuts
    chains = np.flatnonzero(np.concatenate([[True], first[1:] != second[:-1]]))
    ends = np.append(chains[1:], len(first))
    parts = [(begin, end) for begin, end in zip(chains.tolist(), ends.tolist())]
    rows = [features[np.append(first[begin:end], second[end - 1])] for begin, end in parts]
    gains = [_gains(row) for row in rows]
    unit = np.median(np.concatenate(gains)) * np.median(distances)
    while parts:
        (begin, end), row, gain = parts.pop(), rows.pop(), gains.pop()
        scores = gain * distances[begin:end]
        at = int(scores.argmax())
        if scores[at] <= cut_above * unit:
            continue
        cuts[begin + at] = True
        # What is left on either side is looked at anew.
        for low, high in ((0, at), (at + 1, end - begin)):
            if low < high:
                parts.append((begin + low, begin + high))
                rows.append(row[low : high + 1])
                gains.append(_gains(rows[-1]))
    return cuts


def _gaps(features: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine distance of each pair of images, float32 (P,)."""
    return 1 - np.einsum("nd,nd->n", features[first], features[second])


def _gains(rows: np.ndarray) -> np.ndarray:
    """How much two means describe the rows around each gap better than one, float64 (n - 1,)."""
    num = len(rows)
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])
    at = np.arange(1, num)
    low, high = np.maximum(at - _WINDOW, 0), np.minimum(at + _WINDOW, num)
    before, after = (at - low)[:, None], (high - at)[:, None]
    change = (sums[at] - sums[low]) / before - (sums[high] - sums[at]) / after
    return (before * after / (before + after))[:, 0] * np.einsum("nd,nd->n", change, change) / 2
