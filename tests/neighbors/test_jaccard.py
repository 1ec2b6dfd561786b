"""The sparse Jaccard distance equals its seven steps taken literally, with Python sets."""

from functools import cache

import numpy as np
import pytest
from scipy import sparse

from mmreid_uda.clustering import rho_eps, stores_share
from mmreid_uda.neighbors import (
    add_source_term,
    find_neighbors,
    jaccard_distances,
    jaccard_graph,
    jaccard_scipy,
    neighbors_needed,
    source_distances,
    unit_rows,
)
from mmreid_uda.neighbors.jaccard_scipy import encode, expand_sets, k_reciprocal_sets
from mmreid_uda.utils import InputError

ANGLES = np.radians([0, 7, 16, 40, 47, 58, 120, 131])
EIGHT = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).astype(np.float32)
FULL = {(0, 1): 0, (0, 2): 0.321922, (1, 2): 0.321922, (0, 3): 0.620764, (0, 4): 0.620764,
        (1, 3): 0.620764, (1, 4): 0.620764, (0, 5): 0.778905, (1, 5): 0.778905, (2, 3): 0.410476,
        (2, 4): 0.410476, (2, 5): 0.616907, (3, 4): 0, (3, 5): 0.316209, (4, 5): 0.316209,
        (6, 7): 0}  # fmt: skip
FAISS = {(0, 1): 0, (0, 2): 0.202072, (1, 2): 0.202072, (0, 3): 0.940303, (0, 4): 0.940303,
         (1, 3): 0.940303, (1, 4): 0.940303, (0, 5): 1, (1, 5): 1, (2, 3): 0.873202,
         (2, 4): 0.873202, (2, 5): 0.940458, (3, 4): 0, (3, 5): 0.202518, (4, 5): 0.202518,
         (6, 7): 0}  # fmt: skip

pytestmark = pytest.mark.usefixtures("engine")


def clustered(num, ids, dim=32, noise=0.9, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, dim))
    return unit_rows(centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, dim)))


def signs(num, dim=64, seed=0):
    """Unit vectors whose cosines are exact multiples of 1/32, so that ties abound."""
    draws = np.random.default_rng(seed).integers(0, 2, (num, dim))
    return ((2 * draws - 1) / np.sqrt(dim)).astype(np.float32)


def slow_jaccard(features, k1, k2, variant, dtype=np.float64):
    """Steps 1 to 6 with dense matrices and Python sets; the same for both engines, so remembered."""
    return _slow_jaccard(features.tobytes(), len(features), k1, k2, variant, dtype)


@cache
def _slow_jaccard(features, num, k1, k2, variant, dtype):
    features = np.frombuffer(features, np.float32).reshape(num, -1).astype(dtype)
    distances = 2 - 2 * features @ features.T
    if variant == "full":
        distances = (distances / distances.max(0)).T
    order = distances.copy()
    np.fill_diagonal(order, -1)
    rank = np.argsort(order, axis=1, kind="stable")
    if variant == "faiss":
        rank = rank[:, :k1]

    def reciprocal(i, k):
        return {j for j in rank[i, : k + 1] if i in rank[j, : k + 1]}

    half = int(np.around(k1 / 2))
    full_sets = [reciprocal(i, k1) for i in range(num)]
    half_sets = [reciprocal(i, half) for i in range(num)]
    encodings = np.zeros((num, num), dtype)
    for i in range(num):
        expanded = set(full_sets[i])
        for c in full_sets[i]:
            if len(half_sets[c] & full_sets[i]) > 2 / 3 * len(half_sets[c]):
                expanded |= half_sets[c]
        members = sorted(expanded)
        weights = np.exp(-distances[i, members])
        encodings[i, members] = weights / weights.sum()
    if k2 != 1:
        encodings = np.stack([encodings[rank[i, :k2]].mean(0) for i in range(num)])
    overlaps = np.stack([np.minimum(row, encodings).sum(1) for row in encodings])
    return np.maximum(1 - overlaps / (2 - overlaps), 0)


def dense(graph, absent=1.0):
    matrix = np.full(graph.shape, absent)
    coo = graph.tocoo()
    matrix[coo.row, coo.col] = coo.data
    return matrix


