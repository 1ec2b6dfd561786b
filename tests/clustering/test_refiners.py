"""Refiners do to labels what their names say, and return contiguous labels."""

import numpy as np
import pytest

from mmreid_uda.clustering import (
    AssignOutliers,
    DropLooseMembers,
    DropSmallClusters,
    refiners,
)
from mmreid_uda.neighbors import unit_rows
from mmreid_uda.registry import REFINERS
from mmreid_uda.utils import InputError


def at(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def random_case(num=300, ids=10, dim=16, seed=0):
    rng = np.random.default_rng(seed)
    features = unit_rows(
        rng.standard_normal((num, dim)) + 1.5 * np.eye(dim)[rng.integers(0, ids, num)]
    )
    return rng.integers(-1, ids, num), features


def test_small_clusters_become_outliers_and_numbers_close_up():
    labels = np.array([0, 1, 1, 2, -1, 2, 2, 1, 3, 3])
    refined = REFINERS.build(dict(type="DropSmallClusters", min_size=3))(labels, np.zeros((10, 2)))
    np.testing.assert_array_equal(refined, [-1, 0, 0, 1, -1, 1, 1, 0, -1, -1])
    assert refined.dtype == np.int64


def test_loose_members_become_outliers():
    features = at(0, 4, 8, 60, 180, 184, 120)
    labels = np.array([0, 0, 0, 0, 1, 1, -1])
    refined = REFINERS.build(dict(type="DropLooseMembers", min_similarity=0.8))(labels, features)
    np.testing.assert_array_equal(refined, [0, 0, 0, -1, 1, 1, -1])


def test_loose_members_equal_a_loop(monkeypatch):
    monkeypatch.setattr(refiners, "_BLOCK_SIZE", 7)
    labels, features = random_case()
    refined = DropLooseMembers(0.5)(labels, features)
    for i in range(len(labels)):
        if labels[i] >= 0:
            center = features[labels == labels[i]].mean(0)
            keep = features[i] @ center / np.linalg.norm(center) >= 0.5
            assert refined[i] == (labels[i] if keep else -1)
        else:
            assert refined[i] == -1
    assert 0 < (refined < 0).sum() - (labels < 0).sum() < 300


def test_outliers_join_the_nearest_cluster_if_it_is_near():
    features = at(0, 10, 90, 100, 20, 130, 200)
    labels = np.array([0, 0, 1, 1, -1, -1, -1])
    refined = REFINERS.build(dict(type="AssignOutliers", min_similarity=0.7))(labels, features)
    np.testing.assert_array_equal(refined, [0, 0, 1, 1, 0, 1, -1])
    np.testing.assert_array_equal(labels[4:], -1)


def test_outliers_equal_a_loop():
    labels, features = random_case()
    refined = AssignOutliers(0.3)(labels, features)
    centers = unit_rows(np.stack([features[labels == k].mean(0) for k in range(10)]))
    for i in range(len(labels)):
        similarities = centers @ features[i]
        joins = similarities.argmax() if similarities.max() >= 0.3 else -1
        assert refined[i] == (labels[i] if labels[i] >= 0 else joins)
    assert 0 < (refined < 0).sum() < (labels < 0).sum()


@pytest.mark.parametrize(
    "refiner", [DropSmallClusters(4), DropLooseMembers(0.5), AssignOutliers(0.5)]
)
def test_all_outliers_stay_outliers(refiner):
    np.testing.assert_array_equal(refiner(np.full(3, -1), at(0, 1, 2)), [-1, -1, -1])


@pytest.mark.parametrize(
    "refiner", [DropSmallClusters(30), DropLooseMembers(0.6), AssignOutliers(0.2)]
)
def test_labels_come_back_contiguous_and_the_input_is_untouched(refiner):
    labels, features = random_case()
    before = labels.copy()
    refined = refiner(labels, features)
    np.testing.assert_array_equal(labels, before)
    found = np.unique(refined[refined >= 0])
    np.testing.assert_array_equal(found, np.arange(len(found)))


@pytest.mark.parametrize(
    "config",
    [
        dict(type="DropSmallClusters", min_size=1),
        dict(type="DropLooseMembers", min_similarity=1.5),
        dict(type="AssignOutliers", min_similarity=-1),
    ],
)
def test_bad_configs_are_named(config):
    with pytest.raises(InputError, match=config["type"]):
        REFINERS.build(config)
