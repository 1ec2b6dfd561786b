"""A review of made-up people, and what its links mean, worked out slowly."""

from __future__ import annotations

import numpy as np

from mmreid_uda.clustering import (
    Agglomerative,
    ConstrainedLinkage,
    EvidenceClustering,
    JaccardDBSCAN,
)
from mmreid_uda.review import Reclustering, Review
from mmreid_uda.structures import Evidence

CLUSTERERS = {
    "dbscan": lambda: JaccardDBSCAN(0.5, 2, k1=6, k2=2),
    "linkage": lambda: ConstrainedLinkage(0.35),
    "agglomerative": lambda: Agglomerative(0.6, k1=6, k2=2),
}


def people(num=30, groups=6, noise=0.45, seed=0):
    """Features of ``num`` images of some people, and who they are."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((groups, 12))
    of_image = rng.integers(groups, size=num)
    features = centers[of_image] + noise * rng.standard_normal((num, 12))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), of_image


def make_review(folder, clusterer="dbscan", tracklets=False, **kwargs):
    features, truth = people(**kwargs)
    num = len(features)
    clustering = EvidenceClustering(CLUSTERERS[clusterer](), tracklets=tracklets)
    rng = np.random.default_rng(num)
    evidence = Evidence(
        rng.integers(2, size=num),
        np.arange(num).astype(float),
        np.arange(num) // 3 if tracklets else None,
    )
    review = Review(
        features,
        [f"{folder}/crops/{number:03d}.jpg" for number in range(num)],
        np.full(num, -1),
        evidence,
        folder / "links.csv",
        folder,
        Reclustering(clustering),
        truth,
    )
    review.recluster()
    return review


def closure(review):
    """What the links mean, (N, N): 1 = the same subject, -1 = two, 0 = unknown; by going through all triples."""
    num = len(review)
    same, apart = np.eye(num, dtype=bool), np.zeros((num, num), bool)
    ignored = review.evidence.ignored
    links = review.links
    for first, second, must in zip(links.first, links.second, links.must):
        if not (ignored[first] or ignored[second]):
            (same if must else apart)[[first, second], [second, first]] = True
    for middle in range(num):
        same |= same[:, middle, None] & same[None, middle]
    apart = (same.astype(int) @ apart.astype(int) @ same.astype(int)) > 0
    assert not (same & apart).any(), "links contradict each other"
    return same.astype(int) - apart


def obeys(labels, meaning, ignored, outliers=False):
    """Whether labels are as the links say; with some clusterers a group may be outliers as a whole."""
    together = (labels[:, None] == labels[None, :]) & (labels >= 0)[:, None]
    pairs = ~np.eye(len(labels), dtype=bool)
    equal = (labels[:, None] == labels[None, :]) if outliers else together
    assert equal[(meaning == 1) & pairs].all()
    assert not together[meaning == -1].any()
    assert (labels[ignored] == -1).all()
