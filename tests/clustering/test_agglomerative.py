"""Linkage component by component is linkage on all Jaccard distances."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from mmreid_uda.clustering import Agglomerative, agglomerative
from mmreid_uda.neighbors import jaccard_graph, unit_rows
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError


def clustered(num, ids, dim=32, noise=0.9, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, dim))
    return unit_rows(centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, dim)))


def dense(graph):
    matrix = np.ones(graph.shape, np.float32)
    coo = graph.tocoo()
    matrix[coo.row, coo.col] = coo.data
    return matrix


@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
@pytest.mark.parametrize("threshold, max_distance", [(0.3, 0.9), (0.6, 1.0), (0.7, 0.9)])
@pytest.mark.parametrize("variant", ["faiss", "full"])
def test_clusters_are_those_of_the_dense_distances(linkage, threshold, max_distance, variant):
    features = clustered(400, 30, noise=1.3)
    clusterer = Agglomerative(
        threshold, linkage, min_cluster_size=1, k1=20, variant=variant, max_distance=max_distance
    )
    labels = clusterer(features, seed=0, epoch=0)
    engine = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage=linkage, distance_threshold=threshold
    )
    graph = jaccard_graph(features, 20, 6, variant=variant, max_distance=max_distance)
    expected = engine.fit_predict(dense(graph))
    assert 2 < engine.n_clusters_ < 400
    assert adjusted_rand_score(labels, expected) == 1
    assert labels.max() + 1 == engine.n_clusters_


def test_small_clusters_are_outliers():
    features = clustered(300, 40, noise=1.3)
    alone = Agglomerative(k1=20, min_cluster_size=1)(features, seed=0, epoch=0)
    sizes = np.bincount(alone)[alone]
    for smallest in (2, 5):
        labels = Agglomerative(k1=20, min_cluster_size=smallest)(features, seed=0, epoch=0)
        np.testing.assert_array_equal(labels < 0, sizes < smallest)
        kept = labels >= 0
        assert adjusted_rand_score(labels[kept], alone[kept]) == 1


def test_eps_scale_multiplies_the_threshold():
    features = clustered(300, 40, noise=1.3)
    clusterer = CLUSTERERS.build(dict(type="Agglomerative", distance_threshold=0.4, k1=20))
    scaled = clusterer(features, seed=0, epoch=0, eps_scale=1.5)
    assert clusterer.info["distance_threshold"] == pytest.approx(0.6)
    plain = Agglomerative(0.6, k1=20)(features, seed=0, epoch=0)
    assert (plain != Agglomerative(0.4, k1=20)(features, seed=0, epoch=0)).any()
    np.testing.assert_array_equal(scaled, plain)
    clusterer(features, seed=0, epoch=0, eps_scale=5)
    assert clusterer.info["distance_threshold"] == 0.9


def test_too_many_images_in_one_component_are_refused(monkeypatch):
    features = clustered(60, 1, noise=0.1)
    clusterer = Agglomerative(k1=20)
    clusterer(features, seed=0, epoch=0)
    largest = int(clusterer.info["largest_component"])
    monkeypatch.setattr(agglomerative, "_MOST_TOGETHER", largest - 1)
    with pytest.raises(InputError, match=f"{largest} of 60 images.*lower distance_threshold"):
        clusterer(features, seed=0, epoch=0)


def test_one_image_and_duplicates():
    assert Agglomerative(min_cluster_size=1)(np.ones((1, 4)), seed=0, epoch=0).tolist() == [0]
    features = np.repeat(np.eye(6, dtype=np.float32), 8, axis=0)
    labels = Agglomerative(k1=8, k2=1)(features, seed=0, epoch=0)
    assert adjusted_rand_score(np.repeat(np.arange(6), 8), labels) == 1


@pytest.mark.parametrize(
    "change, named",
    [
        (dict(distance_threshold=0), "distance_threshold=0"),
        (dict(distance_threshold=0.95), "distance_threshold=0.95 and max_distance=0.9"),
        (dict(linkage="ward"), "linkage='ward'"),
        (dict(min_cluster_size=0), "min_cluster_size=0"),
        (dict(k2=0), "k2=0"),
    ],
)
def test_bad_configs_are_named_before_training(change, named):
    with pytest.raises(InputError, match=named):
        Agglomerative(**change)
