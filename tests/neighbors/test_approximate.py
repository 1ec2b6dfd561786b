"""Approximate neighbours keep the form of the exact ones, and the recall they report is true."""

import ctypes
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from mmreid_uda.clustering import DropLooseMembers, JaccardDBSCAN, cluster_quality, refiners
from mmreid_uda.neighbors import (
    approximate,
    compiled_search,
    find_camera_neighbors,
    find_camera_neighbors_approximately,
    find_neighbors,
    find_neighbors_approximately,
    inverted_lists,
    unit_rows,
)
from mmreid_uda.neighbors.candidates import rank_candidates
from mmreid_uda.neighbors.lists import Wanted
from mmreid_uda.utils import InputError, check_vectors, kernels_available, without_kernels

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


@pytest.mark.parametrize("index, width", [("ivf", 5), ("pq", 20), ("hnsw", 20)])
def test_the_form_is_that_of_the_exact_search(engine, index, width):
    found, _ = find_neighbors_approximately(FEATURES, 20, index, nprobe=width, ef_search=width)
    assert found.indices.dtype == np.int32 and found.similarities.dtype == np.float32
    assert found.min_similarity is None
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(2000))
    assert all(len(set(row)) == 20 for row in found.indices.tolist())
    assert (np.diff(found.similarities[:, 1:], axis=1) <= 0).all()
    cosines = np.einsum("nd,nkd->nk", FEATURES, FEATURES[found.indices])
    np.testing.assert_allclose(found.similarities, cosines, atol=1e-6)


@pytest.mark.parametrize(
    "index, widths",
    [
        ("ivf", (2, 10, 51)),
        pytest.param("pq", (2, 51), marks=pytest.mark.slow),
        ("hnsw", (20, 500)),
    ],
)
def test_the_recall_is_measured_and_grows_with_the_width_of_the_search(index, widths):
    recalls = []
    for width in widths:
        found, recall = find_neighbors_approximately(
            FEATURES, 20, index, nprobe=width, ef_search=width, num_checked=2000
        )
        assert recall == pytest.approx(true_recall(found.indices, EXACT.indices), abs=1e-3)
        recalls.append(recall)
    assert recalls[0] < recalls[1] <= recalls[-1] and recalls[-1] > 0.98


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


def test_rows_that_the_index_leaves_short_are_searched_exactly_and_counted(monkeypatch):
    told = []
    monkeypatch.setattr(approximate, "print_log", lambda text, **_: told.append(text))
    find_neighbors_approximately(FEATURES, 20, nprobe=20)
    assert not told
    # A list holds 39 images and more; hardly a row finds 200 neighbours in one.
    found, recall = find_neighbors_approximately(FEATURES, 200, nprobe=1, num_checked=2000)
    assert (found.indices >= 0).all()
    assert recall > 0.95
    exact = find_neighbors(FEATURES, 200)
    same = np.isclose(found.similarities, exact.similarities, atol=1e-6).all(1)
    assert same.mean() > 0.9
    [text] = told
    number = int(text.split()[2])
    assert same.sum() >= number > 0.9 * len(FEATURES) and f"all {len(FEATURES)} images" in text


@pytest.mark.parametrize("index", ["ivf", "pq", "hnsw"])
def test_exact_duplicates_are_their_own_first_neighbors(index):
    features = np.repeat(clustered(60, 10), 5, axis=0)
    found, recall = find_neighbors_approximately(features, 8, index)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(300))
    np.testing.assert_allclose(found.similarities[:, :5], 1, atol=1e-6)
    assert all(len(set(row)) == 8 for row in found.indices.tolist())
    assert recall > 0.5  # which of equal ones comes first is anyone's choice


def slow_ranking(features, first, candidates, k, cameras=None, same=False):
    """Lists from candidates, one after the other, in float64."""
    num, lists = len(features), []
    for row, named in enumerate(candidates.tolist(), start=first):
        there = {one for one in named if 0 <= one < num and one != row}
        if cameras is not None:
            there = {one for one in there if (cameras[one] == cameras[row]) == same}
        cosine = {one: float(features[row].astype(float) @ features[one]) for one in there}
        best = sorted(there, key=lambda one: (-cosine[one], one))
        best = ([row] if cameras is None or same else []) + best
        lists.append((best + [num] * k)[:k])
    return np.array(lists)


