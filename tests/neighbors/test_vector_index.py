"""A vector index finds what a full comparison finds, and reads back as it was."""

import sys

import numpy as np
import pytest

from mmreid_uda.neighbors import VectorIndex, unit_rows
from mmreid_uda.utils import InputError

RNG = np.random.default_rng(0)
CENTERS = RNG.standard_normal((80, 24))
GALLERY, QUERIES = (
    unit_rows(CENTERS[RNG.integers(0, 80, num)] + 0.7 * RNG.standard_normal((num, 24)))
    for num in (900, 30)
)
COSINES = QUERIES @ GALLERY.T
NEAREST = np.argsort(-COSINES, axis=1, kind="stable")[:, :10]


@pytest.fixture
def faiss():
    package = pytest.importorskip("faiss")
    threads = package.omp_get_max_threads()
    package.omp_set_num_threads(1)
    yield package
    package.omp_set_num_threads(threads)


def test_flat_search_is_a_full_comparison(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # not needed
    similarities, indices = VectorIndex(GALLERY).search(QUERIES, 10)
    np.testing.assert_array_equal(indices, NEAREST)
    np.testing.assert_allclose(similarities, np.take_along_axis(COSINES, NEAREST, 1), atol=1e-6)


def test_of_equal_images_the_first_comes_first():
    index = VectorIndex(np.concatenate([GALLERY[:3]] * 2))
    assert index.search(GALLERY[:3], 2)[1].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_a_wider_search_finds_more_until_nothing_is_missed(faiss, kind):
    index = VectorIndex(GALLERY, kind)
    recalls = []
    for width in (1, 900):
        index.nprobe = index.ef_search = width
        similarities, indices = index.search(QUERIES, 10)
        hits = [np.isin(true, found).mean() for true, found in zip(NEAREST, indices)]
        recalls.append(np.mean(hits))
        there = indices >= 0
        found = np.take_along_axis(COSINES, np.maximum(indices, 0), 1)
        np.testing.assert_allclose(similarities[there], found[there], atol=1e-6)
        assert np.isneginf(similarities[~there]).all()
    assert recalls[0] < recalls[1] and recalls[1] > 0.999


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_an_index_reads_back_as_it_was(faiss, kind, tmp_path):
    index = VectorIndex(GALLERY, kind, nprobe=7, ef_search=8)
    np.savez(tmp_path / "index.npz", **index.arrays())
    with np.load(tmp_path / "index.npz") as arrays:
        again = VectorIndex.from_arrays(arrays)
    assert (again.kind, len(again), again.dim) == (kind, 900, 24)
    assert (again.nprobe, again.ef_search) == (7, 8)
    for one, other in zip(index.search(QUERIES, 5), again.search(QUERIES, 5)):
        np.testing.assert_array_equal(one, other)


def test_no_more_is_given_than_there_is(faiss):
    for kind in ("flat", "hnsw", "ivf"):
        assert VectorIndex(GALLERY[:4], kind).search(QUERIES, 10)[1].shape == (30, 4)


def test_vectors_of_any_length_are_scaled():
    similarities, _ = VectorIndex(3 * GALLERY).search(0.5 * QUERIES, 1)
    np.testing.assert_allclose(similarities[:, 0], COSINES.max(1), atol=1e-6)


@pytest.mark.parametrize(
    "action, words",
    [
        (lambda: VectorIndex(GALLERY[0]), r"shape \(24,\)"),
        (lambda: VectorIndex(GALLERY[:0]), r"shape \(0, 24\)"),
        (lambda: VectorIndex(GALLERY, "tree"), "kind='tree' .*'flat', 'ivf' or 'hnsw'"),
        (lambda: VectorIndex(GALLERY, ef_search=0), "ef_search=0"),
        (lambda: VectorIndex(GALLERY).search(QUERIES[:, :5], 3), r"expected \(Q, 24\)"),
        (lambda: VectorIndex(GALLERY).search(QUERIES, 0), "k=0 .* of at least 1"),
        (lambda: VectorIndex(GALLERY).search(QUERIES, "3"), "k='3'"),
        (lambda: VectorIndex(GALLERY).search(QUERIES, 2.5), "k=2.5"),
    ],
)
def test_wrong_input_is_one_sentence(action, words):
    with pytest.raises(InputError, match=words):
        action()


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match="faiss"):
        VectorIndex(GALLERY, "hnsw")
