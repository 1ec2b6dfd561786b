"""HDBSCAN on the sparse graph is scikit-learn's HDBSCAN on all Jaccard distances."""

import numpy as np
import pytest
from sklearn import cluster
from sklearn.metrics import adjusted_rand_score

from mmreid_uda.clustering import HDBSCAN
from mmreid_uda.clustering.hdbscan import _connected
from mmreid_uda.neighbors import jaccard_graph, unit_rows
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError


def clustered(num, ids, dim=32, noise=0.9, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, dim))
    return unit_rows(centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, dim)))


def dense(graph):
    matrix = np.ones(graph.shape)
    coo = graph.tocoo()
    matrix[coo.row, coo.col] = coo.data
    return matrix


def reference(matrix, min_cluster_size, min_samples):
    """scikit-learn's own on all distances, fitted."""
    return cluster.HDBSCAN(
        min_cluster_size=min_cluster_size, min_samples=min_samples, metric="precomputed", copy=True
    ).fit(matrix)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("max_distance", [0.9, 1.0])
def test_clusters_are_those_of_the_dense_distances(seed, max_distance):
    features = clustered(400, 30, noise=1.3, seed=seed)
    labels = HDBSCAN(2, 1, k1=20, max_distance=max_distance)(features, seed=0, epoch=0)
    matrix = dense(jaccard_graph(features, 20, 6, max_distance=max_distance))
    expected = reference(matrix, 2, 1).labels_
    assert 5 < expected.max() + 1 < 200 and (expected < 0).any()
    np.testing.assert_array_equal(labels < 0, expected < 0)
    assert adjusted_rand_score(labels, expected) == 1


@pytest.mark.parametrize("min_cluster_size, min_samples", [(4, 4), (8, 3), (2, 2)])
@pytest.mark.parametrize("max_distance", [0.7, 0.9, 1.0])
def test_clusters_merge_at_the_heights_of_the_dense_distances(
    min_cluster_size, min_samples, max_distance
):
    # A core distance is the height of several edges: which of them come first is anyone's choice, the heights are not.
    features = clustered(400, 30, noise=1.3)
    graph = jaccard_graph(features, 20, 6, max_distance=max_distance)
    expected = reference(dense(graph), min_cluster_size, min_samples)
    engine = reference(_connected(graph, min_samples), min_cluster_size, min_samples)
    heights, expected_heights = (
        np.sort(each._single_linkage_tree_["value"]) for each in (engine, expected)
    )
    np.testing.assert_allclose(heights, expected_heights, atol=2e-6)
    if max_distance > 0.7:  # fewer merges at distance 1, where everything left is equal
        labels = HDBSCAN(min_cluster_size, min_samples, k1=20, max_distance=max_distance)(
            features, seed=0, epoch=0
        )
        assert adjusted_rand_score(labels, expected.labels_) > 0.9


def test_far_groups_are_the_clusters_and_loners_are_outliers():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), [12, 14, 12, 13, 1])
    features = np.eye(5, 16)[truth] + 0.02 * rng.standard_normal((len(truth), 16))
    clusterer = CLUSTERERS.build(dict(type="HDBSCAN", min_cluster_size=4, k1=12, k2=1))
    labels = clusterer(features, seed=0, epoch=0)
    assert labels[-1] == -1 and (labels[:-1] >= 0).all()
    assert adjusted_rand_score(truth[:-1], labels[:-1]) == 1
    assert clusterer.info["mean_degree"] > 1
    np.testing.assert_array_equal(labels, clusterer(features, seed=1, epoch=1))


def test_exact_duplicates_hang_together():
    features = np.repeat(np.eye(6, dtype=np.float32), 8, axis=0)
    labels = HDBSCAN(k1=8, k2=1)(features, seed=0, epoch=0)
    assert adjusted_rand_score(np.repeat(np.arange(6), 8), labels) == 1


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5])
def test_hardly_any_images(num):
    labels = HDBSCAN(min_cluster_size=4, min_samples=3)(clustered(num, 1), seed=0, epoch=0)
    assert labels.shape == (num,)
    if num < 4:
        np.testing.assert_array_equal(labels, -1)


def test_the_added_pairs_change_no_distance():
    graph = jaccard_graph(clustered(50, 10), 5, 2, max_distance=0.6)
    for min_samples in (1, 4, 50):
        connected = _connected(graph, min_samples)
        assert (np.diff(connected.indptr) >= min_samples).all()
        assert (connected.data > 0).all()
        np.testing.assert_allclose(dense(connected), dense(graph), atol=1e-6)


@pytest.mark.parametrize(
    "change, named",
    [
        (dict(min_cluster_size=1), "min_cluster_size=1"),
        (dict(min_samples=0), "min_samples=0"),
        (dict(max_distance=0), "max_distance=0 for HDBSCAN"),
        (dict(max_distance=1.1), "max_distance=1.1"),
        (dict(k1=0), "k1=0"),
    ],
)
def test_bad_configs_are_named_before_training(change, named):
    with pytest.raises(InputError, match=named):
        HDBSCAN(**change)
