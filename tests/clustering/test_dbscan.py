"""DBSCAN on a sparse graph gives scikit-learn's labels, number by number."""

import copy
import pickle
import re

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import DBSCAN

from mmreid_uda.clustering import GroundTruthLabels, JaccardDBSCAN, dbscan, renumber, rho_eps
from mmreid_uda.neighbors import jaccard_graph, source_distances, unit_rows
from mmreid_uda.neighbors.knn import search_bytes
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError

ANGLES = np.radians([0, 7, 16, 40, 47, 58, 120, 131])
EIGHT = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).astype(np.float32)

pytestmark = pytest.mark.usefixtures("engine")


def clustered(num, ids, dim=32, noise=0.9, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, dim))
    return unit_rows(centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, dim)))


def dense(graph, absent=1.0):
    matrix = np.full(graph.shape, absent, np.float32)
    coo = graph.tocoo()
    matrix[coo.row, coo.col] = coo.data
    return matrix


def sklearn_labels(matrix, eps, min_samples):
    return DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(matrix)


@pytest.mark.parametrize(
    "variant, eps, expected",
    [("full", 0.4, [0, 0, 0, 1, 1, 1, 2, 2])]
    + [("full", eps, [0, 0, 0, 0, 0, 0, 1, 1]) for eps in (0.5, 0.6, 0.7)]
    + [("faiss", eps, [0, 0, 0, 1, 1, 1, 2, 2]) for eps in (0.4, 0.5, 0.6, 0.7)],
)
def test_the_eight_unit_vectors_of_the_notes(variant, eps, expected):
    graph = jaccard_graph(EIGHT, 4, 2, variant=variant, max_distance=eps)
    np.testing.assert_array_equal(dbscan(graph, eps, min_samples=2), expected)


@pytest.mark.parametrize("variant, k1", [("full", 20), ("faiss", 30)])
def test_equals_sklearn_on_the_dense_distances_of_1000_vectors(variant, k1):
    features = clustered(1000, 60, noise=1.3, seed=3)
    whole = jaccard_graph(features, k1, 6, variant=variant)
    distances = dense(whole)
    for eps in (0.3, 0.5, 0.6, 0.7):
        truncated = jaccard_graph(features, k1, 6, variant=variant, max_distance=eps)
        for min_samples in (1, 2, 4, 8):
            expected = sklearn_labels(distances, eps, min_samples)
            np.testing.assert_array_equal(dbscan(whole, eps, min_samples), expected)
            np.testing.assert_array_equal(dbscan(truncated, eps, min_samples), expected)


@pytest.mark.parametrize("seed", range(20))
def test_equals_sklearn_on_random_graphs_full_of_border_points(seed):
    rng = np.random.default_rng(seed)
    points = rng.random((150, 2))
    matrix = np.sqrt(((points[:, None] - points[None]) ** 2).sum(2)).astype(np.float32)
    expected = sklearn_labels(matrix, 0.08, 5)
    assert (expected == -1).any()
    rows, columns = np.nonzero(matrix <= 0.2)
    graph = sparse.csr_array((matrix[rows, columns], (rows, columns)), shape=matrix.shape)
    labels = dbscan(graph, 0.08, 5)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("left_first", [True, False])
def test_a_border_point_joins_the_earlier_of_two_clusters(left_first):
    # The point at 1.0 has one core of each group within reach, and too few neighbours to be core and join them.
    left, right = [0.0, 0.1, 0.2, 0.3], [1.7, 1.8, 1.9, 2.0]
    first, second = (left, right) if left_first else (right, left)
    positions = np.array([*first, 1.0, *second])
    matrix = np.abs(positions[:, None] - positions[None])
    rows, columns = np.nonzero(matrix <= 1)
    graph = sparse.csr_array((matrix[rows, columns], (rows, columns)), shape=matrix.shape)
    labels = dbscan(graph, 0.75, 4)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(labels, sklearn_labels(matrix, 0.75, 4))


