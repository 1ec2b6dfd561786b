"""What is asked is not known yet, tells most first, and repeats itself; answers mend labels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from made_up import closure, make_review

from mmreid_uda.clustering import cluster_quality
from mmreid_uda.review.questions import FIRST_GUESS, Known, ask_me
from mmreid_uda.structures import Links


def two_blobs(sizes, angle):
    """Unit rows around two directions."""
    rng = np.random.default_rng(0)
    directions = np.array([[1.0, 0, 0, 0], [np.cos(angle), np.sin(angle), 0, 0]])
    rows = np.repeat(directions, sizes, axis=0) + 0.01 * rng.standard_normal((sum(sizes), 4))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


NOTHING = Links()


def test_what_a_wider_radius_joins_and_a_narrower_one_breaks_is_asked():
    features = np.concatenate([two_blobs((6, 5), 0.6), -two_blobs((4, 3), 0.6)])
    labels = np.array([0] * 6 + [1] * 5 + [2] * 7)
    variants = {
        0.9: np.array([0] * 6 + [1] * 5 + [2] * 4 + [3] * 3),
        1.1: np.array([0] * 11 + [2] * 7),
    }
    known = Known(NOTHING, np.zeros(18, bool))
    asked = []

    def clustered(scale):
        asked.append(scale)
        return variants.get(scale, labels)

    join, split = sorted(
        ask_me(features, labels, known, clustered, {}, 2), key=lambda one: one.first
    )[:2]
    assert join.first in range(6) and join.second in range(6, 11)
    assert join.gain == pytest.approx(FIRST_GUESS[0][0] * 30) and "30 pairs" in join.why
    assert split.first in range(11, 15) and split.second in range(15, 18)
    assert split.gain == pytest.approx(FIRST_GUESS[1][0] * 12) and split.cell == (1, 0)
    assert split.probability == pytest.approx(1 - FIRST_GUESS[1][0])
    # Eight answers "different" to such joins: the guess of .3, worth four answers, becomes 1.2 of 12.
    past = {(0, 0): (8, 0)}
    again = {one.cell: one for one in ask_me(features, labels, known, clustered, past, 2)}
    assert again[0, 0].gain == pytest.approx(30 * 1.2 / 12)
    assert asked[:2] == [0.9, 1.1]


def test_images_in_the_middle_are_shown():
    features = two_blobs((7, 6), 0.5)
    labels = np.array([0] * 7 + [1] * 6)
    [one] = ask_me(
        features, labels, Known(NOTHING, np.zeros(13, bool)), lambda scale: np.zeros(13, int), {}, 1
    )
    for image, own in ((one.first, labels == 0), (one.second, labels == 1)):
        center = features[own].mean(0)
        assert features[image] @ center == pytest.approx((features[own] @ center).max())


@pytest.mark.parametrize("rule", ["ask_me", "random", "uniform"])
def test_nothing_is_asked_that_is_answered_or_follows(tmp_path, rule):
    review = make_review(tmp_path, num=40, noise=0.5, seed=4)
    review.not_a_subject([5, 6])
    seen = set()
    for _ in range(6):
        questions = review.questions(6, rule, seed=1)
        assert questions == review.questions(6, rule, seed=1)
        meaning, ignored = closure(review), review.evidence.ignored
        for one in questions:
            assert (
                meaning[one.first, one.second] == 0 and not ignored[[one.first, one.second]].any()
            )
            pair = frozenset((one.first, one.second))
            assert len(pair) == 2 and pair not in seen
            seen.add(pair)
            # An answer may make a later question of the batch needless; it is given all the same.
            same = review.identities[one.first] == review.identities[one.second]
            review.answer(one.first, one.second, bool(same))
        review.recluster()
    assert len(seen) > 12


def test_random_pairs_near_and_far(tmp_path):
    review = make_review(tmp_path, num=60, groups=6, noise=0.1)
    truth, features = review.identities, review.features
    near, far = review.questions(40, "random", seed=3), review.questions(40, "uniform", seed=3)
    for one in near:
        nearest = np.argsort(-(features @ features[one.first]))[1:11]
        assert one.second in nearest
    share = [
        np.mean([truth[one.first] == truth[one.second] for one in some]) for some in (near, far)
    ]
    assert share[0] > 0.6 > 0.4 > share[1]
    assert review.questions(5, "uniform", seed=4) != review.questions(5, "uniform", seed=3)


@pytest.mark.slow
def test_answers_mend_labels_and_asked_ones_more_than_drawn_ones(tmp_path):
    quality = {}
    for rule in ("ask_me", "uniform"):
        folder = tmp_path / rule
        folder.mkdir()
        review = make_review(folder, num=120, groups=10, noise=0.75, seed=7)
        truth = review.identities
        before = cluster_quality(review.labels, truth)["f_score"]
        for _ in range(10):
            for one in review.questions(5, rule):
                review.answer(one.first, one.second, bool(truth[one.first] == truth[one.second]))
            review.recluster()
        quality[rule] = cluster_quality(review.labels, truth)["f_score"]
    assert quality["ask_me"] > before + 0.1 and quality["ask_me"] > quality["uniform"] + 0.05


def test_many_outliers_and_none_at_all():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((5000, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    known = Known(NOTHING, np.zeros(5000, bool))
    questions = ask_me(rows, np.full(5000, -1), known, lambda scale: np.zeros(5000, int), {}, 5)
    assert len(questions) == 5 and all(one.cell[0] == 0 for one in questions)
    assert (
        ask_me(rows[:2], np.full(2, -1), Known(NOTHING, np.ones(2, bool)), lambda scale: 0, {}, 5)
        == []
    )
    one = Known(NOTHING, np.zeros(1, bool))
    assert ask_me(rows[:1], np.full(1, 0), one, lambda scale: np.zeros(1, int), {}, 5) == []


def test_the_more_alike_two_images_the_likelier_they_show_one_subject(tmp_path):
    review = make_review(tmp_path, num=90, groups=12, noise=0.6)
    of_cell = defaultdict(list)
    for one in review.questions(40):
        of_cell[one.cell].append((one.similarity, one.probability))
    slopes = [
        {kind: np.diff(np.array(sorted(pairs)), axis=0) for kind in [cell[0]]}
        for cell, pairs in of_cell.items()
        if len(pairs) > 1
    ]
    for kind in (0, 1):
        steps = np.concatenate([one[kind] for one in slopes if kind in one])
        apart = steps[:, 0] > 1e-3
        assert apart.any() and (steps[apart, 1] > 0).all()
