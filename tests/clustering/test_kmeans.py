"""K-means finds what scikit-learn's finds, and repeats itself."""

import numpy as np
import pytest
from sklearn import cluster

from mmreid_uda.clustering import KMeans, kmeans_plus_plus
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError, make_rng


def blobs(num=400, ids=12, dim=16, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(num) % ids
    centers = rng.standard_normal((ids, dim))
    features = centers[truth] + noise * rng.standard_normal((num, dim))
    return features.astype(np.float32), truth


def test_separate_groups_are_found_without_outliers():
    features, truth = blobs()
    labels = CLUSTERERS.build(dict(type="KMeans", num_clusters=12))(features, seed=0, epoch=0)
    assert labels.dtype == np.int64
    assert len(set(zip(labels.tolist(), truth.tolist()))) == 12
    assert set(labels) == set(range(12))


def test_features_are_clustered_as_they_are():
    # Two groups in the same direction: only the length, which a normalisation would remove, tells them apart.
    features = np.outer(np.r_[np.ones(20), np.full(20, 5)], np.ones(4)).astype(np.float32)
    labels = KMeans(2)(features, seed=0, epoch=0)
    assert len(set(labels[:20])) == len(set(labels[20:])) == 1 and labels[0] != labels[20]


def test_as_good_as_sklearn():
    features, _ = blobs(1500, 100, noise=1.0)
    clusterer = KMeans(100)
    labels = clusterer(features, seed=1, epoch=0)
    reference = cluster.KMeans(100, n_init=1, random_state=0).fit(features)
    centers = np.stack([features[labels == k].mean(0) for k in range(100)])
    inertia = ((features - centers[labels]) ** 2).sum()
    assert inertia == pytest.approx(clusterer.info["inertia"], rel=1e-3)
    assert inertia < 1.03 * reference.inertia_


def test_a_call_repeats_itself_and_epochs_differ():
    features, _ = blobs(600, 60, noise=1.0)
    first = KMeans(60)(features, seed=0, epoch=3)
    np.testing.assert_array_equal(first, KMeans(60)(features, seed=0, epoch=3))
    assert (first != KMeans(60)(features, seed=0, epoch=4)).any()
    assert (first != KMeans(60)(features, seed=1, epoch=3)).any()


def test_more_starts_keep_the_best():
    features, _ = blobs(600, 60, noise=1.0)
    inertias = []
    for num_starts in (1, 2, 6):
        clusterer = KMeans(60, num_starts=num_starts)
        clusterer(features, seed=0, epoch=0)
        inertias.append(clusterer.info["inertia"])
    assert inertias[0] >= inertias[1] >= inertias[2] and inertias[0] > inertias[2]


def test_start_has_one_image_of_each_of_far_groups():
    features, truth = blobs(noise=0.01)
    chosen = kmeans_plus_plus(features, 12, make_rng(0, "test"))
    assert sorted(truth[chosen]) == list(range(12))


def test_start_takes_every_image_once_if_there_are_no_more():
    features, _ = blobs(30)
    assert sorted(kmeans_plus_plus(features, 30, make_rng(0, "test"))) == list(range(30))


def test_fewer_images_than_clusters():
    with pytest.raises(InputError, match="400 images for num_clusters=401"):
        KMeans(401)(blobs()[0], seed=0, epoch=0)


@pytest.mark.parametrize("change", [dict(num_clusters=0), dict(num_clusters=2, num_starts=0)])
def test_bad_configs_are_named_before_training(change):
    with pytest.raises(InputError, match="at least 1"):
        KMeans(**change)
