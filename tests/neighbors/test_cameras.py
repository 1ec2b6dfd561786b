"""The camera-aware Jaccard distance equals its published example, and its steps taken literally with Python lists."""

import numpy as np
import pytest

from mmreid_uda.clustering import dbscan
from mmreid_uda.neighbors import (
    CameraLists,
    compiled_search,
    find_camera_neighbors,
    find_neighbors,
    jaccard_encodings,
    jaccard_graph,
    unit_rows,
)
from mmreid_uda.neighbors.cameras import camera_numbers
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.usefixtures("engine")

ANGLES = np.radians([5, 7, 19, 23, 53, 51, 58, 74, 94, 104, 109, 112])
TWELVE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).astype(np.float32)
CAMERAS = np.array([0, 0, 1, 1, 0, 0, 1, 2, 0, 1, 1, 2])
LISTS = CameraLists(k1_intra=2, k1_inter=3, k2_intra=1, k2_inter=2)
UPPER = """
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
# Cosines that are exact multiples of 1/32, so that ties abound.
SIGNS = ((2 * np.random.default_rng(3).integers(0, 2, (140, 64)) - 1) / 8).astype(np.float32)


def clustered(num, ids, dim=32, noise=0.9, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, dim))
    return unit_rows(centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, dim)))


def dense(graph):
    matrix = np.ones(graph.shape)
    coo = graph.tocoo()
    matrix[coo.row, coo.col] = coo.data
    return matrix


def literal(features, cameras, lists, k1=30, k2=6, divided=False):
    """The steps with lists, sets and matrices of float64; -1 is a camera of its own."""
    num = len(features)
    cameras = [camera if camera >= 0 else f"unknown {i}" for i, camera in enumerate(cameras)]
    features = features.astype(np.float64)
    distances = 2 - 2 * features @ features.T
    if divided:
        distances = distances / distances.max(1)[:, None]

    def ranked(i, first):
        """Images that come first, nearest first, and then the others; the image itself leads its part."""

        def place(j):
            return not first(j), -1.0 if j == i else distances[i, j], j

        kept = [j for j in range(num) if lists.fill == "official" or first(j)]
        return sorted(kept, key=place)

    intra = [ranked(i, lambda j, i=i: cameras[j] == cameras[i]) for i in range(num)]
    inter = [ranked(i, lambda j, i=i: cameras[j] != cameras[i]) for i in range(num)]
    plain = [sorted(range(num), key=lambda j, i=i: (-(j == i), distances[i, j], j)) for i in range(num)]  # fmt: skip

    def mutual(ranks, i, k):
        return {j for j in ranks[i][:k] if i in ranks[j][:k]}

    encodings = np.zeros((num, num))
    for i in range(num):
        if lists.sets:
            members = mutual(intra, i, lists.k1_intra + 1) | mutual(inter, i, lists.k1_inter + 1)
        else:
            core = mutual(plain, i, k1 + 1)
            members = set(core)
            for j in core:
                half = mutual(plain, j, int(np.around(k1 / 2)) + 1)
                if len(half & core) > 2 / 3 * len(half):
                    members |= half
        members = sorted(members)
        weights = np.exp(-distances[i, members])
        encodings[i, members] = weights / weights.sum()
    if k2 != 1:
        averaged = [
            intra[i][: lists.k2_intra] + inter[i][: lists.k2_inter]
            if lists.expansion
            else plain[i][:k2]
            for i in range(num)
        ]
        encodings = np.stack([encodings[rows].mean(0) for rows in averaged])
    overlaps = np.stack([np.minimum(row, encodings).sum(1) for row in encodings])
    return np.maximum(1 - overlaps / (2 - overlaps), 0)


def test_the_published_example():
    matrix = dense(jaccard_graph(TWELVE, cameras=CAMERAS, camera_lists=LISTS))
    rows = [line.split() for line in UPPER.strip().splitlines()]
    expected = np.concatenate([np.array(row, float) for row in rows])
    np.testing.assert_allclose(matrix[np.triu_indices(12, 1)], expected, atol=1e-6)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 0)


def test_lists_sets_and_weights_of_the_example():
    neighbors = find_camera_neighbors(TWELVE, CAMERAS.astype(np.int32), 3, 4)
    wide = CameraLists(k1_intra=2, k1_inter=3, k2_intra=3, k2_inter=4)
    lists = wide.select(neighbors, 30, 6)
    np.testing.assert_array_equal(
        lists.averaged[[0, 3, 7, 11]],
        [[0, 1, 5, 2, 3, 6, 7], [3, 2, 6, 1, 0, 5, 4], [7, 11, 6, 6, 8, 4, 5], [11, 7, 10, 10, 9, 8, 6]],
    )  # fmt: skip
    np.testing.assert_array_equal(lists.sets, lists.averaged[:, :3])
    np.testing.assert_array_equal(lists.others, lists.averaged[:, 3:])
    whole = dict(camera_lists=LISTS, k1=30)
    encodings = jaccard_encodings(TWELVE, neighbors, k2=1, **whole)
    np.testing.assert_allclose(
        encodings[[7]].data, [0.168552, 0.164201, 0.178147, 0.192498, 0.170625, 0.125978], atol=1e-6
    )
    np.testing.assert_array_equal(encodings[[7]].indices, [4, 5, 6, 7, 8, 11])
    expanded = jaccard_encodings(TWELVE, neighbors, k2=6, **whole)
    np.testing.assert_allclose(
        expanded[[0]].data, [0.188837, 0.190587, 0.191899, 0.188813, 0.081514, 0.084491, 0.073859], atol=1e-6
    )  # fmt: skip


@pytest.mark.parametrize(
    "eps, labels",
    [
        (0.2, [0, 0, 1, 1, 2, 2, 2, -1, 3, 3, 3, 3]),
        (0.3, [0, 0, 0, 0, 1, 1, 1, -1, 2, 2, 2, 2]),
        (0.4, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]),
        (0.6, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]),
        (0.7, [0] * 12),
    ],
)
def test_labels_of_the_example(eps, labels):
    graph = jaccard_graph(TWELVE, max_distance=eps, cameras=CAMERAS, camera_lists=LISTS)
    np.testing.assert_array_equal(dbscan(graph, eps, 2), labels)


@pytest.mark.parametrize(
    "change, k1, k2, cameras, row",
    [
        (dict(expansion=False), 30, 2, CAMERAS,
         [0, 0, 0.529191, 0.529191, 0.855586, 0.855586, 0.856194, 0.931872, 1, 1, 1, 1]),
        (dict(sets=False), 4, 6, CAMERAS,
         [0, 0.002994, 0.108046, 0.017987, 0.970607, 0.9395, 0.9395, 0.970607, 1, 1, 1, 1]),
        (dict(sets=False, expansion=False), 4, 2, CAMERAS,
         [0, 0, 0.157806, 0.157806, 0.95535, 0.95535, 1, 1, 1, 1, 1, 1]),
        (dict(), 30, 6, CAMERAS * 0,
         [0, 0.002994, 0.064323, 0.069936, 1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)  # fmt: skip
def test_the_switches_and_one_camera_in_the_example(change, k1, k2, cameras, row):
    lists = CameraLists(**{**vars(LISTS), **change})
    matrix = dense(jaccard_graph(TWELVE, k1, k2, cameras=cameras, camera_lists=lists))
    np.testing.assert_allclose(matrix[0], row, atol=1e-6)


def random_case(seed):
    """Features, cameras and settings: sets of identities, ties and duplicates, cameras of any size, unknown ones."""
    rng = np.random.default_rng(seed)
    num = int(rng.integers(60, 140))
    kind = seed % 4
    if kind < 2:
        features = clustered(num, num // 8, seed=seed)
    else:
        features = SIGNS[rng.integers(0, len(SIGNS) // (1 if kind == 2 else 4), num)]
    cameras = rng.choice(int(rng.integers(1, 6)), num)
    cameras[rng.choice(num, 3, replace=False)] = [7, 7, 8]  # cameras of two images and of one
    cameras[rng.random(num) < rng.choice([0, 0.2, 0.6])] = -1
    if seed % 5 == 0:
        cameras[:] = 4
    fill = ("official", "none")[int(rng.integers(2))]
    most = num - 2 if fill == "official" else num + 50  # more neighbours than images, too
    k1_intra, k1_inter, k1 = rng.choice([1, 2, 5, 20, most], 3)
    lists = CameraLists(
        int(k1_intra),
        int(k1_inter),
        int(rng.integers(1, 5)),
        int(rng.integers(0, 5)),
        sets=bool(rng.random() < 0.7),
        expansion=bool(rng.random() < 0.7),
        fill=fill,
    )
    return features, cameras, lists, int(k1), int(rng.integers(1, 8))


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_literal_steps_on_random_cases(seed):
    features, cameras, lists, k1, k2 = random_case(seed)
    variant = "full" if seed % 3 == 0 else "faiss"
    graph = jaccard_graph(features, k1, k2, variant=variant, cameras=cameras, camera_lists=lists)
    expected = literal(features, cameras, lists, k1, k2, divided=variant == "full")
    np.testing.assert_allclose(dense(graph), expected, atol=2e-6)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("features", [clustered(300, 20), np.repeat(SIGNS, 2, 0)])
@pytest.mark.parametrize("block_size", [16, 100, None])
def test_lists_equal_a_full_sort_within_and_across_cameras(
    features, block_size, precision, monkeypatch
):
    monkeypatch.setitem(compiled_search._faster, features.shape[1], precision)
    num = len(features)
    cameras = np.random.default_rng(1).choice(4, num, p=[0.6, 0.3, 0.08, 0.02]).astype(np.int32)
    found = find_camera_neighbors(
        features, cameras, 12, 30, precision=precision, block_size=block_size
    )
    similarities = features.astype(np.float64) @ features.T
    np.fill_diagonal(similarities, np.inf)
    same = cameras[:, None] == cameras
    for part, allowed in ((found.intra, same), (found.inter, ~same)):
        scores = np.where(allowed, similarities, -np.inf)
        expected = np.argsort(-scores, axis=1, kind="stable")[:, : part.indices.shape[1]]
        values = np.take_along_axis(scores, expected, 1)
        np.testing.assert_array_equal(part.indices, np.where(values == -np.inf, -1, expected))
        np.testing.assert_allclose(part.similarities, np.minimum(values, 1), atol=1e-6)
    assert (found.intra.indices < 0).any(), "a camera has fewer images than places"
    nearest, plain = found.nearest(12), find_neighbors(features, 12)
    np.testing.assert_array_equal(nearest.indices, plain.indices)


def test_images_of_unknown_cameras_are_strangers_to_each_other():
    np.testing.assert_array_equal(camera_numbers([5, -1, 2, -1, 5], 5), [1, 2, 0, 3, 1])


def test_without_any_camera_the_distance_is_the_plain_one():
    features = clustered(80, 8)
    found = jaccard_graph(features, cameras=np.full(80, -1))
    np.testing.assert_array_equal(dense(found), dense(jaccard_graph(features)))


def test_cameras_keep_strangers_of_one_camera_apart():
    """Two cameras that shift all features: the plain distance joins a camera's images, the camera-aware one people."""
    rng = np.random.default_rng(0)
    pids, cameras = np.repeat(np.arange(30), 8), np.tile(np.arange(2), 120)
    features = rng.standard_normal((30, 64))[pids] + 0.6 * rng.standard_normal((240, 64))
    features = unit_rows(features + rng.standard_normal((2, 64))[cameras])
    lists = CameraLists(k1_intra=3, k1_inter=4, k2_intra=2, k2_inter=2)
    one_camera = {}
    for given in (None, cameras):
        graph = jaccard_graph(features, 8, 3, max_distance=0.6, cameras=given, camera_lists=lists)
        labels = dbscan(graph, 0.6, 4)
        members = [cameras[labels == one] for one in range(labels.max() + 1)]
        one_camera[given is None] = np.mean([np.ptp(one) == 0 for one in members])
    assert one_camera[True] == 1 and one_camera[False] == 0
    assert len(np.unique([pids[labels >= 0], labels[labels >= 0]], axis=1).T) == 30 == len(members)


@pytest.mark.parametrize(
    "arguments, named",
    [
        (dict(cameras=np.zeros(11, int)), "12 whole numbers"),
        (dict(cameras=np.zeros(12)), "float64"),
        (dict(cameras=CAMERAS), "k1_inter=20.*at least 22.*fill='none'"),
        (dict(cameras=CAMERAS, camera_lists=CameraLists(sets=False)), "k1=30, expected at least 32"),
    ],
)  # fmt: skip
def test_bad_cameras_and_too_few_images_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        jaccard_graph(TWELVE, **arguments)


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="k1_intra=0"):
        CameraLists(k1_intra=0)


def test_lists_are_scaled_from_those_of_the_paper():
    paper = CameraLists()
    assert paper.scaled(30, 6) == paper
    assert CameraLists(fill="none").scaled(3, 1) == CameraLists(1, 2, 1, 1, fill="none")
    assert paper.scaled(10, 2) == CameraLists(2, 7, 1, 1)
