"""Average linkage on the nearest neighbours: SciPy's where all are neighbours, and obedient to links."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist
from sklearn.metrics import adjusted_rand_score
from test_constrained_dbscan import obeying
from test_constraints import links, some_links

from mmreid_uda.clustering import ConstrainedLinkage, average_linkage, make_constraints
from mmreid_uda.neighbors import unit_rows
from mmreid_uda.neighbors.knn import find_neighbors
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.usefixtures("engine")


def clustered(num, ids, dim=32, noise=0.9, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, dim))
    rows = centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, dim))
    return unit_rows(rows.astype(np.float32))


def merged(features, threshold, constraints, k=None):
    neighbors = find_neighbors(torch.from_numpy(features), k or len(features))
    return average_linkage(features, neighbors, constraints, threshold).labels(threshold)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9])
def test_equals_scipy_where_all_are_neighbors(threshold):
    features = clustered(200, 20, noise=1.2)
    tree = linkage(pdist(features.astype(np.float64), "cosine"), "average")
    expected = fcluster(tree, threshold, "distance")
    labels, refused = merged(features, threshold, make_constraints(np.ones(200)))
    assert adjusted_rand_score(expected, labels) == 1
    assert labels.max() + 1 == expected.max() > 1
    assert refused == 0


def test_twenty_neighbors_are_enough_for_clusters_of_ten():
    features = clustered(400, 40, noise=0.9)
    whole, _ = merged(features, 0.6, make_constraints(np.ones(400)))
    labels, _ = merged(features, 0.6, make_constraints(np.ones(400)), 21)
    assert adjusted_rand_score(whole, labels) == 1
    assert 20 < labels.max() < 100


def by_the_book(features, threshold, constraints):
    """All pairs of clusters anew after every join."""
    members = [
        set(np.flatnonzero(constraints.groups == group)) for group in np.unique(constraints.groups)
    ]
    sets = [set(np.flatnonzero(row).tolist()) for row in constraints.exclusive.toarray()]
    clusters = [({group}, nodes) for group, nodes in enumerate(members)]
    distances = 1 - features.astype(np.float64) @ features.T.astype(np.float64)
    while True:
        best = (threshold, None)
        for a in range(len(clusters)):
            for b in range(a + 1, len(clusters)):
                together = clusters[a][0] | clusters[b][0]
                if any(len(together & one) > 1 for one in sets):
                    continue
                rows, columns = list(clusters[a][1]), list(clusters[b][1])
                distance = distances[np.ix_(rows, columns)].mean()
                if distance < best[0]:
                    best = (distance, (a, b))
        if best[1] is None:
            labels = np.empty(len(features), np.int64)
            for number, (_, nodes) in enumerate(clusters):
                labels[list(nodes)] = number
            return labels
        a, b = best[1]
        clusters[a] = (clusters[a][0] | clusters[b][0], clusters[a][1] | clusters[b][1])
        del clusters[b]


@settings(max_examples=25, deadline=None)
@given(some_links(num=14, most=16), st.integers(0, 10_000), st.sampled_from([0.5, 0.8, 1.1]))
def test_equals_a_slow_version_with_links_and_obeys(rows, seed, threshold):
    features = clustered(14, 4, dim=6, seed=seed)
    constraints = obeying(rows, np.ones(14))
    labels, _ = merged(features, threshold, constraints)
    assert adjusted_rand_score(by_the_book(features, threshold, constraints), labels) == 1
    assert constraints.violations(labels) == (0, 0)
    np.testing.assert_array_equal(labels, merged(features, threshold, constraints)[0])


def test_lists_that_outgrow_their_place_are_moved():
    features = clustered(120, 3, noise=0.3)
    labels, _ = merged(features, 0.4, make_constraints(np.ones(120)), 6)
    assert labels.max() == 2


def test_refused_joins_are_counted():
    features = unit_rows(np.float32([[1, 0], [1, 0.1], [0, 1]]))
    constraints = make_constraints(np.ones(3), links((0, 1, "cannot", 2)))
    labels, refused = merged(features, 0.2, constraints)
    assert (labels.tolist(), refused) == ([0, 1, 2], 1)


def people(seed=0):
    """Twelve people of eight nodes, of which one of each was seen at the same time as one of each other."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(12), 8)
    features = unit_rows(rng.standard_normal((12, 16))[pids] + 0.8 * rng.standard_normal((96, 16)))
    known = np.arange(96) % 8, np.arange(96)
    return features, pids, known


