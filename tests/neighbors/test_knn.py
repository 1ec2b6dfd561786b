"""Neighbour lists are exact, whatever the blocks and ties."""

import importlib

import numpy as np
import pytest
import torch

from mmreid_uda.neighbors import (
    compiled_search,
    find_camera_neighbors,
    find_neighbors,
    knn,
    unit_rows,
)
from mmreid_uda.neighbors.compiled_search import Coarse, choose_coarse
from mmreid_uda.neighbors.lists import Wanted
from mmreid_uda.utils import InputError, kernels_available

pytestmark = pytest.mark.usefixtures("engine")

# The function of this name hides the module in the package.
knn_module = importlib.import_module("mmreid_uda.neighbors.knn")


@pytest.fixture(autouse=True)
def int8_is_taken(monkeypatch):
    """Also by a CPU on which it is slow."""
    monkeypatch.setattr(knn_module, "choose_coarse", lambda *args: Coarse("int8", 18))


def gaussian(num, dim=32, seed=0):
    return unit_rows(np.random.default_rng(seed).standard_normal((num, dim)))


def signs(num, dim=64, seed=0):
    """Unit vectors whose cosines are exact multiples of 1/32, so that ties abound."""
    draws = np.random.default_rng(seed).integers(0, 2, (num, dim))
    return ((2 * draws - 1) / np.sqrt(dim)).astype(np.float32)


def brute_force(features, k):
    similarities = features.astype(np.float64) @ features.T.astype(np.float64)
    order = similarities.copy()
    np.fill_diagonal(order, np.inf)
    indices = np.argsort(-order, axis=1, kind="stable")[:, :k]
    return indices, np.take_along_axis(similarities, indices, 1)


@pytest.mark.parametrize("features", [gaussian(300), signs(300), signs(257, dim=16)])
@pytest.mark.parametrize("k", [1, 7, 30])
@pytest.mark.parametrize("block_size", [16, 100, 2048])
def test_equals_a_full_sort_with_ties_to_the_lower_index(features, k, block_size):
    indices, similarities = knn(features, k, block_size=block_size)
    expected_indices, expected_similarities = brute_force(features, k)
    assert indices.dtype == np.int32 and similarities.dtype == np.float32
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(similarities, expected_similarities, atol=1e-6)


def test_all_images_can_be_asked_for():
    features = signs(40)
    np.testing.assert_array_equal(knn(features, 40, block_size=16)[0], brute_force(features, 40)[0])


def test_a_row_is_its_own_first_neighbor_among_exact_duplicates():
    features = np.repeat(signs(10), 50, axis=0)
    indices, similarities = knn(features, 20, block_size=64)
    np.testing.assert_array_equal(indices, brute_force(features, 20)[0])
    np.testing.assert_array_equal(indices[:, 0], np.arange(500))
    np.testing.assert_allclose(similarities, 1, atol=1e-6)


def test_identical_features_give_lists_of_the_lowest_indices():
    indices = knn(np.repeat(signs(1), 100, axis=0), 4, block_size=32)[0]
    np.testing.assert_array_equal(indices[50], [50, 0, 1, 2])


def test_a_tensor_gives_the_same_as_an_array():
    features = gaussian(100)
    for from_array, from_tensor in zip(knn(features, 5), knn(torch.from_numpy(features), 5)):
        np.testing.assert_array_equal(from_array, from_tensor)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("block_size", [32, 2048])
@pytest.mark.parametrize("num, dim", [(150, 4), (700, 256), (2, 8), (9, 8)])
def test_lowest_is_the_similarity_to_the_farthest_other_row(num, dim, block_size, precision):
    features = gaussian(num, dim)
    similarities = features.astype(np.float64) @ features.T
    found = find_neighbors(
        features, 2, precision=precision, with_min_similarity=True, block_size=block_size
    )
    np.testing.assert_allclose(found.min_similarity, similarities.min(1), atol=1e-6)
    np.testing.assert_allclose(found.similarities, np.sort(similarities)[:, :-3:-1], atol=1e-6)


def test_negative_similarities_are_ordered_too():
    angles = np.radians([0, 100, 130, 180, 250])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    indices, similarities = knn(features, 5)
    np.testing.assert_array_equal(indices[0], [0, 1, 4, 2, 3])
    np.testing.assert_allclose(similarities[0], np.cos(angles)[indices[0]], atol=1e-6)


@pytest.mark.parametrize("k", [0, 11])
def test_k_outside_the_number_of_images_is_named(k):
    with pytest.raises(InputError, match=f"k={k}"):
        knn(gaussian(10), k)