@pytest.mark.parametrize("cameras", [None, np.random.default_rng(1).integers(0, 3, 90, np.int32)])
def test_candidates_are_ranked_by_the_rows_whoever_names_them(engine, cameras):
    # Cosines are multiples of 1/8: ties abound, and are no matter of rounding.
    rng = np.random.default_rng(0)
    features = (2 * rng.integers(0, 2, (90, 16)) - 1).astype(np.float32) / 4
    candidates = rng.integers(-3, 95, (20, 40)).astype(np.int32)  # repeated, nobody, the row itself
    rules = (
        [{}] if cameras is None else [dict(cameras=cameras, same=same) for same in (True, False)]
    )
    if cameras is not None and engine == "plain":
        pytest.skip("cameras need kernels")
    for rule in rules:
        lists = rank_candidates(features, 30, candidates, Wanted(12, **rule))
        expected = slow_ranking(features, 30, candidates, 12, **rule)
        np.testing.assert_array_equal(lists.indices, expected)
        known = (expected < 90) & (expected != np.arange(30, 50)[:, None])
        rows, _ = np.nonzero(known)
        cosines = np.einsum("nd,nd->n", features[30 + rows], features[expected[known]])
        np.testing.assert_allclose(lists.scores[known], cosines, atol=1e-6)
        assert np.isneginf(lists.scores[expected == 90]).all()


def test_a_row_is_compared_with_the_members_of_the_nearest_lists(monkeypatch):
    monkeypatch.setattr(inverted_lists, "_MEMBERS", 16)  # lists in several parts
    centers = inverted_lists.train_centers(faiss, FEATURES, 0)
    nearest = np.argsort(-(FEATURES @ centers.T), axis=1)[:, :7]
    found, _ = find_neighbors_approximately(FEATURES, 20, nprobe=7)
    members = [np.flatnonzero(nearest[:, 0] == number) for number in range(len(centers))]
    candidates = [np.concatenate([members[number] for number in row]) for row in nearest[:50]]
    width = max(map(len, candidates))
    padded = np.array(
        [np.pad(row, (0, width - len(row)), constant_values=-1) for row in candidates]
    )
    np.testing.assert_array_equal(found.indices[:50], slow_ranking(FEATURES, 0, padded, 20))


@pytest.mark.parametrize("nprobe", [3, 97, 120])
def test_the_nearest_lists_are_those_of_a_full_sort(nprobe):
    centers, rows = clustered(130, 130), FEATURES[:1100]
    found = inverted_lists.nearest_lists(rows, centers, nprobe)
    order = np.argsort(-(rows @ centers.T), axis=1, kind="stable")[:, :nprobe]
    np.testing.assert_array_equal(found[:, 0], order[:, 0])
    np.testing.assert_array_equal(np.sort(found, 1), np.sort(order, 1))


def test_neighbors_of_neighbors_are_candidates(engine):
    plain, before = find_neighbors_approximately(FEATURES, 20, nprobe=3)
    refined, after = find_neighbors_approximately(FEATURES, 20, nprobe=3, refine=5)
    near = plain.indices[:, 1:6]
    candidates = np.concatenate([plain.indices, near[near].reshape(2000, -1)], 1)
    expected = slow_ranking(FEATURES, 0, candidates[:100], 20)
    np.testing.assert_array_equal(refined.indices[:100], expected)
    assert after > before


def test_neighbors_found_before_are_candidates(engine):
    before = np.where(EXACT.indices % 7 == 0, -1, EXACT.indices)
    found, recall = find_neighbors_approximately(FEATURES, 20, nprobe=1, previous=before)
    assert recall > 0.87 > find_neighbors_approximately(FEATURES, 20, nprobe=1)[1]
    assert (found.indices == EXACT.indices).mean() > 0.6


@pytest.mark.parametrize("found", [EXACT.similarities, EXACT.indices[:7], EXACT.indices[:, 0]])
def test_what_are_no_neighbors_of_before_is_one_sentence(found):
    with pytest.raises(InputError, match=r"previous neighbours of type .* \(2000, neighbours\)"):
        find_neighbors_approximately(FEATURES, 20, nprobe=1, previous=found)


def test_cameras_have_any_numbers():
    if not kernels_available():
        pytest.skip("cameras need kernels")
    cameras = np.repeat([-7, 2**31 - 1, 0], [60, 38, 2]).astype(np.int32)
    found, _ = find_camera_neighbors_approximately(FEATURES[:100], cameras, 5, 8)
    exact = find_camera_neighbors(FEATURES[:100], cameras, 5, 8)
    np.testing.assert_array_equal(found.intra.indices, exact.intra.indices)
    np.testing.assert_array_equal(found.inter.indices, exact.inter.indices)


