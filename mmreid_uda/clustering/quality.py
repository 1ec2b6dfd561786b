"""What pseudo-labels look like, and how well they agree with the true identities: for the log, never for training."""

from __future__ import annotations

import numpy as np

from mmreid_uda.utils import InputError

__all__ = ["cluster_quality", "cluster_statistics", "num_pairs"]


def cluster_statistics(labels: np.ndarray) -> dict[str, float]:
    """Count images, clusters and outliers.

    Args:
        labels: int (N,), ``0..K-1`` without gaps, negative = outlier; N >= 1.

    Returns:
        ``images`` (N), ``clusters`` (K), ``outliers``, ``outlier_ratio`` in 0..1; ``median`` and ``largest``, images of
        the middle and of the largest cluster, which shows a merge of everything.
    """
    sizes = np.bincount(labels[labels >= 0])
    outliers = int((labels < 0).sum())
    return dict(
        images=float(len(labels)),
        clusters=float(len(sizes)),
        outliers=float(outliers),
        outlier_ratio=outliers / len(labels),
        median=float(np.median(sizes)) if len(sizes) else 0.0,
        largest=float(sizes.max(initial=0)),
    )


def cluster_quality(labels: np.ndarray, true_labels: np.ndarray) -> dict[str, float]:
    """Compare a clustering with the truth.

    Outliers are in no cluster. They are left out of ``nmi``, ``ari``, ``precision`` and ``purity``, which judge the
    clusters that are trained on, and counted against ``recall``, whose denominator is all pairs of the same identity:
    dropping hard images costs recall. Images without a true label are ignored.

    Args:
        labels: int (N,), negative = outlier.
        true_labels: int (N,), negative = unknown.

    Returns:
        Figures in 0..1 (``ari`` from -0.5):
            ``nmi``: mutual information over the arithmetic mean of the entropies, of inliers;
            ``ari``: adjusted Rand index of inliers;
            ``precision``: share of pairs in one cluster that have one identity;
            ``recall``: share of pairs of one identity that are in one cluster;
            ``f_score``: their harmonic mean;
            ``purity``: share of inliers that have the most frequent identity of their cluster.

        A share of nothing is 0.

    Raises:
        InputError: If the two lists differ in length.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    labels, true_labels = np.asarray(labels), np.asarray(true_labels)
    if labels.shape != true_labels.shape or labels.ndim != 1:
        raise InputError(
            f"found labels of shape {labels.shape} and true labels of shape {true_labels.shape}, expected one of each "
            "per image."
        )
    known = true_labels >= 0
    labels, true_labels = labels[known], true_labels[known]
    inlier = labels >= 0
    clusters, identities = labels[inlier], true_labels[inlier]
    cells, counts = np.unique(np.stack([clusters, identities]), axis=1, return_counts=True)

    correct = num_pairs(counts)
    precision = _ratio(correct, num_pairs(np.unique(clusters, return_counts=True)[1]))
    recall = _ratio(correct, num_pairs(np.unique(true_labels, return_counts=True)[1]))
    largest = np.zeros(int(clusters.max(initial=-1)) + 1, np.int64)
    np.maximum.at(largest, cells[0], counts)
    return dict(
        nmi=float(normalized_mutual_info_score(identities, clusters)) if len(clusters) else 0.0,
        ari=float(adjusted_rand_score(identities, clusters)) if len(clusters) else 0.0,
        precision=precision,
        recall=recall,
        f_score=_ratio(2 * precision * recall, precision + recall),
        purity=_ratio(largest.sum(), len(clusters)),
    )


def num_pairs(sizes: np.ndarray) -> int:
    """Number of unordered pairs within groups.

    Args:
        sizes: int (K,), images of each group.

    Returns:
        Their sum.
    """
    sizes = sizes.astype(np.int64)
    return int((sizes * (sizes - 1) // 2).sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
