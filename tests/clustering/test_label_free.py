"""k1 and eps that are chosen without any label: near the best that labels would have found, once, and for good."""

import importlib
import pickle

import cv2
import numpy as np
import pytest
from scipy import sparse

from mmreid_uda.clustering import (
    EvidenceClustering,
    JaccardDBSCAN,
    cluster_quality,
    dbscan,
    k2_for,
    label_score,
    make_constraints,
    split_features,
    sweep_dbscan,
)
from mmreid_uda.clustering.label_free import (
    EPS_CANDIDATES,
    K1_CANDIDATES,
    Choice,
    best_choice,
    k1_candidates,
)
from mmreid_uda.datasets.catalog import orl_faces_folder
from mmreid_uda.datasets.files import walk_images
from mmreid_uda.neighbors import CameraLists, jaccard_graph, unit_rows
from mmreid_uda.structures import Evidence, Links
from mmreid_uda.utils import InputError, make_rng

AUTO = dict(eps="auto", k1="auto", min_samples=2)


def people(ids, images, noise, seed=0, dim=64):
    """Features of so many people; noise differs, as some are easily recognised and some hardly."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(ids), images)
    spread = noise * rng.uniform(0.7, 1.3, (ids, 1))[truth]
    rows = rng.standard_normal((ids, dim))[truth] + spread * rng.standard_normal((len(truth), dim))
    return rows.astype(np.float32), truth


@pytest.fixture(scope="module")
def faces():
    """The ORL photographs as they are, 20 × 16 pixels without their mean."""
    folder = orl_faces_folder()
    paths = walk_images(folder, (".pgm",))
    images = [cv2.imread(f"{folder}/{path}", cv2.IMREAD_GRAYSCALE) for path in paths]
    rows = np.stack(
        [cv2.resize(image, (16, 20), interpolation=cv2.INTER_AREA).ravel() for image in images]
    )
    _, truth = np.unique([path.split("/")[0] for path in paths], return_inverse=True)
    rows = rows.astype(np.float32)
    return rows - rows.mean(0), truth


def slow_score(labels, first, second, distances, eps):
    """The formula, image by image."""
    total, num = 0.0, len(labels)
    for i in range(num):
        if min(labels[i], first[i], second[i]) < 0:
            continue
        mates = set(np.flatnonzero(labels == labels[i])) - {i}
        a, b = (set(np.flatnonzero(view == view[i])) for view in (first, second))
        if mates:
            near = sum(distances[i, j] <= eps for j in mates) / len(mates)
            total += len(a & b) / len(a | b) * np.log(len(mates) + 1) * near
    largest = max((np.sum(labels == label) for label in set(labels) - {-1}), default=0)
    return (1 - largest / num) * total / num


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_its_formula(seed):
    rng = np.random.default_rng(seed)
    num = 40
    labels, first, second = rng.integers(-1, 6, (3, num))
    dense = rng.random((num, num)).astype(np.float32)
    dense = np.maximum(dense, dense.T)
    np.fill_diagonal(dense, 0)
    i, j = np.nonzero((dense <= 0.8) | np.eye(num, dtype=bool))
    graph = sparse.csr_array((dense[i, j], (i, j)), shape=(num, num))
    found = label_score(labels, [(first, second)], graph, 0.6)
    expected = slow_score(labels, first, second, dense, 0.6)
    assert found == pytest.approx(expected)
    more = slow_score(labels, labels, second, dense, 0.6)
    found = label_score(labels, [(first, second), (labels, second)], graph, 0.6)
    assert found == pytest.approx((expected + more) / 2)


def test_no_cluster_one_cluster_and_single_images_are_worth_nothing():
    graph = sparse.csr_array(np.full((6, 6), 0.1, np.float32))
    for labels in (np.full(6, -1), np.zeros(6, int), np.arange(6)):
        assert label_score(labels, [(labels, labels)], graph, 0.5) == 0
    halves = np.repeat([0, 1], 3)
    assert label_score(halves, [(halves, halves)], graph, 0.5) == pytest.approx(np.log(3) / 2)


def best_of_sweep(features, truth):
    results = sweep_dbscan(
        features, EPS_CANDIDATES[::2], (2,), K1_CANDIDATES[::2], None, rho=None, true_labels=truth
    )
    return max(result.metrics["f_score"] for result in results)


@pytest.mark.parametrize("ids, images, noise", [(20, 5, 1.1), (6, 20, 1.6)])
def test_the_choice_is_near_the_best_that_labels_would_find(ids, images, noise):
    features, truth = people(ids, images, noise)
    labels = JaccardDBSCAN(**AUTO)(features, seed=0, epoch=0)
    best = best_of_sweep(features, truth)
    assert best < 0.995, "the example is not for every setting"
    assert cluster_quality(labels, truth)["f_score"] > 0.85 * best


def test_the_choice_on_photographs_is_near_the_best_and_far_above_the_defaults(faces):
    features, truth = faces
    auto, default = (
        cluster_quality(JaccardDBSCAN(**settings)(features, seed=0, epoch=0), truth)["f_score"]
        for settings in (AUTO, {})
    )
    assert auto > 0.9 * best_of_sweep(features, truth) and auto > 3 * default


def test_the_labels_are_those_of_the_chosen_setting():
    features, _ = people(12, 10, 1.2)
    auto = JaccardDBSCAN(**AUTO)
    labels = auto(features, seed=0, epoch=0)
    chosen = auto.chosen
    fixed = JaccardDBSCAN(chosen.eps, 2, k1=chosen.k1, k2=chosen.k2)
    np.testing.assert_array_equal(labels, fixed(features, seed=0, epoch=0))
    assert auto.info["k1"] == chosen.k1 and auto.info["eps"] == chosen.eps
    assert chosen.outlier_ratio == (labels < 0).mean() and "seconds_choice" in auto.info
    wider = auto(features, seed=0, epoch=0, eps_scale=1.2)
    assert auto.info["eps"] == pytest.approx(1.2 * chosen.eps)
    graph = jaccard_graph(unit_rows(features), chosen.k1, chosen.k2)
    np.testing.assert_array_equal(wider, dbscan(graph, auto.info["eps"], 2))


def test_the_score_of_the_choice_can_be_computed_by_hand():
    features, _ = people(12, 10, 1.2)
    auto = JaccardDBSCAN(**AUTO)
    auto(features, seed=3, epoch=0)
    rows, rng = unit_rows(features), make_rng(3, "halves of features")
    halves = [unit_rows(half) for _ in range(2) for half in split_features(rows, rng)]
    scores = []
    for k1 in K1_CANDIDATES:
        graphs = [jaccard_graph(view, k1, k2_for(k1)) for view in (rows, *halves)]
        for eps in EPS_CANDIDATES:
            labels, *found = (dbscan(graph, eps, 2) for graph in graphs)
            pairs = [(found[0], found[1]), (found[2], found[3])]
            scores.append((label_score(labels, pairs, graphs[0], eps), k1, eps))
    assert auto.chosen.score == pytest.approx(max(scores)[0])
    assert (auto.chosen.k1, auto.chosen.eps) == max(scores)[1:]


def test_the_choice_is_made_once_and_survives_a_resume(monkeypatch):
    first, second = people(12, 10, 1.2)[0], people(6, 20, 2.0, seed=1)[0]
    auto, anew = JaccardDBSCAN(**AUTO), JaccardDBSCAN(**AUTO)
    auto(first, seed=0, epoch=0)
    anew(second, seed=0, epoch=1)
    assert (auto.chosen.k1, auto.chosen.eps) != (anew.chosen.k1, anew.chosen.eps)
    resumed = JaccardDBSCAN(**AUTO)
    resumed.load_state_dict(pickle.loads(pickle.dumps(auto.state_dict())))
    assert resumed.chosen == auto.chosen
    # The package has a function of the module's name.
    module = importlib.import_module("mmreid_uda.clustering.dbscan")
    monkeypatch.setattr(module, "label_score", None)
    for each in (auto, resumed):
        prepared = each.prepare(second)
        # Ranks that know nothing of the choice search as far.
        assert prepared["neighbors"].num_columns == max(K1_CANDIDATES)
        each(second, seed=0, epoch=1, prepared=prepared)
        assert each.info["eps"] == auto.chosen.eps and "seconds_choice" not in each.info
    resumed.load_state_dict(dict(frozen_eps=None))  # of 0.2.0
    assert resumed.chosen is None
    given = JaccardDBSCAN(0.5, 2, k1=12, k2=5)  # what a resumed run is told anew holds
    given.load_state_dict(auto.state_dict())
    assert given.chosen is None


def test_one_of_both_can_be_given():
    features, _ = people(12, 10, 1.2)
    some = JaccardDBSCAN("auto", 2, k1=12, k2=5)
    some(features, seed=0, epoch=0)
    assert (some.chosen.k1, some.chosen.k2) == (12, 5) and some.chosen.eps in EPS_CANDIDATES
    other = JaccardDBSCAN(0.47, 2, k1="auto")
    other(features, seed=0, epoch=0)
    assert other.chosen.eps == other.info["eps"] == 0.47 and other.chosen.k1 in K1_CANDIDATES
    with pytest.raises(InputError, match="k1='auto' with eps='rho'"):
        JaccardDBSCAN("rho", k1="auto")


def test_cameras_and_the_source_go_along():
    features, _ = people(12, 10, 1.2)
    cameras = np.arange(120) % 2
    auto = JaccardDBSCAN(**AUTO)
    labels = auto(features, seed=0, epoch=0, cameras=cameras)
    # The lists within and across cameras follow k1: of this one they are not the paper's.
    chosen = auto.chosen
    assert chosen.k1 != 30
    lists = CameraLists().scaled(chosen.k1, chosen.k2)
    sizes = {
        name: getattr(lists, name) for name in ("k1_intra", "k1_inter", "k2_intra", "k2_inter")
    }
    fixed = JaccardDBSCAN(chosen.eps, 2, **sizes, camera_warm_up=False)
    np.testing.assert_array_equal(labels, fixed(features, seed=0, epoch=0, cameras=cameras))
    # Lists of the largest candidates would not fit into a few images.
    few = JaccardDBSCAN(**AUTO)
    assert few(features[:12], seed=0, epoch=0, cameras=cameras[:12]).shape == (12,)
    source = people(10, 5, 1.0, seed=2)[0]
    weighted = JaccardDBSCAN(**AUTO, source_weight=0.4)
    weighted(features, seed=0, epoch=0, source_features=source)
    assert 0 < weighted.chosen.eps < 0.6


@pytest.mark.slow
def test_constraints_are_obeyed_by_the_choice():
    features, _ = people(12, 10, 1.2)
    pairs = np.arange(0, 120, 2)  # two images each of the same person
    links = Links(pairs, pairs + 1, np.zeros(60, bool), np.ones(60, np.int64))
    auto = JaccardDBSCAN(**AUTO)
    constraints = make_constraints(np.ones(120, np.int64), links, None)
    labels = auto(features, seed=0, epoch=0, constraints=constraints)
    assert ((labels[pairs] != labels[pairs + 1]) | (labels[pairs] < 0)).all()
    plain = JaccardDBSCAN(**AUTO)
    plain(features, seed=0, epoch=0)
    assert auto.chosen.score != plain.chosen.score


def test_settings_beyond_the_budget_of_memory_are_left_out():
    features, _ = people(12, 10, 1.2)
    small = JaccardDBSCAN(**AUTO, max_memory="260KiB")
    small(features, seed=0, epoch=0)
    assert small.chosen.k1 < max(K1_CANDIDATES)


def test_with_a_choice_of_cameras_the_clusterer_chooses_for_each():
    features, _ = people(12, 10, 1.2)
    clustering = EvidenceClustering(JaccardDBSCAN(**AUTO), camera="auto")
    clustering.choose(features, Evidence(np.arange(120) % 2), seed=0, epoch=0)
    assert clustering.clusterer.chosen is None


def test_few_images_and_single_dimensions_have_candidates():
    assert k1_candidates(4) == (3,) and k1_candidates(30) == (3, 5, 7, 10, 15)
    assert k1_candidates(10**6) == K1_CANDIDATES
    assert [k2_for(k1) for k1 in (1, 3, 5, 10, 15, 30, 40)] == [1, 1, 2, 2, 3, 6, 8]
    for shape in ((3, 2), (2, 1)):
        labels = JaccardDBSCAN(**AUTO)(np.eye(*shape, dtype=np.float32) + 1, seed=0, epoch=0)
        assert len(labels) == shape[0]


def test_halves_share_no_dimension_and_have_no_row_of_zeros():
    features = np.arange(1.0, 36, dtype=np.float32).reshape(5, 7)
    first, second = split_features(features, make_rng(0))
    together = np.sort(np.concatenate([first, second], 1), 1)
    np.testing.assert_array_equal(together, features)
    assert first.shape[1] == 3
    lonely = np.eye(6, dtype=np.float32)
    before = lonely.copy()
    for half in split_features(lonely, make_rng(0)):
        assert half.any(1).all() and half.shape == (6, 3)
    np.testing.assert_array_equal(lonely, before)


def test_the_words_say_when_most_images_are_left_out():
    good, poor = Choice(10, 2, 0.6, 1.0, 0.5), Choice(3, 1, 0.3, 1.0, 0.51)
    assert "more than half of the images are left out" not in good.words
    assert "51% of the images" in poor.words and "more than half" in poor.words
    none = [Choice(3, 1, eps, 0.0, 1.0) for eps in (0.3, 0.7)]
    assert best_choice(none).eps == 0.7 and best_choice([*none, poor]) is poor