def test_a_point_outside_its_own_radius_does_not_count_itself():
    features, source = clustered(300, 20), clustered(40, 5, seed=9)
    graph = jaccard_graph(
        features, 20, 6, variant="full", max_distance=0.7, source_features=source, source_weight=0.3
    )
    eps = 0.55
    assert 0 < (graph.diagonal() > eps).sum() < 300, "the example has points of both kinds"
    for min_samples in (2, 4):
        expected = sklearn_labels(dense(graph), eps, min_samples)
        np.testing.assert_array_equal(dbscan(graph, eps, min_samples), expected)


def test_explicit_zeros_are_distances():
    graph = jaccard_graph(EIGHT, 4, 2, max_distance=0.01)
    assert not graph.data.any()
    np.testing.assert_array_equal(dbscan(graph, 0.01, 2), [0, 0, -1, 1, 1, -1, 2, 2])


def test_all_outliers_and_one_cluster():
    graph = sparse.csr_array(np.zeros((5, 5), np.float32))
    np.testing.assert_array_equal(dbscan(graph, 0.5, 2), [-1] * 5)
    np.testing.assert_array_equal(dbscan(graph, 0.5, 1), range(5))


@pytest.mark.parametrize(
    "eps, min_samples, named",
    [(0, 4, "eps=0 "), (float("nan"), 4, "eps=nan"), (0.5, 0, "min_samples=0")],
)
def test_bad_parameters_are_named(eps, min_samples, named):
    with pytest.raises(InputError, match=named):
        dbscan(sparse.csr_array((3, 3)), eps, min_samples)


# ---- the clusterer


def test_clusterer_is_graph_and_dbscan_of_the_scaled_rows():
    features = clustered(300, 20)
    clusterer = CLUSTERERS.build(dict(type="JaccardDBSCAN", eps=0.55, k1=20))
    labels = clusterer(3 * features.astype(np.float64), seed=0, epoch=0)
    graph = jaccard_graph(features, 20, 6)
    np.testing.assert_array_equal(labels, dbscan(graph, 0.55, 4))
    assert clusterer.info["eps"] == 0.55
    assert clusterer.info["mean_degree"] == pytest.approx((graph.data <= 0.55).sum() / 300)
    assert {"seconds_jaccard", "seconds_dbscan"} < set(clusterer.info)


def test_the_rho_rule_is_that_of_every_epoch():
    clusterer = JaccardDBSCAN(eps="rho", rho=5e-3, k1=20, variant="full")
    for epoch in range(2):
        features = clustered(300, 20, seed=epoch)
        clusterer(features, seed=0, epoch=epoch)
        expected = rho_eps(jaccard_graph(features, 20, 6, variant="full"), 5e-3)
        assert clusterer.info["eps"] == pytest.approx(expected, rel=1e-6)


def test_pairs_at_distance_zero_count_where_asked():
    features = clustered(131, 26, noise=1.1)
    graph = jaccard_graph(features, 20, 6, variant="full")
    radii = {}
    for near_zero in ("count", "drop"):
        clusterer = JaccardDBSCAN("rho", near_zero=near_zero, k1=20, variant="full")
        clusterer(features, seed=0, epoch=0)
        radii[near_zero] = clusterer.info["eps"]
        expected = rho_eps(graph, 1.6e-3, near_zero=near_zero)
        assert clusterer.info["eps"] == pytest.approx(expected, rel=1e-6)
    assert radii["count"] < radii["drop"]
    with pytest.raises(InputError, match="near_zero='maybe'"):
        JaccardDBSCAN(near_zero="maybe")


def test_the_rho_rule_with_a_share_beyond_the_first_cut():
    features = clustered(300, 20)
    clusterer = JaccardDBSCAN(eps="rho", rho=0.2, k1=20)
    labels = clusterer(features, seed=0, epoch=0)
    graph = jaccard_graph(features, 20, 6)
    expected = rho_eps(graph, 0.2)
    assert expected > 0.7 and clusterer.info["eps"] == pytest.approx(expected, rel=1e-6)
    np.testing.assert_array_equal(labels, dbscan(graph, expected, 4))


