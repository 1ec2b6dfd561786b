"""Sweeps: every result is the clusterer's own, from one search."""

import numpy as np
import pytest

from mmreid_uda.clustering import (
    JaccardDBSCAN,
    KMeans,
    cluster_quality,
    sweep,
    sweep_dbscan,
    sweep_kmeans,
)
from mmreid_uda.utils import InputError


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(8), 10)
    features = rng.standard_normal((8, 16))[truth] + 0.6 * rng.standard_normal((80, 16))
    return features.astype(np.float32), truth


@pytest.mark.parametrize("variant", ["faiss", "full"])
def test_a_sweep_equals_single_clusterings_and_searches_once(people, variant, monkeypatch):
    features, truth = people
    searches, find = [], sweep.find_neighbors
    monkeypatch.setattr(
        sweep, "find_neighbors", lambda *args, **kw: searches.append(args) or find(*args, **kw)
    )
    results = list(
        sweep_dbscan(features, [0.3, 0.6], [2, 4], [6, 12], [1, 3], variant=variant, rho=0.02, true_labels=truth)
    )  # fmt: skip
    assert len(searches) == 1 and len(results) == 16
    for result in results:
        setting = {name: result.setting[name] for name in ("min_samples", "k1", "k2")}
        one = JaccardDBSCAN(result.setting["eps"], variant=variant, **setting)
        labels = one(features, seed=0, epoch=0)
        assert result.metrics["clusters"] == labels.max() + 1
        assert result.metrics["outliers"] == (labels < 0).sum()
        for name, value in cluster_quality(labels, truth).items():
            assert result.metrics[name] == pytest.approx(value)
        by_rho = JaccardDBSCAN("rho", rho=0.02, variant=variant, **setting)
        by_rho(features, seed=0, epoch=0)
        assert result.metrics["rho_eps"] == pytest.approx(by_rho.info["eps"])
    assert len({result.metrics["clusters"] for result in results}) > 2


def test_k2_can_follow_from_k1(people):
    results = list(sweep_dbscan(people[0], [0.5], k1=[3, 6, 20], k2=None, rho=None))
    assert [result.setting["k2"] for result in results] == [1, 2, 4]


def test_a_large_rho_looks_beyond_the_largest_radius(people):
    [result] = sweep_dbscan(people[0], [0.2], k1=[6], k2=[1], rho=0.9)
    assert 0.7 < result.metrics["rho_eps"] < 1


def test_k_is_swept_and_quality_needs_the_truth(people):
    results = list(sweep_kmeans(people[0], [4, 8], seed=3))
    assert [result.metrics["clusters"] for result in results] == [4, 8]
    assert "nmi" not in results[0].metrics
    labels = KMeans(8)(people[0], seed=3, epoch=0)
    assert results[1].metrics["largest"] == np.bincount(labels).max()


def test_radii_out_of_range_are_refused(people):
    with pytest.raises(InputError, match=r"found eps\[1\]=1\.2 .* above 0 and below 1"):
        sweep_dbscan(people[0], [0.5, 1.2])