@pytest.mark.parametrize("variant, expected", [("full", FULL), ("faiss", FAISS)])
def test_the_eight_unit_vectors_of_the_notes(variant, expected):
    matrix = dense(jaccard_graph(EIGHT, 4, 2, variant=variant))
    for i in range(8):
        for j in range(i + 1, 8):
            assert matrix[i, j] == pytest.approx(expected.get((i, j), 1), abs=1e-5), (i, j)
    np.testing.assert_array_equal(np.diag(matrix), 0)


@pytest.mark.parametrize(
    "variant, members, weights",
    [
        ("full", [0, 1, 2, 3, 4], [0.336430, 0.334919, 0.328651]),
        ("faiss", [0, 1, 2], [0.343566, 0.338482, 0.317952]),
    ],
)
def test_sets_and_encodings_of_the_notes(variant, members, weights):
    found = find_neighbors(EIGHT, neighbors_needed(8, 4, variant), with_min_similarity=True)
    sets = k_reciprocal_sets(found.indices[:, :5])
    assert sorted(sets[[1]].indices) == members
    expanded = expand_sets(sets, k_reciprocal_sets(found.indices[:, :3]))
    farthest = 2 - 2 * found.min_similarity if variant == "full" else None
    encodings = encode(expanded, EIGHT, found, farthest).toarray()
    np.testing.assert_allclose(encodings[0], weights + [0] * 5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["full", "faiss"])
@pytest.mark.parametrize("k1, k2", [(20, 6), (30, 6), (15, 1)])
def test_equals_the_slow_implementation_on_1000_vectors(variant, k1, k2):
    features = clustered(1000, 60, seed=15)  # no two cosines nearer than 2e-6 where lists are cut
    matrix = dense(jaccard_graph(features, k1, k2, variant=variant))
    np.testing.assert_allclose(matrix, slow_jaccard(features, k1, k2, variant), atol=1e-5)


@pytest.mark.parametrize("variant", ["full", "faiss"])
@pytest.mark.parametrize("k1, k2", [(1, 1), (2, 2), (3, 2), (5, 2), (7, 3), (11, 20), (30, 6)])
@pytest.mark.parametrize(
    "features", [clustered(180, 12), signs(180), np.repeat(signs(60), 3, axis=0)]
)
def test_equals_the_slow_implementation_for_odd_k1_ties_and_duplicates(variant, k1, k2, features):
    # (5, 2): half of 5 rounds to 2; (11, 20): k2 beyond the ranks of the 'faiss' variant.
    matrix = dense(jaccard_graph(features, k1, k2, variant=variant))
    np.testing.assert_allclose(matrix, slow_jaccard(features, k1, k2, variant), atol=1e-5)


@pytest.mark.parametrize("variant", ["full", "faiss"])
@pytest.mark.parametrize("num", [2, 7, 20, 21])
def test_fewer_images_than_neighbors(variant, num):
    features = clustered(num, 3)
    matrix = dense(jaccard_graph(features, 20, 6, variant=variant))
    np.testing.assert_allclose(matrix, slow_jaccard(features, 20, 6, variant), atol=1e-5)


def test_one_image_is_at_distance_zero_from_itself():
    for variant in ("full", "faiss"):
        np.testing.assert_array_equal(dense(jaccard_graph(EIGHT[:1], variant=variant)), [[0]])


def test_the_order_of_the_images_does_not_matter():
    features = clustered(300, 20)
    shuffle = np.random.default_rng(1).permutation(300)
    matrix = dense(jaccard_graph(features, 20, 6))
    shuffled = dense(jaccard_graph(features[shuffle], 20, 6))
    np.testing.assert_allclose(shuffled, matrix[np.ix_(shuffle, shuffle)], atol=1e-5)


def test_repeated_calls_give_the_same_bits():
    features = clustered(300, 20)
    first, second = jaccard_graph(features), jaccard_graph(features)
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.data, second.data)