def test_frozen_eps_stays_and_survives_a_resume():
    first, second = clustered(300, 20), clustered(300, 10, seed=5)
    clusterer = JaccardDBSCAN(eps="rho", freeze_eps=True, k1=20)
    clusterer(first, seed=0, epoch=0)
    eps = clusterer.info["eps"]
    assert eps != pytest.approx(rho_eps(jaccard_graph(second, 20, 6), 1.6e-3), rel=1e-3)
    resumed = JaccardDBSCAN(eps="rho", freeze_eps=True, k1=20)
    resumed.load_state_dict(pickle.loads(pickle.dumps(clusterer.state_dict())))
    for each in (clusterer, resumed):
        labels = each(second, seed=0, epoch=1)
        assert each.info["eps"] == eps
        np.testing.assert_array_equal(labels, dbscan(jaccard_graph(second, 20, 6), eps, 4))


@pytest.mark.parametrize("eps, freeze", [(0.5, False), ("rho", False), ("rho", True)])
@pytest.mark.parametrize("scale", [0.8, 1.3])
def test_eps_scale_multiplies_the_radius_and_not_the_state(eps, freeze, scale):
    features = clustered(300, 20)
    graph = jaccard_graph(features, 20, 6)
    clusterer = JaccardDBSCAN(eps=eps, freeze_eps=freeze, k1=20, rho=0.01)
    base = rho_eps(graph, 0.01) if eps == "rho" else eps
    for _ in range(2):
        labels = clusterer(features, seed=0, epoch=0, eps_scale=scale)
        assert clusterer.info["eps"] == pytest.approx(base * scale, rel=1e-6)
        np.testing.assert_array_equal(labels, dbscan(graph, base * scale, 4))


def test_a_radius_scaled_beyond_one_does_not_join_strangers():
    features = np.repeat(np.eye(2, 8, dtype=np.float32), 40, axis=0)
    features = unit_rows(features + 0.01 * clustered(80, 80, dim=8))
    clusterer = JaccardDBSCAN(eps=0.9, k1=10)
    labels = clusterer(features, seed=0, epoch=0, eps_scale=5.0)
    assert clusterer.info["eps"] < 1
    np.testing.assert_array_equal(labels, np.repeat([0, 1], 40))


def test_source_term_needs_and_uses_source_features():
    features, source = clustered(300, 20), clustered(40, 5, seed=9)
    clusterer = JaccardDBSCAN(eps=0.5, k1=20, variant="full", source_weight=0.1)
    assert clusterer.requires == ("source_features",)
    with pytest.raises(InputError, match="source_features"):
        clusterer(features, seed=0, epoch=0)
    labels = clusterer(features, seed=0, epoch=0, source_features=source)
    prepared = clusterer.prepare(features, source_features=source)
    np.testing.assert_array_equal(prepared["from_source"], source_distances(features, source))
    before = clusterer(features, seed=0, epoch=0, source_features=source, prepared=prepared)
    np.testing.assert_array_equal(before, labels)
    graph = jaccard_graph(
        features, 20, 6, variant="full", source_features=source, source_weight=0.1, max_distance=0.5
    )
    np.testing.assert_array_equal(labels, dbscan(graph, 0.5, 4))
    own = clusterer.distances(features, 0.5, seed=0, epoch=0, source_features=source)
    np.testing.assert_array_equal(own.toarray(), graph.toarray())
    by_rho = JaccardDBSCAN(eps="rho", k1=20, variant="full", source_weight=0.1)
    by_rho(features, seed=0, epoch=0, source_features=source)
    whole = jaccard_graph(
        features, 20, 6, variant="full", source_features=source, source_weight=0.1, max_distance=0.9
    )
    assert by_rho.info["eps"] == pytest.approx(rho_eps(whole, 1.6e-3, 0.9), rel=1e-6)


def test_extra_arrays_that_are_not_needed_are_ignored():
    features = clustered(100, 10)
    labels = JaccardDBSCAN()(features, seed=0, epoch=0, true_labels=np.zeros(100, int))
    np.testing.assert_array_equal(labels, JaccardDBSCAN()(features, seed=0, epoch=0))


