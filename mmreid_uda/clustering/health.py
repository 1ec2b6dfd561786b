"""Are pseudo-labels healthy? Figures that need no identities, and sentences for those that cannot be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from mmreid_uda.structures import Evidence
from mmreid_uda.utils import InputError

from .camera_choice import one_camera_share
from .constraints import TICKS
from .quality import num_pairs

__all__ = [
    "HealthWarning",
    "health_warnings",
    "label_agreement",
    "label_health",
    "rank_correlations",
]

Metrics = Mapping[str, float]
# Three epochs are in one of six orders.
_FEWEST_EPOCHS = 4


def label_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Adjusted Rand index of two labellings of the same images, an outlier being a cluster of its own.

    Args:
        first: int64 (N,), negative = outlier; N >= 1.
        second: int64 (N,).

    Returns:
        1 for the same partition, 0 on average for labels that have nothing to do with each other, at least -0.5.

    Raises:
        InputError: If the two lists differ in length.
    """
    if first.shape != second.shape:
        raise InputError(
            f"found labels of {len(first)} and of {len(second)} images, expected two labels of each image."
        )
    both = (first >= 0) & (second >= 0)
    cells = first[both] * (second.max(initial=0) + 1) + second[both]
    together = num_pairs(np.unique(cells, return_counts=True)[1])
    of_first, of_second = (num_pairs(np.bincount(one[one >= 0])) for one in (first, second))
    chance = of_first * of_second / max(num_pairs(np.array([len(first)])), 1)
    most = (of_first + of_second) / 2
    return float((together - chance) / (most - chance)) if most > chance else 1.0


def label_health(
    labels: np.ndarray,
    *,
    previous: np.ndarray | None = None,
    mirrored: np.ndarray | None = None,
    evidence: Evidence | None = None,
) -> dict[str, float]:
    """Figures of pseudo-labels that need no identities; what cannot be known is left out.

    Args:
        labels: int64 (N,), ``0..K-1``, -1 = outlier; N >= 1.
        previous: int64 (N,), labels of the epoch before.
        mirrored: int64 (N,), labels of the mirrored images, by the same clusterer.
        evidence: What is known of the images.

    Returns:
        Some of:
            ``ari_previous``, ``ari_mirrored``: :func:`label_agreement` with those labels;
            ``ignored``: images that show no subject, and so have no label;
            ``one_camera_share``, ``one_camera_chance``: see :func:`one_camera_share`; with two cameras at least;
            ``tracklet_purity``: share in 0..1 of the tracklets of several images that are in one cluster as a whole;
            ``seen_together``: share of the tracklets in clusters that are in one with another tracklet that the same
            camera saw at the same time: two people, or one that a tracker followed twice;
            ``must_links``, ``must_violated``: links, and how many of them are not in one cluster;
            ``cannot_links``, ``cannot_violated``: links, and how many of them are in one cluster.

        Links of images that are ignored do not count.
    """
    found: dict[str, float] = {}
    if previous is not None:
        found["ari_previous"] = label_agreement(labels, previous)
    if mirrored is not None:
        found["ari_mirrored"] = label_agreement(labels, mirrored)
    if evidence is None:
        return found
    if evidence.ignored.any():
        found["ignored"] = float(evidence.ignored.sum())
    if len(np.unique(evidence.cameras[evidence.cameras >= 0])) > 1:
        share, chance = one_camera_share(labels, evidence.cameras)
        found.update(one_camera_share=share, one_camera_chance=chance)
    followed = (evidence.tracklets >= 0) & ~evidence.ignored
    purity = _whole_share(labels[followed], evidence.tracklets[followed])
    if purity is not None:
        found["tracklet_purity"] = purity
    together = _seen_together(labels, evidence, followed & (labels >= 0))
    if together is not None:
        found["seen_together"] = together
    links = evidence.links
    counted = ~(evidence.ignored[links.first] | evidence.ignored[links.second])
    one, other = labels[links.first], labels[links.second]
    together = (one == other) & (one >= 0)
    for kind, of_kind, violated in (
        ("must", links.must & counted, ~together),
        ("cannot", ~links.must & counted, together),
    ):
        if of_kind.any():
            found[f"{kind}_links"] = float(of_kind.sum())
            found[f"{kind}_violated"] = float((of_kind & violated).sum())
    return found