def test_lists_within_and_across_cameras(monkeypatch):
    if not kernels_available():
        pytest.skip("cameras need kernels")
    cameras = np.random.default_rng(0).choice(4, 2000, p=[0.6, 0.3, 0.095, 0.005]).astype(np.int32)
    exact = find_camera_neighbors(FEATURES, cameras, 15, 8)
    assert (exact.intra.indices == -1).any(), "one camera has few images"
    for options, least in (
        (dict(nprobe=1000), 1),
        (dict(nprobe=8), 0.8),
        (dict(nprobe=8, refine=6), 0.83),
    ):
        found, recall = find_camera_neighbors_approximately(FEATURES, cameras, 15, 8, **options)
        for ours, true in ((found.intra, exact.intra), (found.inter, exact.inter)):
            np.testing.assert_array_equal(ours.indices < 0, true.indices < 0)
            assert np.isneginf(ours.similarities[ours.indices < 0]).all()
        hits = [len(set(a) & set(b)) for a, b in zip(found.inter.indices, exact.inter.indices)]
        assert recall >= least - 1e-3 and np.mean(hits) / 8 > least - 0.06
    widths = set()
    ranked = approximate.rank_candidates
    monkeypatch.setattr(
        approximate,
        "rank_candidates",
        lambda *args: widths.add(args[2].shape[1]) or ranked(*args),
    )
    find_camera_neighbors_approximately(FEATURES, cameras, 15, 8, nprobe=8, refine=5)
    assert widths == {15, 8, 15 + 36, 8 + 36}, "three of either list, and theirs"
    with without_kernels(), pytest.raises(InputError, match="no numba"):
        find_camera_neighbors_approximately(FEATURES, cameras, 15, 8)


def search_without_room_for_a_copy(rank, path):
    approximate._ROWS = 64
    compiled_search._faster[16384] = "int8"
    mapped = np.load(path, mmap_mode="r")
    searches = [
        lambda rows: find_neighbors(unit_rows(check_vectors(rows, "features")), 5),
        lambda rows: find_neighbors_approximately(rows, 5, nprobe=26, num_checked=9)[0],
    ]
    if kernels_available():
        searches.append(lambda rows: find_neighbors(rows, 5, precision="int8"))
    for search in searches:
        search(mapped[:60])  # loads what is loaded at the first use
    ctypes.CDLL(None).malloc_trim(0)  # what has been freed would do for a copy
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    # This limit leaves mapped files out.
    most = int(status["VmData"].split()[0]) * 1024 + (56 << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with pytest.raises(MemoryError):
        np.array(mapped)
    refiners._BLOCK_SIZE = 64
    assert not (DropLooseMembers(0.01)(np.arange(1024) // 256, mapped) < 0).any()
    return [search(mapped).indices for search in searches]


@pytest.mark.slow
def test_features_mapped_from_a_file_are_not_copied(run_ranks, tmp_path):
    # 64 MiB of few rows: nothing else is large.
    rows = unit_rows(np.random.default_rng(0).standard_normal((1024, 16384), np.float32))
    np.save(tmp_path / "features.npy", rows)
    [found] = run_ranks(search_without_room_for_a_copy, 1, args=(tmp_path / "features.npy",))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, np.inf)
    expected = np.argsort(-cosines, 1)[:, :5]
    for indices in found:
        assert (indices == expected).mean() > 0.99


@pytest.mark.parametrize("kind", ["ivf", "pq", "hnsw", "file"])
def test_the_memory_is_told_before_and_grows_with_what_is_asked(kind):
    def least(num, lists=(30,), **options):
        return approximate.approximate_bytes(num, 256, lists, kind, **options)

    assert least(10_000) > 8 * 10_000 * 30
    assert least(1_000_000) > 9 * least(100_000) / 2
    assert least(10_000, (30, 30)) > least(10_000)
    assert least(10_000, refine=10) > least(10_000)
    # Codes are no second copy of the features.
    assert least(1_000_000) < {"hnsw": 2, "file": 0.6}.get(kind, 1.2) * 1_000_000 * 1024


@pytest.mark.parametrize("index", ["ivf", "pq", "hnsw"])
def test_one_neighbor_and_one_image(index):
    found, recall = find_neighbors_approximately(FEATURES[:50], 1, index)
    np.testing.assert_array_equal(found.indices, np.arange(50)[:, None])
    assert recall == 1
    assert find_neighbors_approximately(FEATURES[:1], 1, index)[0].indices.tolist() == [[0]]


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
    with pytest.raises(InputError, match=r"pip install mmreid_uda\[cpu\]"):
        JaccardDBSCAN(search="pq")  # before any feature is extracted


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_a_clusterer_searches_approximately_on_request_and_says_what_it_missed(index):
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((60, 32))
    features = unit_rows(np.repeat(centers, 20, 0) + 0.3 * rng.standard_normal((1200, 32)))
    exact = JaccardDBSCAN(k1=20)(features, seed=0, epoch=0)
    clusterer = JaccardDBSCAN(k1=20, search=index, nprobe=256, ef_search=256)
    labels = clusterer(features, seed=0, epoch=0)
    assert 0.9 < clusterer.info["search_recall"] <= 1
    assert not clusterer.info.keys() & cluster_quality(labels, exact).keys(), "one log has both"
    assert (labels == exact).mean() > 0.95


def test_the_full_variant_is_searched_exactly():
    with pytest.raises(InputError, match="search='ivf' with variant='full'"):
        JaccardDBSCAN(search="ivf", variant="full")