def test_a_clusterer_can_be_copied():
    features = clustered(100, 10)
    clusterer = JaccardDBSCAN(eps="rho")
    labels = clusterer(features, seed=0, epoch=0)
    np.testing.assert_array_equal(copy.deepcopy(clusterer)(features, seed=0, epoch=0), labels)


@pytest.mark.parametrize(
    "bad, named", [(np.nan, "2 rows with NaN"), (np.inf, "2 rows with NaN"), (0, "2 rows of zeros")]
)
def test_broken_features_are_counted_and_the_cause_is_named(bad, named):
    features = clustered(50, 5)
    features[[3, 7]] = bad
    with pytest.raises(InputError, match=f"{named}.*lower optim_wrapper.optimizer.lr"):
        JaccardDBSCAN()(features, seed=0, epoch=0)


def test_no_features_at_all():
    with pytest.raises(InputError, match=r"\(0, 8\)"):
        JaccardDBSCAN()(np.zeros((0, 8), np.float32), seed=0, epoch=0)


@pytest.mark.parametrize(
    "change, named",
    [
        (dict(eps=0), "eps=0"),
        (dict(eps=1.0), "eps=1.0"),
        (dict(eps="Auto"), "eps='Auto'"),
        (dict(rho=0), "rho=0"),
        (dict(min_samples=0), "min_samples=0"),
        (dict(k1=0), "k1=0"),
        (dict(k2=0), "k2=0"),
        (dict(variant="slow"), "variant='slow'"),
        (dict(precision="half"), "precision='half'"),
        (dict(source_weight=1), "source_weight=1"),
    ],
)
def test_bad_configs_are_named_before_training(change, named):
    with pytest.raises(InputError, match=named):
        JaccardDBSCAN(**change)


def test_a_budget_that_suffices_changes_nothing_and_one_that_does_not_is_named():
    features = clustered(300, 20)
    expected = JaccardDBSCAN()(features, seed=0, epoch=0)
    generous = JaccardDBSCAN(max_memory="1GiB")
    np.testing.assert_array_equal(generous(features, seed=0, epoch=0), expected)
    with pytest.raises(
        InputError, match=r"max_memory of 0 MiB.*at least \d+ MiB.*300 images"
    ) as raised:
        JaccardDBSCAN(max_memory="100KB")(features, seed=0, epoch=0)
    named = JaccardDBSCAN(max_memory=re.search(r"least (\d+ MiB)", str(raised.value))[1])
    np.testing.assert_array_equal(named(features, seed=0, epoch=0), expected)


def test_a_graph_that_outgrows_the_budget_is_given_up():
    features = unit_rows(1 + 1e-3 * clustered(600, 2, dim=8))  # everything resembles everything
    enough = search_bytes(600, 8, [30]) + 8 * 600 * 40
    with pytest.raises(InputError, match=r"more than \d+ pairs.*raise its max_memory"):
        JaccardDBSCAN(eps=0.95, k2=20, max_memory=enough)(features, seed=0, epoch=0)
    JaccardDBSCAN(eps=0.95, k2=20, max_memory="1GiB")(features, seed=0, epoch=0)


# ---- labels


def test_renumber_closes_gaps_and_keeps_the_order():
    np.testing.assert_array_equal(renumber(np.array([7, -1, 3, 7, -5, 9])), [1, -1, 0, 1, -1, 2])
    np.testing.assert_array_equal(renumber(np.array([2, 0, 1, -1])), [2, 0, 1, -1])
    np.testing.assert_array_equal(renumber(np.array([-1, -1])), [-1, -1])


def test_ground_truth_labels_are_the_true_ones_without_gaps():
    features, truth = clustered(5, 2), np.array([4, 4, -1, 9, 9])
    clusterer = GroundTruthLabels()
    labels = clusterer(features, seed=0, epoch=0, true_labels=truth)
    np.testing.assert_array_equal(labels, [0, 0, -1, 1, 1])
    with pytest.raises(InputError, match="true_labels"):
        clusterer(features, seed=0, epoch=0)
    with pytest.raises(InputError, match="4 true labels for 5"):
        clusterer(features, seed=0, epoch=0, true_labels=truth[:4])
