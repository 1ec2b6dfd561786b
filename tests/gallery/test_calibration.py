"""A threshold on the similarity, against a loop over all pairs."""

import math

import numpy as np
import pytest

from mmreid_uda.gallery import FileGallery, Filter, GallerySettings, Items, calibrate
from mmreid_uda.utils import InputError


def people(num=60, each=5, dim=16, noise=0.25, seed=0):
    """Subjects of several images each, in two cameras and tracklets; some images of unknown identity."""
    rng = np.random.default_rng(seed)
    centers = np.repeat(rng.standard_normal((num, dim)), each, 0)
    features = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    features = features + noise * rng.standard_normal(features.shape)
    number = np.arange(num * each)
    return Items.of(
        features,
        [f"{n}.jpg" for n in number],
        cameras=[f"c{n % 2}" for n in number],
        tracklets=["" if n % 7 < 3 else f"{n // each}-{n % 2}" for n in number],
        identities=["" if n % 11 == 0 else f"p{n // each}" for n in number],
    )


def rates(items, similarity, marks):
    """TPR, FAR and numbers of pairs of a threshold, pair by pair."""
    counts = {True: [0, 0], False: [0, 0]}
    for i in range(len(items)):
        for j in range(i):
            if "" in (items.identities[i], items.identities[j]):
                continue
            same = bool(items.identities[i] == items.identities[j])
            if same and marks[i] and marks[i] == marks[j]:
                continue
            counts[same][0] += 1
            counts[same][1] += float(items.features[i] @ items.features[j]) >= similarity
    (positives, true), (negatives, false) = counts[True], counts[False]
    return true / positives, false / negatives, positives, negatives


@pytest.mark.parametrize("across_cameras", [False, True])
@pytest.mark.parametrize("far", [0.1, 0.01, 0.001])
def test_rates_are_those_of_all_pairs(across_cameras, far):
    items = people()
    gallery = FileGallery(items, GallerySettings(dim=16))
    found = calibrate(gallery, far, across_cameras=across_cameras)
    assert gallery.settings.threshold == found and found.asked_far == far
    marks = items.cameras if across_cameras else items.tracklets
    tpr, measured, positives, negatives = rates(items, found.similarity, marks)
    assert (found.positives, found.negatives) == (positives, negatives)
    assert found.tpr == pytest.approx(tpr, abs=1e-9) and 0.1 < tpr < 1
    assert found.far == pytest.approx(measured, abs=1e-9) and measured <= far
    # One more pair of two subjects would be too many.
    assert measured + 1 / negatives > far * (1 - 1e-9)


def test_a_threshold_cuts_a_search_as_it_says():
    items = people()
    gallery = FileGallery(items, GallerySettings(dim=16))
    threshold = calibrate(gallery, 0.01, store=False)
    assert gallery.settings.threshold is None
    [found] = gallery.search(items.features[:1], 300, threshold=threshold.similarity)
    assert 1 < len(found) < 300 and found[-1].similarity >= threshold.similarity


def test_of_too_many_items_whole_identities_are_drawn():
    gallery = FileGallery(people(), GallerySettings(dim=16))
    few = calibrate(gallery, 0.01, max_items=50, store=False)
    every = calibrate(gallery, 0.01, store=False)
    assert 50 < few.positives < every.positives and few.negatives < 50 * 49 / 2
    assert few == calibrate(gallery, 0.01, max_items=50, store=False)
    assert few != calibrate(gallery, 0.01, max_items=50, store=False, seed=1)
    some = calibrate(gallery, 0.1, Filter(identities=["p1", "p2", "p3", "p4"]), store=False)
    assert some.positives <= 40 and math.isfinite(some.similarity)


def test_too_little_is_one_sentence():
    items = people(num=3)
    gallery = FileGallery(items, GallerySettings(dim=16))
    with pytest.raises(InputError, match=r"of two among .* expected at least 1 and 1000"):
        calibrate(gallery)
    *_, negatives = rates(items, 0, items.tracklets)
    assert calibrate(gallery, 1.001 / negatives, store=False).negatives == negatives
    with pytest.raises(InputError, match=f"expected at least 1 and {negatives}"):
        calibrate(gallery, 0.999 / negatives)
    unknown = items.with_columns(identities=np.full(len(items), ""))
    with pytest.raises(InputError, match="found 0 items of known identity"):
        calibrate(FileGallery(unknown, GallerySettings(dim=16)))
    with pytest.raises(InputError, match="far"):
        calibrate(gallery, 0)
