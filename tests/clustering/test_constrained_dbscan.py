"""DBSCAN with links: the worked examples, the guarantees, and a slow version that reads like the definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import DBSCAN
from test_constraints import links, some_links

from mmreid_uda.clustering import consistent_links, dbscan, make_constraints
from mmreid_uda.clustering.constrained_dbscan import constrained_dbscan

pytestmark = pytest.mark.usefixtures("engine")

# Camera-aware Jaccard distances of twelve vectors, upper triangle.
ROWS = """
.002994 .219854 .208465 .744114 .741687 .672718 .806036 .964978 .964978 .964978 1
.219854 .208465 .744114 .741687 .672718 .806036 .964978 .964978 .964978 1
.014183 .834502 .832412 .773264 .888021 .964978 .964978 .964978 1
.829631 .827523 .767866 .883588 .964978 .964978 .964978 1
.006332 .159982 .308477 .856524 .824218 .824218 .900373
.154590 .312441 .857532 .825283 .825283 .901305
.418828 .898186 .868221 .868221 .938955
.724326 .683986 .683986 .778659
.091710 .091710 .130396
.005732 .210777
.210777
"""
TWELVE = np.zeros((12, 12))
for row, line in enumerate(ROWS.split("\n")[1:-1]):
    TWELVE[row, row + 1 :] = [float(value) for value in line.split()]
TWELVE += TWELVE.T


def graph_of(matrix, limit=1.0):
    rows, columns = np.nonzero(matrix < limit)
    return sparse.csr_array((matrix[rows, columns], (rows, columns)), shape=matrix.shape)


def obeying(rows, sizes):
    given_links = links(*rows)
    return make_constraints(sizes, given_links.chosen(consistent_links(given_links)))


@pytest.mark.parametrize(
    "rows, expected, refused",
    [
        ([], [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2], 0),
        ([(0, 2, "cannot", 2)], [0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3], 3),
        ([(3, 4, "must", 2)], [0] * 8 + [1] * 4, 0),
        ([(4, 7, "cannot", 2), (6, 9, "must", 2)], [0] * 4 + [1] * 3 + [-1] + [1] * 4, 1),
        ([(0, 4, "must", 1), (4, 8, "must", 1), (0, 8, "cannot", 2)], [0] * 8 + [1] * 4, 0),
        ([(0, 4, "must", 2), (4, 8, "must", 2), (0, 8, "cannot", 1)], [0] * 12, 0),
    ],
)
def test_the_examples_of_the_notes(rows, expected, refused):
    constraints = obeying(rows, np.ones(12))
    labels, found = constrained_dbscan(graph_of(TWELVE), 0.4, 2, constraints)
    np.testing.assert_array_equal(labels, expected)
    assert found == refused
    np.testing.assert_array_equal(dbscan(graph_of(TWELVE), 0.4, 2, constraints), expected)


def by_the_book(matrix, eps, min_samples, constraints, border):
    """The definition, on sets and with loops."""
    sizes, groups = constraints.group_sizes, constraints.groups
    num = len(sizes)
    members = [np.flatnonzero(groups == group) for group in range(num)]
    sets = [set(np.flatnonzero(row).tolist()) for row in constraints.exclusive.toarray()]
    cannot = [{b for s in sets if a in s for b in s if b != a} for a in range(num)]
    far = {
        (a, b): matrix[np.ix_(members[a], members[b])].min()
        for a, b in itertools.combinations(range(num), 2)
        if b not in cannot[a]
    }
    near = {pair: distance for pair, distance in far.items() if distance <= eps}
    weight = sizes.copy()
    for a, b in near:
        weight[a] += sizes[b]
        weight[b] += sizes[a]
    core = [weight[a] >= min_samples or sizes[a] >= 2 for a in range(num)]
    clusters = [{a} for a in range(num) if core[a]]

    def allowed(one, other):
        return not any(cannot[a] & other for a in one)

    for (a, b), _ in sorted(near.items(), key=lambda item: (item[1], item[0])):
        if core[a] and core[b]:
            one = next(cluster for cluster in clusters if a in cluster)
            other = next(cluster for cluster in clusters if b in cluster)
            if one is not other and allowed(one, other):
                clusters.remove(other)
                one |= other
    clusters.sort(key=min)
    outward = {}
    for (a, b), distance in near.items():
        for point, neighbor in ((a, b), (b, a)):
            if not core[point] and core[neighbor]:
                number = next(n for n, cluster in enumerate(clusters) if neighbor in cluster)
                outward.setdefault(point, []).append((distance, number))
    order = sorted(outward)
    if border == "nearest":
        order.sort(key=lambda point: min(outward[point])[0])
    for point in order:
        choices = sorted(outward[point], key=None if border == "nearest" else lambda one: one[1])
        for _, number in choices:
            if allowed({point}, clusters[number]):
                clusters[number].add(point)
                break
    kept = [
        cluster
        for cluster in clusters
        if not any(cannot[a] for a in cluster) or sum(sizes[a] for a in cluster) >= 2
    ]
    labels = np.full(len(groups), -1)
    for number, cluster in enumerate(kept):
        labels[np.isin(groups, list(cluster))] = number
    return labels


def points(seed, num):
    rng = np.random.default_rng(seed)
    places = rng.random((num, 2))
    return np.sqrt(((places[:, None] - places[None]) ** 2).sum(2))


@settings(max_examples=40, deadline=None)
@given(
    some_links(num=24, most=30),
    st.integers(0, 10_000),
    st.sampled_from([0.1, 0.2, 0.35]),
    st.integers(1, 6),
    st.sampled_from(["first", "nearest"]),
    st.booleans(),
)
def test_labels_are_those_of_the_definition_and_obey(rows, seed, eps, min_samples, border, tracked):
    matrix = points(seed, 24)
    sizes = np.random.default_rng(seed).integers(1, 4, 24) if tracked else np.ones(24)
    constraints = obeying(rows, sizes)
    labels = dbscan(graph_of(matrix, 0.5), eps, min_samples, constraints, border)
    np.testing.assert_array_equal(
        labels, by_the_book(matrix, eps, min_samples, constraints, border)
    )
    assert constraints.violations(labels) == (0, 0)
    again = dbscan(graph_of(matrix, 0.5), eps, min_samples, constraints, border)
    np.testing.assert_array_equal(again, labels)
    # A person's must-link is never noise.
    several = np.bincount(constraints.groups)[constraints.groups] > 1
    assert (labels[several] >= 0).all()


@settings(max_examples=15, deadline=None)
@given(some_links(num=24, most=20), st.integers(0, 10_000), st.permutations(range(24)))
def test_the_order_of_the_images_changes_no_core(rows, seed, order):
    matrix, place = points(seed, 24), np.argsort(order)
    moved = [(int(place[a]), int(place[b]), kind, priority) for a, b, kind, priority in rows]
    # With one sample every image is a core: nothing depends on the order of the clusters.
    labels = dbscan(graph_of(matrix), 0.3, 1, obeying(rows, np.ones(24)))
    other = dbscan(graph_of(matrix[np.ix_(order, order)]), 0.3, 1, obeying(moved, np.ones(24)))
    alike = labels[order][:, None] == labels[order][None]
    inlier = (labels[order] >= 0)[:, None] & (labels[order] >= 0)[None]
    np.testing.assert_array_equal((alike & inlier), (other[:, None] == other[None]) & inlier)
    np.testing.assert_array_equal(labels[order] < 0, other < 0)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("eps, min_samples", [(0.05, 1), (0.08, 4), (0.1, 8)])
def test_without_links_the_labels_are_those_of_scikit_learn(seed, eps, min_samples):
    matrix = points(seed, 150)
    expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(matrix)
    constraints = make_constraints(np.ones(150))
    np.testing.assert_array_equal(
        dbscan(graph_of(matrix, 0.2), eps, min_samples, constraints), expected
    )


def test_a_lonely_must_link_is_noise_where_it_is_asked_for():
    matrix = np.array([[0, 0.9, 0.9], [0.9, 0, 0.9], [0.9, 0.9, 0]])
    constraints = obeying([(0, 1, "must", 2)], np.ones(3))
    options = dict(eps=0.4, min_samples=3, constraints=constraints)
    np.testing.assert_array_equal(dbscan(graph_of(matrix), **options), [0, 0, -1])
    np.testing.assert_array_equal(
        dbscan(graph_of(matrix), **options, must_is_cluster=False), [-1] * 3
    )


def test_small_clusters_with_a_cannot_link_go():
    constraints = obeying([(0, 3, "cannot", 2)], np.ones(12))
    options = dict(eps=0.4, min_samples=2, constraints=constraints)
    labels = dbscan(graph_of(TWELVE), **options)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3])
    labels = dbscan(graph_of(TWELVE), **options, min_cluster_size=3)
    np.testing.assert_array_equal(labels, [-1] * 4 + [0] * 4 + [1] * 4)