def heavy_tailed(num, dim=512, seed=0):
    """Features as networks with ReLU give them: half of them zero, some large, in groups that look alike."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((num // 20, dim))
    noisy = centers[rng.integers(0, len(centers), num)] + rng.standard_normal((num, dim))
    return unit_rows(np.maximum(noisy, 0) ** 2)


@pytest.mark.parametrize("features", [gaussian(900, 256), heavy_tailed(900), signs(300)])
@pytest.mark.parametrize("k", [1, 15, 30])
def test_int8_candidates_ranked_exactly_are_the_exact_neighbors(features, k):
    indices, similarities = knn(features, k, precision="int8", block_size=200)
    expected_indices, expected_similarities = brute_force(features, k)
    np.testing.assert_allclose(similarities, expected_similarities, atol=1e-6)
    # Where lists differ, float32 could not tell the two: their similarities agree to rounding.
    assert (indices != expected_indices).mean() < 0.01
    for row in np.flatnonzero((indices != expected_indices).any(1)):
        strangers = np.setdiff1d(indices[row], expected_indices[row])
        assert (features[row] @ features[strangers].T > expected_similarities[row, -1] - 1e-6).all()


def test_rows_that_int8_cannot_tell_apart_are_searched_anew(engine, monkeypatch):
    # 300 rows within a rounding step of each other: every candidate list is full of possible neighbours.
    features = unit_rows(1 + 1e-3 * np.random.default_rng(0).standard_normal((300, 256)))
    again = []
    search = compiled_search.search_rows

    def search_rows(rows, chosen, *args, **options):
        again.append(len(chosen))
        return search(rows, chosen, *args, **options)

    monkeypatch.setattr(compiled_search, "search_rows", search_rows)
    indices, similarities = knn(features, 10, precision="int8")
    np.testing.assert_array_equal(indices[:, 0], np.arange(300))
    expected = np.sort(features.astype(np.float64) @ features.T.astype(np.float64), axis=1)
    np.testing.assert_allclose(similarities[:, 1:], expected[:, :-11:-1][:, 1:], atol=1e-6)
    assert again == ([300] if engine == "kernels" else [])
    min_similarity = find_neighbors(
        features, 10, precision="int8", with_min_similarity=True
    ).min_similarity
    np.testing.assert_allclose(min_similarity, expected[:, 0], atol=1e-6)
    assert again == ([300, 300, 300] if engine == "kernels" else [])


def test_the_number_of_threads_does_not_change_a_bit(engine):
    features = gaussian(700, 128)
    threads = torch.get_num_threads()
    results = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        results.append(knn(features, 20, block_size=64))
        assert torch.get_num_threads() == number, "the setting of the caller stays"
    torch.set_num_threads(threads)
    for indices, similarities in results[1:]:
        np.testing.assert_array_equal(indices, results[0][0])
        if engine == "kernels":
            np.testing.assert_array_equal(similarities, results[0][1])


def test_an_unknown_precision_is_named():
    with pytest.raises(InputError, match="precision='int4'"):
        knn(gaussian(10), 2, precision="int4")


class Clock:
    """Tells times such that the products that are timed take so many seconds, one after the other."""

    def __init__(self, *seconds):
        self.ticks = np.repeat(np.cumsum([0, *seconds]), 2)[1:-1].tolist()

    def __call__(self):
        return self.ticks.pop(0)


@pytest.mark.parametrize(
    "float32, int8, choice",
    [
        ((4, 2, 9, 4, 4), (1.5, 7, 8, 7, 7), "int8"),
        ((4, 2, 9, 4, 4), (1.9, 7, 8, 7, 7), "float32"),  # ranking the candidates would eat that up
        ((1, 1, 1, 1, 1), (50, 40, 60, 50, 50), "float32"),  # no instructions for bytes
    ],
)
def test_the_precision_that_is_faster_here_is_taken_timed_once_and_told(
    float32, int8, choice, monkeypatch
):
    clock = Clock(*np.stack([float32, int8], 1).ravel())
    rows = torch.from_numpy(gaussian(150, 512))
    monkeypatch.setattr(compiled_search, "_clock", clock)
    monkeypatch.setattr(compiled_search, "_faster", {})
    told = []
    monkeypatch.setattr(compiled_search, "print_log", lambda text, **_: told.append(text))
    for _ in range(2):
        assert choose_coarse(rows, [Wanted(9)], False) == Coarse(
            choice, 18 if choice == "int8" else 4
        )
    assert not clock.ticks
    rates = [2e-9 * 150**2 * 512 / min(times) for times in (int8, float32)]
    assert len(told) == 1
    assert all(f"{rate:.3g} " in told[0] for rate in rates) and f"{choice} is taken" in told[0]


def test_few_dimensions_are_not_timed(monkeypatch):
    monkeypatch.setattr(compiled_search, "_clock", Clock())
    monkeypatch.setattr(compiled_search, "_faster", {})
    rows = torch.from_numpy(gaussian(150, 511))
    assert choose_coarse(rows, [Wanted(9)], False) is None


def test_ranks_take_the_choice_of_rank_0(monkeypatch):
    rows = torch.from_numpy(gaussian(20, 600))
    monkeypatch.setattr(compiled_search, "_faster", {600: "int8"})
    monkeypatch.setattr(compiled_search, "run_on_rank0", lambda function: "that of rank 0")
    assert choose_coarse(rows, [Wanted(9)], False) == Coarse("int8", 18)
    assert choose_coarse(rows, [Wanted(9)], True) == "that of rank 0"


@pytest.mark.parametrize("alike, spare", [(10, 18), (60, 66), (120, 130), (300, None)])
@pytest.mark.parametrize("with_cameras", [False, True])
def test_features_too_alike_for_bytes_take_more_candidates_or_float32(
    alike, spare, with_cameras, monkeypatch
):
    """Crowds of images of which each is as near to all others as bytes can tell."""
    if not kernels_available():
        pytest.skip("candidates are for kernels")
    crowds = np.repeat(gaussian(-(-600 // alike), 512), alike, axis=0)[:600]
    rows = unit_rows(crowds + 1e-4 * gaussian(600, 512, seed=1))
    monkeypatch.setattr(compiled_search, "_faster", {512: "int8"})
    told = []
    monkeypatch.setattr(compiled_search, "print_log", lambda text, **_: told.append(text))
    wanted = [Wanted(9)]
    if with_cameras:  # of one camera all, of the others none but a few
        cameras = np.zeros(600, np.int32)
        wanted = [Wanted(9, cameras, same=True), Wanted(9, cameras)]
    chosen = choose_coarse(torch.from_numpy(rows), wanted, False)
    assert chosen == (Coarse("int8", spare) if spare else Coarse("float32", 4))
    assert len(told) == (spare is None)
    assert all("100% of the images have more than 130 others" in text for text in told)


@pytest.mark.parametrize(
    "features",
    [
        heavy_tailed(700),
        signs(300),  # full of ties
        unit_rows(1 + 1e-3 * np.random.default_rng(0).standard_normal((300, 256))),  # one crowd
        # Entries of two values, whose rounding errors go together.
        unit_rows(np.where(np.random.default_rng(0).random((300, 512)) < 0.5, 1, 0.31)),
        # More that are alike to rounding than candidates in float32, not more than in int8.
        unit_rows(np.repeat(gaussian(12, 512), 25, axis=0) + 1e-5 * gaussian(300, 512)),
        # The same of the farthest.
        unit_rows(np.repeat(gaussian(12, 512), 8, axis=0) + 1e-7 * gaussian(96, 512)),
        gaussian(4, 600),
    ],
)
@pytest.mark.parametrize("with_cameras", [False, True])
def test_what_finds_the_candidates_changes_no_bit(features, with_cameras, monkeypatch):
    if not kernels_available():
        pytest.skip("candidates are for kernels")
    cameras = np.random.default_rng(1).integers(0, 3, len(features)).astype(np.int32)
    k, results = min(9, len(features)), []
    for choice in (Coarse("int8", 18), Coarse("int8", 130), Coarse("float32", 4)):
        monkeypatch.setattr(knn_module, "choose_coarse", lambda *args, took=choice: took)
        options = dict(precision="int8", with_min_similarity=True, block_size=128)
        if with_cameras:
            found = find_camera_neighbors(features, cameras, k, k, **options)
            parts = (found.intra, found.inter)
        else:
            parts = (find_neighbors(features, k, **options),)
        results.append([array for part in parts for array in vars(part).values()])
    for one, *others in zip(*results):
        for other in others:
            np.testing.assert_array_equal(one, other)


def test_int8_is_float32_with_few_dimensions(engine, monkeypatch):
    monkeypatch.setattr(knn_module, "choose_coarse", choose_coarse)
    features = gaussian(300)
    for found, expected in zip(knn(features, 9, precision="int8"), knn(features, 9)):
        np.testing.assert_array_equal(found, expected)
