"""Neighbours, Jaccard distances, DBSCAN and k-means on a device beside the CPU and beside dense matrices in torch."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from synthetic_features import IMAGES_PER_ID, NUM_CAMERAS, make_features
from torch import Tensor

from mmreid_uda.clustering import JaccardDBSCAN, KMeans, kmeans_plus_plus
from mmreid_uda.clustering.lloyd import lloyd, lloyd_of_sklearn
from mmreid_uda.neighbors import find_neighbors
from mmreid_uda.utils import make_rng

from .dense import dense_dbscan, dense_encodings, dense_jaccard, dense_neighbors
from .findings import Findings
from .machine import ON_CPU, float32_products, require, timed

__all__ = ["check_jaccard_dbscan", "check_kmeans", "check_neighbors", "people"]

SIMILARITY = 1e-5
"""Largest difference of two similarities of unit rows."""

DISTANCE = 1e-4
"""Largest difference of two Jaccard distances."""

MOVED = 1e-3
"""Share of images that may be in another cluster, since a tie was decided otherwise."""

INERTIA = 0.02
"""Relative difference of the sums of squares of two k-means from one start."""

WHOLE = 20_000
"""Up to so many images the CPU repeats the whole work, beyond a sample of rows."""

K1, K2, EPS, MIN_SAMPLES = 30, 6, 0.6, 4
_SAMPLE, _BLOCK, _WARM_UP = 1024, 512, 256


@lru_cache(maxsize=1)
def people(num: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features float32 (N, D) of unit norm, identities and cameras, int64 (N,): as of Market-1501."""
    return make_features(num, max(2, num // IMAGES_PER_ID), NUM_CAMERAS, dim)


def check_neighbors(device: str, num: int, dim: int = 2048) -> Findings:
    """Search neighbours on a device; their similarities must be those that the CPU finds.

    Which of two equally near images stands first is left open: compared are the sorted similarities, and the
    similarity of every index that was found.

    Args:
        device: ``'cuda'`` or ``'cpu'``.
        num: N, images.
        dim: D.
    """
    findings, features, rows = _begin(device, num, dim)
    with float32_products():
        find_neighbors(rows[:_WARM_UP], K1)
        found = timed(findings, device, lambda: find_neighbors(rows, K1))
        if num <= WHOLE:
            dense_neighbors(rows[:_WARM_UP], K1)
            timed(findings, device, lambda: dense_neighbors(rows, K1), "dense")
    assert found is not None
    sample = np.arange(num) if num <= WHOLE else make_rng(0, "rows").permutation(num)[:_SAMPLE]
    started, same, apart, own = time.perf_counter(), 0, 0.0, 0.0
    for start in range(0, len(sample), _BLOCK):
        part = sample[start : start + _BLOCK]
        similarities = torch.from_numpy(features[part] @ features.T)
        expected, indices = (tensor.numpy() for tensor in similarities.topk(K1, dim=1))
        apart = max(apart, np.abs(expected - found.similarities[part]).max())
        ranks = torch.from_numpy(found.indices[part].astype(np.int64))
        of_indices = similarities.gather(1, ranks).numpy()
        own = max(own, np.abs(of_indices - found.similarities[part]).max())
        same += (np.sort(indices) == np.sort(found.indices[part])).all(1).sum()
    name = (
        "seconds of torch on the CPU" if num <= WHOLE else f"seconds of {_SAMPLE} rows on the CPU"
    )
    findings.metrics[name] = time.perf_counter() - started
    findings.at_most("similarities", float(apart), SIMILARITY)
    findings.at_most("similarities of the indices", float(own), SIMILARITY)
    findings.metrics["rows with the same neighbours"] = same / len(sample)
    return findings


def check_jaccard_dbscan(device: str, num: int, dim: int = 2048) -> Findings:
    """Cluster as a config does, features on a device: labels must be those of the CPU, and of dense matrices.

    Arguments are those of :func:`check_neighbors`.
    """
    findings, features, rows = _begin(device, num, dim)
    with float32_products():
        _cluster(rows[:_WARM_UP])
        labels, clusterer = timed(findings, device, lambda: _cluster(rows))
        for step in ("jaccard", "dbscan"):
            findings.metrics[f"of these {step}"] = clusterer.info[f"seconds_{step}"]
        findings.metrics["clusters"] = int(labels.max()) + 1
        findings.metrics["outliers"] = float((labels < 0).mean())
        if num > WHOLE:
            return findings
        expected = timed(
            findings, "cpu", lambda: _cluster(torch.from_numpy(features))[0], seconds=ON_CPU
        )
        findings.at_most("moved", moved(labels, expected), MOVED)
        dense, graph = timed(findings, device, lambda: _cluster_densely(rows), "dense")
    findings.at_most("moved, dense", moved(labels, dense), MOVED)
    neighbors = clusterer.prepare(rows)
    found = clusterer.graph(features, EPS, 0, neighbors["neighbors"]).tocoo()
    place = (
        torch.from_numpy(found.row.astype(np.int64)),
        torch.from_numpy(found.col.astype(np.int64)),
    )
    apart = graph[place].sub(torch.from_numpy(found.data)).abs()
    findings.at_most("share of distances apart", float((apart > DISTANCE).double().mean()), MOVED)
    return findings


def check_kmeans(device: str, num: int, num_clusters: int, dim: int = 2048) -> Findings:
    """Cluster by k-means, features on a device: a second run must give the labels of the first.

    They must be those of scikit-learn on the CPU, too, from the same start, and as good as the simplest loop's.
    Whether the CPU starts from the same images is noted: a draw may fall on the other side of a rounded number.

    Arguments are those of :func:`check_neighbors`, and ``num_clusters``, K.
    """
    findings, features, rows = _begin(device, num, dim)
    clusterer = KMeans(num_clusters)

    def cluster(rows: Tensor) -> np.ndarray:
        prepared = clusterer.prepare(rows)
        return clusterer(rows.cpu().numpy(), seed=0, epoch=0, prepared=prepared)

    with float32_products():
        labels = timed(findings, device, lambda: cluster(rows))
        inertia, iterations = clusterer.info["inertia"], int(clusterer.info["iterations"])
        findings.metrics["iterations"] = iterations
        start = kmeans_plus_plus(rows, num_clusters, make_rng(0, 0, "kmeans"))
        again = lloyd(rows, start).labels
        findings.at_most("moved, again", moved(labels, again), 0 if device == "cuda" else MOVED)
        if num <= WHOLE:
            expected = timed(
                findings, "cpu", lambda: cluster(torch.from_numpy(features)), seconds=ON_CPU
            )
            start_of_cpu = kmeans_plus_plus(features, num_clusters, make_rng(0, 0, "kmeans"))
            same = np.array_equal(start, start_of_cpu)
            findings.metrics["same start on the CPU"] = same
            if not same:
                expected = lloyd_of_sklearn(features, start).labels
            findings.at_most("moved", moved(labels, expected), MOVED)
        dense = timed(
            findings,
            device,
            lambda: dense_lloyd(rows, rows[torch.from_numpy(start).to(device)], iterations),
            "dense",
        )
    findings.at_most("inertia", abs(inertia - dense) / dense, INERTIA)
    return findings


def moved(labels: np.ndarray, others: np.ndarray) -> float:
    """Share of images that are not in the cluster of the other labels that most of their cluster is in: 0..1.

    Args:
        labels: int64 (N,), -1 = outlier.
        others: int64 (N,), as well; the worse of both directions counts.
    """
    if labels.shape != others.shape:
        return float("nan")
    pairs, counts = np.unique(np.stack([labels, others]), axis=1, return_counts=True)
    shares = []
    for side in pairs:
        largest = np.zeros(side.max() + 2, np.int64)
        np.maximum.at(largest, side, counts)  # -1 is the last entry
        shares.append(1 - largest.sum() / len(labels))
    return float(max(shares))


def dense_lloyd(rows: Tensor, centers: Tensor, iterations: int) -> float:
    """Lloyd's iterations in torch; returns the sum of squared distances to the last centres.

    Args:
        rows: float32 (N, D).
        centers: float32 (K, D), where they start; an empty cluster keeps its centre.
        iterations: Their number.
    """
    squares = rows.square().sum(1)
    for _ in range(max(1, iterations)):
        nearest = (centers.square().sum(1) - 2 * rows @ centers.T).argmin(1)
        sums = torch.zeros_like(centers).index_add_(0, nearest, rows)
        counts = torch.bincount(nearest, minlength=len(centers))[:, None]
        centers = torch.where(counts > 0, sums / counts.clamp(min=1), centers)
    lowest = (centers.square().sum(1) - 2 * rows @ centers.T).amin(1)
    return float((squares + lowest).sum(dtype=torch.float64))


def _begin(device: str, num: int, dim: int) -> tuple[Findings, np.ndarray, Tensor]:
    """Empty findings; features, and the same on a device that is there."""
    require(device)
    features = people(num, dim)[0]
    return Findings(), features, torch.from_numpy(features).to(device)


def _cluster(rows: Tensor) -> tuple[np.ndarray, Any]:
    """Labels as the cluster hook gets them, and the clusterer."""
    clusterer = JaccardDBSCAN(eps=EPS, min_samples=MIN_SAMPLES, k1=K1, k2=K2)
    prepared = clusterer.prepare(rows)
    return clusterer(rows.cpu().numpy(), seed=0, epoch=0, prepared=prepared), clusterer


def _cluster_densely(rows: Tensor) -> tuple[np.ndarray, Tensor]:
    """Labels from dense matrices, and the Jaccard distances float32 (N, N), on the CPU."""
    ranks, similarities = dense_neighbors(rows, K1)
    encodings = dense_encodings(ranks, 2 - 2 * similarities, K1, round(K1 / 2) + 1, K2)
    del similarities
    distances = dense_jaccard(encodings)
    return dense_dbscan(distances, EPS, MIN_SAMPLES).cpu().numpy(), distances.cpu()