def _seen_together(labels: np.ndarray, evidence: Evidence, chosen: np.ndarray) -> float | None:
    """See :func:`label_health`; a tracklet in several clusters is one in each. None without times."""
    chosen = chosen & np.isfinite(evidence.times) & (evidence.cameras >= 0)
    if not chosen.any():
        return None
    times = np.round((evidence.times[chosen] - evidence.times[chosen].min()) * TICKS)
    rows = np.stack([evidence.cameras[chosen], labels[chosen], evidence.tracklets[chosen]])
    parts, of_part = np.unique(rows, axis=1, return_inverse=True)
    of_part = of_part.ravel()
    starts, ends = np.full(parts.shape[1], np.inf), np.full(parts.shape[1], -np.inf)
    np.minimum.at(starts, of_part, times)
    np.maximum.at(ends, of_part, times)
    # On one clock, those of a camera and a cluster behind those of another: who begins before all others have ended?
    new = np.diff(parts[:2], axis=1, prepend=-1).any(axis=0)
    shift = np.cumsum(new) * (times.max() + 1)
    order = np.lexsort((starts, shift))
    starts, ends = ((one + shift)[order] for one in (starts, ends))
    late = starts[1:] <= np.maximum.accumulate(ends)[:-1]
    early = starts[1:] <= ends[:-1]
    return float((np.append(False, late) | np.append(early, False)).mean())


def _whole_share(labels: np.ndarray, groups: np.ndarray) -> float | None:
    """Share of the groups of several images that are in one cluster as a whole; None where there is no such group."""
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    several = sizes > 1
    if not several.any():
        return None
    lowest = np.full(len(sizes), len(labels), np.int64)
    highest = np.full(len(sizes), -1, np.int64)
    np.minimum.at(lowest, groups, labels)
    np.maximum.at(highest, groups, labels)
    return float(((lowest == highest) & (lowest >= 0))[several].mean())


# Figures that could tell good epochs from bad ones, without identities.
_SIGNALS = (
    "clusters",
    "median",
    "largest",
    "outlier_ratio",
    "ari_previous",
    "ari_mirrored",
    "one_camera_share",
    "tracklet_purity",
    "seen_together",
    "must_violated",
    "cannot_violated",
)


def rank_correlations(
    history: Mapping[int, Metrics], truth: Mapping[int, Metrics]
) -> dict[str, dict[str, float]]:
    """How well figures without identities have ranked the epochs: Spearman's rank correlation with what is true.

    Args:
        history: Epoch -> figures of :func:`label_health` and :func:`cluster_statistics`.
        truth: Epoch -> figures made with identities, of the same weights.

    Returns:
        Signal -> name of a figure of the truth -> correlation in -1..1, over the epochs that have both. What is known
        of fewer than four epochs, or is the same in all of them, ranks nothing and is left out.
    """
    found: dict[str, dict[str, float]] = {}
    for signal in _SIGNALS:
        for name in dict.fromkeys(name for one in truth.values() for name in one):
            pairs = [
                (history[epoch][signal], one[name])
                for epoch, one in truth.items()
                if name in one and signal in history.get(epoch, ())
            ]
            if len(pairs) < _FEWEST_EPOCHS:
                continue
            ranks: np.ndarray = rankdata(np.array(pairs), axis=0)
            ranks -= ranks.mean(axis=0)
            lengths = np.sqrt((ranks**2).sum(axis=0))
            if lengths.all():
                found.setdefault(signal, {})[name] = float(np.prod(ranks / lengths, axis=1).sum())
    return found


class HealthWarning(NamedTuple):
    """Something that cannot be right, or has gone wrong, with the labels of an epoch."""

    kind: str
    epoch: int
    """The one before which it was first seen, 0-based."""
    text: str


def health_warnings(history: Mapping[int, Metrics]) -> list[HealthWarning]:
    """What the labels of a run have been warned of, each kind once, when it was first seen.

    Args:
        history: Epoch, 0-based -> figures of :func:`label_health` and :func:`cluster_statistics`.

    Returns:
        In the order of the epochs.
    """
    epochs = sorted(history)
    found: dict[str, HealthWarning] = {}
    for number, epoch in enumerate(epochs, 1):
        so_far = [history[one] for one in epochs[:number]]
        for kind, rule in _RULES.items():
            if kind not in found and (text := rule(so_far)):
                found[kind] = HealthWarning(kind, epoch, text)
    return list(found.values())


# ---- one rule for each kind: figures of the clusterings so far -> a sentence, or nothing

# Clusters that follow cameras: nearly all hold one, and that is far from what chance would give.
_ONE_CAMERA, _ABOVE_CHANCE = 0.9, 0.3
# Left out for good: more than this share, so many times one after the other. The first clusterings may leave out most.
# A share that falls by this much meanwhile is that of a run on its way.
_LEFT_OUT, _IN_A_ROW, _FALLING = 0.5, 3, 0.05
# One cluster with such a share of the images in clusters has swallowed others; not where there are few people at all.
_MERGED, _SEVERAL = 0.5, 4
# Of what it once was; and an agreement that says in two clusterings one after the other that nothing is kept.
_FELL_TO, _NONE = 0.5, 0.2
# Violated links, tracklets with another of the same time, and tracklets that are in one cluster, of all.
_VIOLATED, _TOGETHER, _WHOLE = 0.05, 0.1, 0.5


