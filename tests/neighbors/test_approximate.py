"""Approximate neighbours keep the form of the exact ones, and the recall they report is true."""

import sys

import numpy as np
import pytest

from mmreid_uda.clustering import JaccardDBSCAN
from mmreid_uda.neighbors import (
    approximate,
    find_neighbors,
    find_neighbors_approximately,
    unit_rows,
)
from mmreid_uda.utils import InputError

faiss = pytest.importorskip("faiss")


@pytest.fixture(autouse=True)
def one_thread():
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


def clustered(num, ids, dim=32, noise=0.9, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, dim))
    return unit_rows(centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, dim)))


FEATURES = clustered(2000, 100)
EXACT = find_neighbors(FEATURES, 20)


def true_recall(found, expected):
    return np.mean([len(set(a[1:]) & set(b[1:])) / (len(b) - 1) for a, b in zip(found, expected)])


@pytest.mark.parametrize("index, width", [("ivf", 5), ("ivf", 20), ("hnsw", 20), ("hnsw", 200)])
def test_the_form_is_that_of_the_exact_search(index, width):
    found, _ = find_neighbors_approximately(FEATURES, 20, index, nprobe=width, ef_search=width)
    assert found.indices.dtype == np.int32 and found.similarities.dtype == np.float32
    assert found.min_similarity is None
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(2000))
    assert all(len(set(row)) == 20 for row in found.indices.tolist())
    assert (np.diff(found.similarities[:, 1:], axis=1) <= 0).all()
    cosines = np.einsum("nd,nkd->nk", FEATURES, FEATURES[found.indices])
    np.testing.assert_allclose(found.similarities, cosines, atol=1e-6)


@pytest.mark.parametrize("index, widths", [("ivf", (2, 10, 51)), ("hnsw", (20, 60, 500))])
def test_the_recall_is_measured_and_grows_with_the_width_of_the_search(index, widths):
    recalls = []
    for width in widths:
        found, recall = find_neighbors_approximately(
            FEATURES, 20, index, nprobe=width, ef_search=width, num_checked=2000
        )
        assert recall == pytest.approx(true_recall(found.indices, EXACT.indices), abs=1e-3)
        recalls.append(recall)
    assert recalls[0] < recalls[1] <= recalls[2] and recalls[2] > 0.99


def test_all_lists_are_the_exact_search():
    found, recall = find_neighbors_approximately(FEATURES, 20, nprobe=1000)
    assert recall == pytest.approx(1, abs=1e-3)
    assert true_recall(found.indices, EXACT.indices) > 0.9999
    np.testing.assert_allclose(found.similarities, EXACT.similarities, atol=1e-6)


def test_a_sample_estimates_the_recall_and_follows_the_seed():
    whole = find_neighbors_approximately(FEATURES, 20, nprobe=5, num_checked=2000)[1]
    sampled = [
        find_neighbors_approximately(FEATURES, 20, nprobe=5, num_checked=200)[1] for _ in "12"
    ]
    assert sampled[0] == sampled[1] != whole
    assert sampled[0] == pytest.approx(whole, abs=0.05)


def test_inverted_files_repeat_themselves_and_differ_between_seeds():
    first, again, other = (
        find_neighbors_approximately(FEATURES, 20, nprobe=3, seed=seed)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.indices, again.indices)
    assert (first.indices != other.indices).any()


def test_rows_that_the_index_leaves_short_are_searched_exactly():
    # A list holds 39 images and more; hardly a row finds 200 neighbours in one.
    found, recall = find_neighbors_approximately(FEATURES, 200, nprobe=1, num_checked=2000)
    assert (found.indices >= 0).all()
    assert recall > 0.95
    exact = find_neighbors(FEATURES, 200)
    same = np.isclose(found.similarities, exact.similarities, atol=1e-6).all(1)
    assert same.mean() > 0.9


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_exact_duplicates_are_their_own_first_neighbors(index):
    features = np.repeat(clustered(60, 10), 5, axis=0)
    found, recall = find_neighbors_approximately(features, 8, index)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(300))
    np.testing.assert_allclose(found.similarities[:, :5], 1, atol=1e-6)
    assert all(len(set(row)) == 8 for row in found.indices.tolist())
    assert recall > 0.5  # which of equal ones comes first is anyone's choice


def test_a_row_that_was_not_found_is_put_first():
    indices, similarities = approximate._itself_first(
        np.array([[2, 0, -1], [2, 0, 3]]), np.array([[0.5, 0.9, -9], [0.8, 0.8, 0.1]], np.float32)
    )
    np.testing.assert_array_equal(indices, [[0, 2, -1], [1, 0, 2]])
    np.testing.assert_array_equal(
        similarities, np.float32([[np.inf, 0.5, -np.inf], [np.inf, 0.8, 0.8]])
    )


def test_one_neighbor_and_one_image():
    found, recall = find_neighbors_approximately(FEATURES[:50], 1)
    np.testing.assert_array_equal(found.indices, np.arange(50)[:, None])
    assert recall == 1
    assert find_neighbors_approximately(FEATURES[:1], 1)[0].indices.tolist() == [[0]]


@pytest.mark.parametrize(
    "k, change, named",
    [
        (0, {}, "k=0"),
        (2001, {}, "k=2001"),
        (5, dict(index="flat"), "index='flat'"),
        (5, dict(nprobe=0), "nprobe=0"),
        (5, dict(num_checked=0), "num_checked=0"),
    ],
)
def test_bad_parameters_are_named(k, change, named):
    with pytest.raises(InputError, match=named):
        find_neighbors_approximately(FEATURES, k, **change)


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"pip install mmreid_uda\[cpu\]"):
        find_neighbors_approximately(FEATURES, 5)


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_a_clusterer_searches_approximately_on_request_and_says_what_it_missed(index):
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((60, 32))
    features = unit_rows(np.repeat(centers, 20, 0) + 0.3 * rng.standard_normal((1200, 32)))
    exact = JaccardDBSCAN(k1=20)(features, seed=0, epoch=0)
    clusterer = JaccardDBSCAN(k1=20, search=index, nprobe=256, ef_search=256)
    assert clusterer.prepare(features, over_ranks=True) == {}
    labels = clusterer(features, seed=0, epoch=0)
    assert 0.9 < clusterer.info["recall"] <= 1
    assert (labels == exact).mean() > 0.95


def test_the_full_variant_is_searched_exactly():
    with pytest.raises(InputError, match="search='ivf' with variant='full'"):
        JaccardDBSCAN(search="ivf", variant="full")