def test_cannot_links_and_tracklets_choose_the_threshold():
    features, pids, known = people()
    constraints = make_constraints(np.ones(96), exclusive=known)
    share = 8 * 12 * 11 / (96 * 95)
    assert constraints.exclusive_share == pytest.approx(share)
    neighbors = find_neighbors(torch.from_numpy(features), 96)
    merges = average_linkage(features, neighbors, constraints, 2.0)
    assert merges.cost == pytest.approx(0.1 * (1 - share) / share)
    gains = [
        number - (merges.cost * merges.refused[number - 1] if number else 0)
        for number in range(len(merges.heights) + 1)
    ]
    best = max(range(len(gains)), key=lambda number: (gains[number], number))
    assert 0 < best < len(gains) - 1 and merges.refused[-1] > 50
    threshold = merges.heights[best - 1]
    assert merges.best_threshold(2.0) == threshold
    labels, refused = merges.labels(threshold)
    assert adjusted_rand_score(pids, labels) > 0.7
    assert refused == merges.refused[best]
    # To stop early changes nothing but what is not needed.
    early = average_linkage(features, neighbors, constraints, 2.0, stop_early=True)
    assert early.refused[-1] < merges.refused[-1]
    assert early.best_threshold(2.0) == threshold
    clusterer = ConstrainedLinkage(min_cluster_size=1)
    found = clusterer(features, seed=0, epoch=0, constraints=constraints)
    np.testing.assert_array_equal(found, labels)
    assert clusterer.info == dict(distance_threshold=threshold, refused_joins=refused)
    # Where there are none, tracklets tell.
    varying = make_constraints(np.ones(96), spread=threshold / 2)
    clusterer(features, seed=0, epoch=0, constraints=varying)
    within = average_linkage(features, neighbors, varying, 0.6 * threshold).heights[-1]
    assert clusterer.info["distance_threshold"] == within
    clusterer(features, seed=0, epoch=0, constraints=varying, eps_scale=1.5)
    assert clusterer.info["distance_threshold"] == 1.5 * within
    with pytest.raises(InputError, match=r"evidence\.tracklets=True"):
        clusterer(features, seed=0, epoch=0)


# ---- the clusterer


def test_clusterer_drops_small_clusters_by_images():
    features = clustered(120, 30, noise=0.6)
    clusterer = CLUSTERERS.build(dict(type="ConstrainedLinkage", distance_threshold=0.25))
    whole = ConstrainedLinkage(0.25, min_cluster_size=1)(features, seed=0, epoch=0)
    labels = clusterer(features, seed=0, epoch=0)
    sizes = np.bincount(whole)[whole]
    assert (sizes == 1).any()
    np.testing.assert_array_equal(labels < 0, sizes < 2)
    assert clusterer.info["distance_threshold"] == 0.25
    # Each node stands for two images: none is alone.
    twice = make_constraints(np.full(120, 2))
    assert (clusterer(features, seed=0, epoch=0, constraints=twice) >= 0).all()


def test_eps_scale_multiplies_the_threshold():
    features = clustered(120, 30, noise=0.9)
    scaled = ConstrainedLinkage(0.2)(features, seed=0, epoch=0, eps_scale=2.5)
    np.testing.assert_array_equal(scaled, ConstrainedLinkage(0.5)(features, seed=0, epoch=0))
    assert (scaled != ConstrainedLinkage(0.2)(features, seed=0, epoch=0)).any()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images_and_duplicates(count):
    labels = ConstrainedLinkage(0.3)(np.ones((count, 4)), seed=0, epoch=0)
    assert labels.tolist() == ([0] * count if count > 1 else [-1])


@pytest.mark.parametrize(
    "change", [dict(distance_threshold=0), dict(num_neighbors=0), dict(min_cluster_size=0)]
)
def test_bad_configs_are_named_before_training(change):
    with pytest.raises(InputError, match=next(iter(change))):
        ConstrainedLinkage(**change)