def _one_camera(metrics: Sequence[Metrics]) -> str:
    share, chance = (metrics[-1].get(f"one_camera_{name}", 0.0) for name in ("share", "chance"))
    if share < _ONE_CAMERA or share - chance < _ABOVE_CHANCE:
        return ""
    return (
        f"{share:.0%} of the clusters hold one camera (chance: {chance:.0%}): the network would learn cameras, not "
        "people; set evidence.camera='both' (or 'auto'), unless it is, start from a model trained on people (stage1), "
        "or give links"
    )


def _left_out(metrics: Sequence[Metrics]) -> str:
    ratios = [one["outliers"] / max(one["images"], 1) for one in metrics[-_IN_A_ROW:]]
    if len(ratios) < _IN_A_ROW or min(ratios) <= _LEFT_OUT or ratios[0] - ratios[-1] > _FALLING:
        return ""
    return (
        f"{ratios[-1]:.0%} of the images are in no cluster, hardly fewer than {_IN_A_ROW - 1} clusterings ago: "
        "nobody learns from them; widen clusterer.eps, lower min_samples, or raise k1"
    )


def _merged(metrics: Sequence[Metrics]) -> str:
    now = metrics[-1]
    inliers = now["images"] - now["outliers"]
    if now["clusters"] < _SEVERAL or now["largest"] <= _MERGED * inliers:
        return ""
    return (
        f"one cluster holds {now['largest'] / inliers:.0%} of the images that are in clusters: many people are one; "
        "narrow clusterer.eps, or lower k1"
    )


def _fewer(metrics: Sequence[Metrics]) -> str:
    now, most = metrics[-1]["clusters"], max(one["clusters"] for one in metrics)
    if now >= _FELL_TO * most:
        return ""
    return (
        f"the clusters have become fewer, from {most:.0f} to {now:.0f}: people may be merging; look at the largest "
        "clusters (tools/visualization), narrow clusterer.eps, or lower the learning rate"
    )


def _falling(name: str, what: str) -> Callable[[Sequence[Metrics]], str]:
    def rule(metrics: Sequence[Metrics]) -> str:
        # Labels that were kept agree with themselves.
        found = [one for one in metrics if name in one and "kept_previous" not in one]
        if not found or found[-1] is not metrics[-1]:
            return ""
        values = [one[name] for one in found]
        if values[-1] < _FELL_TO * max(values):
            found_out = f"has fallen from {max(values):.2f} to {values[-1]:.2f}"
        elif len(values) > 1 and max(values[-2:]) < _NONE:
            found_out = f"is {values[-1]:.2f}, and was {values[-2]:.2f} before"
        else:
            return ""
        return (
            f"{what} {found_out}: what an epoch has learned is lost in the next; lower "
            "optim_wrapper.optimizer.lr, or start from better weights"
        )

    return rule


def _violated(kind: str, words: str) -> Callable[[Sequence[Metrics]], str]:
    def rule(metrics: Sequence[Metrics]) -> str:
        links, violated = (metrics[-1].get(f"{kind}_{name}", 0.0) for name in ("links", "violated"))
        if violated <= _VIOLATED * links:
            return ""
        return f"{violated:.0f} of {links:.0f} {kind}-links {words}"

    return rule


def _torn(metrics: Sequence[Metrics]) -> str:
    purity = metrics[-1].get("tracklet_purity", 1.0)
    if purity >= _WHOLE:
        return ""
    return f"only {purity:.0%} of the tracklets are in one cluster as a whole; set evidence.tracklets=True"


def _together(metrics: Sequence[Metrics]) -> str:
    share = metrics[-1].get("seen_together", 0.0)
    if share <= _TOGETHER:
        return ""
    return (
        f"{share:.0%} of the tracklets are in a cluster with another one that the same camera saw at the same time: "
        "different people are one; set evidence.time=True and evidence.tracklets=True"
    )


_OBEY = ": they contradict others (the log names these), or evidence.links is off"
_RULES: dict[str, Callable[[Sequence[Metrics]], str]] = dict(
    one_camera=_one_camera,
    left_out=_left_out,
    merged=_merged,
    fewer=_fewer,
    ari_previous=_falling(
        "ari_previous", "the agreement (ARI) with the labels of the epoch before"
    ),
    ari_mirrored=_falling(
        "ari_mirrored", "the agreement (ARI) with the labels of the mirrored images"
    ),
    must=_violated("must", "are not in one cluster" + _OBEY),
    cannot=_violated("cannot", "are in one cluster" + _OBEY),
    tracklets=_torn,
    seen_together=_together,
)