def test_the_size_of_the_blocks_does_not_matter(monkeypatch):
    features = clustered(200, 12)
    expected = jaccard_graph(features, 20, 6)
    monkeypatch.setattr(jaccard_scipy, "_PAIRS_PER_BLOCK", 50)
    monkeypatch.setattr(jaccard_scipy, "_GATHER_ELEMENTS", 100)
    found = jaccard_graph(features, 20, 6)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.data, expected.data, atol=1e-6)


@pytest.mark.parametrize(
    "features", [clustered(300, 20), signs(180), np.repeat(signs(60), 3, axis=0)]
)
@pytest.mark.parametrize("k1, k2", [(20, 6), (11, 1)])
def test_a_truncated_graph_is_the_whole_one_up_to_the_cut(features, k1, k2):
    whole = dense(jaccard_graph(features, k1, k2))
    stored = np.unique(whole[whole < 1])
    # Distances that occur are limits as well: to the last bit they belong to the graph.
    occurring = stored[np.linspace(1, len(stored) - 1, 5).astype(int)].tolist()
    for limit in (0.02, 0.3, 0.5, 0.7, 0.78, 0.9, *occurring):
        graph = jaccard_graph(features, k1, k2, max_distance=limit)
        assert graph.has_sorted_indices
        expected = np.where(whole <= np.float32(limit), whole, 1)
        np.testing.assert_array_equal(dense(graph), expected, strict=True)


def test_equal_encodings_are_stored_as_exact_zeros():
    graph = jaccard_graph(EIGHT, 4, 2, max_distance=0.1).tocoo()
    pairs = set(zip(graph.row.tolist(), graph.col.tolist()))
    assert (0, 1) in pairs and (1, 0) in pairs and (6, 7) in pairs
    np.testing.assert_array_equal(graph.data, 0)


def test_a_column_of_weight_zero_is_not_in_common():
    # Collapsed features give such "full" weights: kernels must not take a pair for a new one again and again.
    weights = sparse.csr_array(np.full((60, 60), 0.5, np.float32))
    weights.data *= np.eye(60, k=0).ravel() + np.eye(60, k=1).ravel()
    weights.data[-1] = 1
    for limit in (0.5, 1.0):
        graph = jaccard_distances(weights, limit)
        near = np.eye(60) + (np.eye(60, k=1) + np.eye(60, k=-1)) * (limit == 1)
        np.testing.assert_array_equal(dense(graph) < 1, near > 0)
        assert graph.nnz <= 60 + 2 * 60 * 59


def test_source_distances_of_the_notes():
    target = unit_rows(np.array([[1, 0], [0.8, 0.6], [0, 1]]))
    source = unit_rows(np.array([[1, 0.1], [0.6, -0.8]]))
    distances = source_distances(target, source)
    np.testing.assert_allclose(distances, [0.011830, 0.300216, 1], atol=1e-5)
    np.testing.assert_allclose(distances, source_distances(target, source, block_size=1))
    sums = add_source_term(jaccard_distances_of_one_block(3), distances, 0.5).toarray() / 0.5
    np.testing.assert_allclose(
        sums[[0, 0, 1], [1, 2, 2]], [0.312046, 1.011830, 1.300216], atol=1e-5
    )


def jaccard_distances_of_one_block(num):
    """A graph in which all images are at distance zero from each other."""
    return jaccard_distances(sparse.csr_array(np.full((num, num), 1 / num, np.float32)))


@pytest.mark.parametrize("variant", ["full", "faiss"])
@pytest.mark.parametrize("max_distance", [0.4, 0.85])
def test_source_term_equals_the_formula(variant, max_distance):
    features, source = clustered(200, 12), clustered(30, 5, seed=9)
    squared = ((features[:, None] - source[None]) ** 2).sum(2)
    s = (1 - np.exp(-squared)).min(1)
    s /= s.max()
    expected = 0.9 * slow_jaccard(features, 20, 6, variant) + 0.1 * (s[:, None] + s[None])
    graph = jaccard_graph(
        features, 20, 6, variant=variant, max_distance=max_distance,
        source_features=source, source_weight=0.1,
    )  # fmt: skip
    kept = (expected <= max_distance) | np.eye(200, dtype=bool)
    np.testing.assert_array_equal(dense(graph, np.inf) < np.inf, kept)
    np.testing.assert_allclose(dense(graph)[kept], expected[kept], atol=1e-5)


