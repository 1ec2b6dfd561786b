"""Cluster quality equals counting all pairs of images one by one."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from mmreid_uda.clustering import cluster_quality
from mmreid_uda.utils import InputError


def test_perfect_clusters():
    quality = cluster_quality(np.array([2, 2, 0, 0, 1]), np.array([7, 7, 3, 3, 5]))
    assert quality == dict.fromkeys(("nmi", "ari", "precision", "recall", "f_score", "purity"), 1)


def test_a_case_counted_by_hand():
    # Pairs in one cluster: 3 + 1, of which (0,1) and (3,4) are right; pairs of one identity: 3 + 1 + 1.
    labels = np.array([0, 0, 0, 1, 1, -1, -1])
    truth = np.array([0, 0, 1, 2, 2, 0, 1])
    quality = cluster_quality(labels, truth)
    assert quality["precision"] == 2 / 4
    assert quality["recall"] == 2 / 5
    assert quality["f_score"] == pytest.approx(4 / 9)
    assert quality["purity"] == 4 / 5


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop_over_pairs(seed):
    rng = np.random.default_rng(seed)
    labels, truth = rng.integers(-1, 6, 80), rng.integers(-1, 5, 80)
    known = truth >= 0
    pairs = list(combinations(np.flatnonzero(known), 2))
    together = {(i, j) for i, j in pairs if labels[i] == labels[j] >= 0}
    same = {(i, j) for i, j in pairs if truth[i] == truth[j]}
    quality = cluster_quality(labels, truth)
    assert quality["precision"] == pytest.approx(len(together & same) / len(together))
    assert quality["recall"] == pytest.approx(len(together & same) / len(same))
    inlier = known & (labels >= 0)
    purity = sum(np.bincount(truth[inlier & (labels == k)]).max() for k in range(6))
    assert quality["purity"] == pytest.approx(purity / inlier.sum())
    assert quality["nmi"] == normalized_mutual_info_score(truth[inlier], labels[inlier])
    assert quality["ari"] == adjusted_rand_score(truth[inlier], labels[inlier])


def test_dropping_a_hard_image_costs_recall_alone():
    truth = np.array([0, 0, 0, 1, 1, 1])
    wrong = cluster_quality(np.array([0, 0, 1, 1, 1, 1]), truth)
    dropped = cluster_quality(np.array([0, 0, -1, 1, 1, 1]), truth)
    assert dropped["precision"] == dropped["purity"] == dropped["nmi"] == 1 > wrong["precision"]
    assert dropped["recall"] == wrong["recall"] == 4 / 6


def test_only_outliers_and_only_unknown_give_zeros():
    for labels, truth in (([-1, -1], [0, 0]), ([0, 0], [-1, -1])):
        quality = cluster_quality(np.array(labels), np.array(truth))
        assert set(quality.values()) == {0.0}


def test_many_images_do_not_overflow():
    quality = cluster_quality(np.zeros(200_000, np.int32), np.zeros(200_000, np.int32))
    assert quality["precision"] == quality["recall"] == 1


def test_lists_of_different_length_are_refused():
    with pytest.raises(InputError, match=r"\(2,\).*\(3,\)"):
        cluster_quality(np.zeros(2, int), np.zeros(3, int))
