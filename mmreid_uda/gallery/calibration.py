"""From which similarity on two images show the same subject, measured on items whose identity is known."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from mmreid_uda.evaluation.functional import distance_blocks
from mmreid_uda.evaluation.functional.protocol import Protocol
from mmreid_uda.evaluation.functional.roc import PairCounter
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.values import OpenFraction, checked

from .filters import Filter
from .gallery import Gallery
from .items import Items
from .settings import Threshold
from .store import BATCH

__all__ = ["calibrate"]


@checked
def calibrate(
    gallery: Gallery,
    far: OpenFraction = 1e-3,
    where: Filter | None = None,
    *,
    across_cameras: bool = False,
    max_items: Annotated[int, Ge(2)] = 20_000,
    seed: int = 0,
    store: bool = True,
) -> Threshold:
    """Find the threshold on the similarity at which at most a stated share of pairs of two subjects is accepted.

    All pairs of items of known identity are compared, a block at a time: never N × N numbers at once. Pairs of one
    tracklet, which are near copies, are left out. The threshold holds for similarities as they are stored, for subjects
    and cameras like these: measure it anew for others.

    Args:
        gallery: Any, with items of at least two identities.
        far: False accept rate that is not to be exceeded. Defaults to 0.001.
        where: Which items. Defaults to None: all.
        across_cameras: Whether pairs of one subject in one camera are left out as well, as an evaluation does.
        max_items: More items are too many: whole identities are drawn. Defaults to 20,000: 200 million pairs.
        seed: Of the draw.
        store: Whether ``settings.threshold`` keeps it. Defaults to True.

    Returns:
        The threshold, with what was measured at it.

    Raises:
        InputError: There are no pairs of one subject, or too few of two for such a rate; or the gallery is read-only
            and the threshold is to be stored.
    """
    items = _identified(gallery, where, max_items, seed)
    if len(items) < 2:
        raise InputError(
            f"found {len(items)} items of known identity in the gallery {gallery.url!r}, expected pairs of one subject "
            "and of two: tell identities (update), or calibrate on a gallery of labelled images."
        )
    counter, positives, negatives = _counted(items, across_cameras)
    if not positives or negatives * far < 1:
        raise InputError(
            f"found {positives} pairs of one subject and {negatives} of two among {len(items)} items of known identity "
            f"in the gallery {gallery.url!r}, expected at least 1 and {1 / far:.0f} to measure a false accept rate of "
            f"{far:g}: give more labelled items, or a larger far."
        )
    distance, tpr, fpr = counter.threshold(far)
    threshold = Threshold(
        similarity=1 - distance / 2,
        far=fpr,
        tpr=tpr,
        positives=positives,
        negatives=negatives,
        asked_far=far,
    )
    if store:
        gallery.change_settings(threshold=threshold)
    return threshold


def _identified(gallery: Gallery, where: Filter | None, most: int, seed: int) -> Items:
    """Items whose identity is known, with features; of too many those of some identities."""
    where = where or Filter()
    where = where.changed(not_identities=(*(where.not_identities or ()), ""))
    ids: list[str] = []
    names: list[str] = []
    for part in gallery.scan(where, features=False):
        ids += part.ids
        names += part.identities.tolist()
    if len(ids) > most:
        found, of = np.unique(names, return_inverse=True)
        order = make_rng(seed, "calibration").permutation(len(found))
        counts = np.bincount(of)[order].cumsum()
        chosen = np.isin(of, order[: max(int(np.searchsorted(counts, most, "right")), 2)])
        ids = [one for one, use in zip(ids, chosen) if use]
    parts = [gallery.get(ids[start : start + BATCH], True) for start in range(0, len(ids), BATCH)]
    return Items.joined(parts) if parts else Items.of(None, [])


def _counted(items: Items, across_cameras: bool) -> tuple[PairCounter, int, int]:
    """Distances of all pairs, and the numbers of pairs of one subject and of two; each pair is counted both ways."""
    _, pids = np.unique(items.identities, return_inverse=True)
    texts = items.cameras if across_cameras else items.tracklets
    _, marks = np.unique(texts, return_inverse=True)
    marks[texts == ""] = -1
    images = np.arange(len(items))
    protocol = Protocol(pids, pids, marks, marks, query_ids=images, gallery_ids=images)
    counter = PairCounter(protocol)
    assert items.features is not None
    for start, block in distance_blocks(
        items.features, items.features, normalize=False, reuse_memory=True
    ):
        counter.add(block, start)
    positives, negatives = counter.num_pairs()
    return counter, positives // 2, negatives // 2