def test_the_diagonal_of_the_source_term_stays_beyond_the_cut():
    features, source = clustered(50, 5), clustered(10, 2, seed=9)
    graph = jaccard_graph(features, max_distance=0.1, source_features=source, source_weight=0.5)
    np.testing.assert_allclose(graph.diagonal(), source_distances(features, source), atol=1e-6)
    assert graph.diagonal().max() > 0.1


def test_rho_rule_of_the_notes():
    distances = np.array([0.9, 0, 0.2, 0.35, 0.5, 0.1, 0.7, 0.8, 0.05, 0.6])
    assert rho_eps(distances, 0.34) == pytest.approx(0.116667, abs=1e-5)


@pytest.mark.parametrize("rho", [1e-4, 2e-3, 0.02, 0.5, 1.0])
def test_rho_rule_on_a_graph_equals_the_rule_on_all_pairs(rho):
    graph = jaccard_graph(clustered(200, 12), 20, 6)
    upper = dense(graph)[np.triu_indices(200, 1)]
    upper = np.sort(upper[upper != 0])
    assert len(upper) < 200 * 199 // 2, "the example has exact zeros to drop"
    expected = upper[: max(1, round(rho * len(upper)))].mean()
    assert rho_eps(graph, rho) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rho, near_zero, expected", [(0.3, "count", 0.05), (0.2, "drop", 0.075)])
def test_rho_rule_with_and_without_pairs_at_distance_zero(rho, near_zero, expected):
    distances = np.array([0.9, 3e-7, 0.2, 0.35, 0.5, 0.1, 0.7, 0.8, 0.05, 0.6])
    assert rho_eps(distances, rho, near_zero=near_zero) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("num, rho", [(131, 1.6e-3), (131, 2e-3), (354, 1.6e-3), (354, 2e-3)])
def test_the_released_rule_lies_between_counting_and_dropping_pairs_near_zero(num, rho):
    features = clustered(num, num // 5, noise=1.1)
    upper = slow_jaccard(features, 20, 6, "full", np.float32)[np.triu_indices(num, 1)]
    # As released: exact zeros are dropped, and rounding decides which of the pairs near zero are.
    nonzero = np.sort(upper[upper != 0])
    released = nonzero[: round(rho * len(nonzero))].mean(dtype=np.float64)
    assert (nonzero < 1e-6).any() and len(nonzero) < len(upper), "rounding goes both ways"
    graph = jaccard_graph(features, 20, 6, variant="full")
    counted, dropped = (rho_eps(graph, rho, near_zero=one) for one in ("count", "drop"))
    assert counted < released < dropped


def test_rho_rule_whose_share_is_at_distance_zero_gives_the_least_radius():
    graph = jaccard_graph(EIGHT, 4, 2, variant="full")
    assert rho_eps(graph, 0.05) > 0.3
    assert rho_eps(graph, 0.05, near_zero="count") == 1e-6


def test_rho_rule_on_a_truncated_graph_is_exact_or_refused():
    features = clustered(200, 12)
    graph = jaccard_graph(features, 20, 6, max_distance=0.5)
    assert stores_share(graph, 0.01) and not stores_share(graph, 0.5)
    whole = jaccard_graph(features, 20, 6)
    assert rho_eps(graph, 0.01, 0.5) == pytest.approx(rho_eps(whole, 0.01))
    with pytest.raises(InputError, match="larger max_distance"):
        rho_eps(graph, 0.5, 0.5)


def test_rho_rule_without_any_distance_says_why():
    with pytest.raises(InputError, match="collapsed"):
        rho_eps(jaccard_distances_of_one_block(5), 0.1)


@pytest.mark.parametrize(
    "change, named",
    [
        (dict(k1=0), "k1=0"),
        (dict(k2=0), "k2=0"),
        (dict(variant="other"), "variant='other'"),
        (dict(max_distance=1.5), "max_distance=1.5"),
        (dict(source_weight=0.1), "without source features"),
        (dict(source_weight=1.0), "source_weight=1.0"),
    ],
)
def test_bad_parameters_are_named(change, named):
    with pytest.raises(InputError, match=named):
        jaccard_graph(EIGHT, **change)
