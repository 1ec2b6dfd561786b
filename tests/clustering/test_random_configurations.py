"""Whatever the configuration: labels and distances are those of the dense algorithm, from the same neighbours."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from mmreid_uda.clustering import JaccardDBSCAN
from mmreid_uda.neighbors import (
    find_neighbors,
    jaccard_distances,
    jaccard_encodings,
    neighbors_needed,
    unit_rows,
)

pytestmark = pytest.mark.usefixtures("engine")

KINDS = ("overlapping", "duplicates", "ties", "few images", "one cluster", "all outliers")


def draw_features(kind, rng):
    """float32 (N, D), rows of unit norm."""
    if kind == "ties":  # cosines are multiples of 1/16
        return (2 * rng.integers(0, 2, (200, 32)) - 1).astype(np.float32) / np.float32(32**0.5)
    num, ids, noise = {
        "overlapping": (int(rng.integers(150, 350)), 20, 1.3),
        "duplicates": (70, 12, 0.9),
        "few images": (int(rng.integers(2, 15)), 3, 0.9),
        "one cluster": (60, 1, 0.05),
        "all outliers": (150, 150, 1.0),
    }[kind]
    centers = rng.standard_normal((ids, 32))
    rows = centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, 32))
    if kind == "duplicates":
        rows = rng.permutation(np.repeat(rows, 4, axis=0))
    return unit_rows(rows.astype(np.float32))


def draw_configuration(number):
    """Features and parameters; the kinds and the variants take turns, the rest is drawn."""
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    parameters = dict(
        k1=60 if kind == "one cluster" else int(rng.integers(15, 31)),
        k2=1 if number % 4 == 1 else int(rng.integers(2, 8)),
        eps={"one cluster": 0.95, "all outliers": 0.05}.get(kind, float(rng.uniform(0.3, 0.8))),
        min_samples=4 if kind == "all outliers" else int(rng.integers(1, 6)),
        variant=("faiss", "full")[number // len(KINDS) % 2],
    )
    return kind, draw_features(kind, rng), parameters


def dense_similarities(features, neighbors):
    """All cosines as the sparse code knows them: of a row's list, else of the other's, else a product."""
    matrix = features @ features.T
    lists = list(zip(neighbors.indices, neighbors.similarities))
    known = np.full_like(matrix, np.nan)
    for row, (indices, similarities) in enumerate(lists):
        known[indices, row] = similarities
    for row, (indices, similarities) in enumerate(lists):
        known[row, indices] = similarities
    return np.where(np.isnan(known), matrix, known)


def dense_jaccard(features, neighbors, k1, k2, variant):
    """Zhong et al. in float32 on N×N matrices, with Python sets, from ranks and similarities."""
    ranks, num = neighbors.indices, len(features)
    distances = 2 - 2 * dense_similarities(features, neighbors)
    if variant == "full":
        distances /= (2 - 2 * neighbors.min_similarity)[:, None]

    def reciprocal(i, k):
        return {j for j in ranks[i, : k + 1] if i in ranks[j, : k + 1]}

    half_sets = [reciprocal(i, int(np.around(k1 / 2))) for i in range(num)]
    encodings = np.zeros((num, num), np.float32)
    for i in range(num):
        whole = reciprocal(i, k1)
        members = set(whole)
        for candidate in whole:
            if 3 * len(half_sets[candidate] & whole) > 2 * len(half_sets[candidate]):
                members |= half_sets[candidate]
        members = sorted(members)
        weights = np.exp(distances[i, members].min() - distances[i, members])
        encodings[i, members] = weights / weights.sum()
    encodings = np.stack([encodings[ranks[i, :k2]].mean(0) for i in range(num)])
    overlaps = np.stack([np.minimum(row, encodings).sum(1) for row in encodings])
    return np.maximum(1 - overlaps / (2 - overlaps), 0)


@pytest.mark.parametrize("number", range(20))
def test_labels_and_distances_are_those_of_the_dense_algorithm(number):
    kind, features, parameters = draw_configuration(number)
    k1, k2, variant = (parameters[name] for name in ("k1", "k2", "variant"))
    columns = neighbors_needed(len(features), k1, variant, k2)
    neighbors = find_neighbors(features, columns, with_min_similarity=variant == "full")

    expected = dense_jaccard(features, neighbors, k1, k2, variant)
    graph = jaccard_distances(jaccard_encodings(features, neighbors, k1, k2, variant=variant))
    found = np.ones(graph.shape, np.float32)
    coo = graph.tocoo()
    found[coo.row, coo.col] = coo.data
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)

    eps, min_samples = parameters["eps"], parameters["min_samples"]
    clusterer = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed")
    expected_labels = clusterer.fit_predict(expected)
    labels = JaccardDBSCAN(**parameters)(features, seed=0, epoch=0)
    np.testing.assert_array_equal(labels, expected_labels)

    if kind == "one cluster":
        assert set(labels) == {0}
    elif kind == "all outliers":
        assert set(labels) == {-1}
    elif kind == "few images":
        assert len(features) < k1


def test_the_configurations_are_as_varied_as_they_say():
    drawn = [draw_configuration(number) for number in range(20)]
    assert {kind for kind, _, _ in drawn} == set(KINDS)
    parameters = [each for _, _, each in drawn]
    assert {each["variant"] for each in parameters} == {"faiss", "full"}
    assert sum(each["k2"] == 1 for each in parameters) == 5
    assert len({each["eps"] for each in parameters}) > 10
