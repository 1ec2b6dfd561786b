"""Lloyd's iterations in torch are those of a slow loop and of scikit-learn, on one process and on two."""

import numpy as np
import pytest
import torch
from sklearn import cluster

from mmreid_uda.clustering import KMeans, kmeans_plus_plus
from mmreid_uda.clustering import lloyd as module
from mmreid_uda.clustering.kmeans import on_device
from mmreid_uda.clustering.lloyd import lloyd
from mmreid_uda.neighbors import source_distances, unit_rows
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.dist import run_on_rank0
from mmreid_uda.utils.row_shares import RowShares


def blobs(num=400, ids=12, dim=8, noise=0.6, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, dim))
    return (centers[np.arange(num) % ids] + noise * rng.standard_normal((num, dim))).astype("f4")


def slow_lloyd(rows, start, max_iterations=300, tolerance=1e-4):
    """One image and one centre at a time, in float64."""
    rows = rows.astype(float)
    centers, previous, iterations = rows[start].copy(), None, 0
    enough = tolerance * rows.var(0).mean()

    def nearest(row):
        return min(range(len(centers)), key=lambda k: (((row - centers[k]) ** 2).sum(), k))

    for _ in range(max_iterations):
        iterations += 1
        labels = [nearest(row) for row in rows]
        if labels == previous:
            break
        previous, members = labels, list(labels)
        far = np.argsort([-((row - centers[k]) ** 2).sum() for row, k in zip(rows, labels)])
        for k in range(len(centers)):
            if k not in labels:
                members[far[0]], far = k, far[1:]
        means = [rows[np.equal(members, k)].mean(0) for k in range(len(centers))]
        way = ((np.array(means) - centers) ** 2).sum()
        centers = np.array(means)
        if way <= enough:
            labels = [nearest(row) for row in rows]
            break
    else:
        labels = [nearest(row) for row in rows]
    inertia = sum(((row - centers[k]) ** 2).sum() for row, k in zip(rows, labels))
    return labels, inertia, iterations


@pytest.mark.parametrize("limit, tolerance", [(300, 0.0), (300, 0.05), (3, 0.0)])
def test_equals_a_slow_loop_whatever_ends_it(monkeypatch, limit, tolerance):
    monkeypatch.setattr(module, "_ROWS", 37)
    rows = blobs()
    start = np.arange(24)
    found = lloyd(torch.from_numpy(rows), start, limit, tolerance)
    labels, inertia, iterations = slow_lloyd(rows, start, limit, tolerance)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.iterations == iterations
    assert found.inertia == pytest.approx(inertia, rel=1e-6)


@pytest.mark.parametrize("limit", [1, 2, 300])
def test_clusters_that_lose_all_rows_get_the_farthest(limit):
    rows = blobs(60, 5, 4, noise=0.2)
    rows[[1, 2]] = rows[0]  # three equal centres, of which two are left without rows
    start = np.array([0, 1, 2, 3])
    found = lloyd(torch.from_numpy(rows), start, limit)
    labels, inertia, iterations = slow_lloyd(rows, start, limit)
    np.testing.assert_array_equal(found.labels, labels)
    assert set(labels) == {0, 1, 2, 3}
    assert (found.iterations, found.inertia) == (iterations, pytest.approx(inertia, rel=1e-6))


def test_copies_of_fewer_images_than_clusters_end():
    rows = torch.eye(4)[[0, 1, 2, 0, 1, 2, 0]]
    found = lloyd(rows, np.arange(6))
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, 0] and found.inertia == 0


@pytest.mark.parametrize("factor", [1e-15, 1.0, 1e15])
def test_rows_of_any_size_and_order_have_the_same_clusters(factor):
    rows, start = torch.from_numpy(blobs() * np.float32(factor)), np.arange(12)
    found = lloyd(rows, start)
    reference = cluster.KMeans(12, init=blobs()[start].astype(float), n_init=1).fit(
        blobs().astype(float)
    )
    np.testing.assert_array_equal(found.labels, reference.labels_)
    assert found.iterations == reference.n_iter_
    order = make_rng(0, "order").permutation(len(rows))
    turned = lloyd(rows[order], np.argsort(order)[start])
    np.testing.assert_array_equal(turned.labels, found.labels[order])


def test_k_means_of_torch_is_that_of_scikit_learn():
    features = blobs(900, 40, 16)
    by_torch, by_sklearn = KMeans(40, num_starts=2), KMeans(40, num_starts=2)
    prepared = on_device(torch.from_numpy(features), over_ranks=True)
    labels = by_torch(features, seed=1, epoch=2, prepared=prepared)
    np.testing.assert_array_equal(labels, by_sklearn(features, seed=1, epoch=2))
    assert by_torch.info == pytest.approx(by_sklearn.info, rel=1e-5)
    assert by_sklearn.prepare(torch.from_numpy(features)) == {}, "a CPU is scikit-learn's"


def test_a_start_is_that_of_an_array_for_a_tensor():
    features = blobs()
    chosen = [kmeans_plus_plus(of, 30, make_rng(0)) for of in (features, torch.tensor(features))]
    np.testing.assert_array_equal(*chosen)


def on_a_rank(rank, features):
    module._ROWS = 64
    prepared = on_device(torch.from_numpy(features), over_ranks=True)
    clusterer = KMeans(30, num_starts=2)
    options = dict(seed=0, epoch=0, prepared=prepared)
    labels = run_on_rank0(lambda: (clusterer(features, **options), clusterer.info))
    sums, said = module._whole, []

    def fail(*arguments):
        raise MemoryError("no room for sums")

    module._whole = fail if rank else sums
    try:
        run_on_rank0(lambda: clusterer(features, **options))
    except RuntimeError as error:
        said.append(str(error))
    module._whole = sums
    # Copies: some clusters lose all rows while ranks share them.
    few = lloyd(torch.from_numpy(features[:70].repeat(3, 0)), np.arange(90), shares=RowShares(True))
    rows, source = unit_rows(features), unit_rows(features[:100] + 1)
    shared = source_distances(rows, source, block_size=64, shares=RowShares(True))
    return labels, said, (few.labels, few.inertia, few.iterations), shared


def test_two_ranks_find_what_one_finds(run_ranks, monkeypatch):
    features = blobs(700, 20)
    outcomes = run_ranks(on_a_rank, args=(features,))
    monkeypatch.setattr(module, "_ROWS", 64)
    prepared = on_device(torch.from_numpy(features), over_ranks=True)
    clusterer = KMeans(30, num_starts=2)
    expected = clusterer(features, seed=0, epoch=0, prepared=prepared)
    few = lloyd(torch.from_numpy(features[:70].repeat(3, 0)), np.arange(90))
    rows, source = unit_rows(features), unit_rows(features[:100] + 1)
    distances = source_distances(rows, source, block_size=64)
    for (labels, info), said, (some, inertia, iterations), shared in outcomes:
        np.testing.assert_array_equal(labels, expected)
        assert info == clusterer.info
        assert len(said) == 1 and "rank 1 failed: no room for sums" in said[0]
        np.testing.assert_array_equal(some, few.labels)
        assert (inertia, iterations) == (few.inertia, few.iterations)
        np.testing.assert_array_equal(shared, distances)


def test_fewer_images_than_clusters_on_a_device():
    rows = torch.eye(3)
    with pytest.raises(InputError, match="3 images for num_clusters=4"):
        KMeans(4)(rows.numpy(), seed=0, epoch=0, prepared=on_device(rows, over_ranks=False))
