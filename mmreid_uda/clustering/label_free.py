"""k1 and eps of Jaccard distance + DBSCAN without any label: where halves of the features find the same clusters.

Measured beside other rules in docs/tuning.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mmreid_uda.utils.values import Count, checked

__all__ = [
    "EPS_CANDIDATES",
    "K1_CANDIDATES",
    "SPLITS",
    "Choice",
    "best_choice",
    "k1_candidates",
    "k2_for",
    "label_score",
    "split_features",
]

K1_CANDIDATES = (3, 5, 7, 10, 15, 20, 30, 40)
"""Numbers of neighbours that ``k1='auto'`` tries: about as many as there are images of a subject is best."""
EPS_CANDIDATES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
"""Radii that ``eps='auto'`` tries."""
SPLITS = 2
"""Times that the dimensions are dealt out: one depends on luck; four cost twice as much for a hundredth of F, but are
surer where there are two images of a subject."""


@dataclass(frozen=True)
class Choice:
    """A setting, and what speaks for it.

    Args:
        k1: Neighbours of the k-reciprocal sets.
        k2: Neighbours of the query expansion.
        eps: Radius.
        score: :func:`label_score` of its labels.
        outlier_ratio: Share of the images that it leaves without a cluster, in 0..1.
    """

    k1: int
    k2: int
    eps: float
    score: float
    outlier_ratio: float

    @property
    def words(self) -> str:
        """The setting for a line of the log, and a warning where it leaves most images out."""
        words = (
            f"k1 {self.k1}, k2 {self.k2}, eps {self.eps:.3g} (score {self.score:.3f}, {self.outlier_ratio:.0%} of the "
            "images without a cluster)"
        )
        if self.outlier_ratio <= 0.5:
            return words
        return (
            f"{words}; more than half of the images are left out: features tell few of them apart, so start from a "
            "model trained on images of this kind, or lower min_samples"
        )


def best_choice(choices: Iterable[Choice]) -> Choice:
    """The setting of the highest score.

    Args:
        choices: At least one.

    Returns:
        The first of those with the highest score; of settings without a score, that of the largest radius.
    """
    return max(choices, key=lambda choice: (choice.score, choice.eps))


def k1_candidates(num_images: int) -> tuple[int, ...]:
    """Those of :data:`K1_CANDIDATES` that so many images allow.

    Args:
        num_images: N.

    Returns:
        At least the smallest; of the others those with two neighbourhoods apart from each other, up to N / 2.
    """
    return tuple(k1 for k1 in K1_CANDIDATES if k1 <= max(K1_CANDIDATES[0], num_images // 2))


@checked
def k2_for(k1: Count) -> int:
    """The k2 that goes with a k1: a fifth, as 30 and 6, but 2 at least where there are neighbours to average.

    Args:
        k1: Neighbours of the k-reciprocal sets.

    Returns:
        Neighbours of the query expansion, at least 1.
    """
    return 1 if k1 <= K1_CANDIDATES[0] else max(2, round(k1 / 5))


def split_features(features: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two views of the same images, each with half of the dimensions.

    Args:
        features: float32 (N, D).
        rng: Deals the dimensions out.

    Returns:
        Two float32 arrays of N rows, none of them zero: a row of which one half knows nothing is drawn at random there,
        like no other. Of a single dimension both views are the whole.
    """
    order = rng.permutation(features.shape[1])
    middle = len(order) // 2
    views = []
    for chosen in (order[:middle], order[middle:]):
        view = features[:, np.sort(chosen)] if middle else features.copy()
        empty = ~view.any(1)
        view[empty] = rng.standard_normal((int(empty.sum()), view.shape[1]), np.float32)
        views.append(view)
    return views[0], views[1]


def label_score(
    labels: np.ndarray,
    views: Sequence[tuple[np.ndarray, np.ndarray]],
    graph: sparse.csr_array,
    eps: float,
) -> float:
    r"""How much a clustering says, as far as it can be trusted; higher is better, without any label.

    ``(1 - max_c |c|/N) · 1/N Σ_i J_i · log |c(i)| · d_i``, over the images ``i`` that are in a cluster ``c(i)``:
    ``J_i`` is the Jaccard index of the clusters that two views put ``i`` into, 0 for an outlier of either, and the mean
    over the pairs of views; ``d_i`` is the share of the other members of ``c(i)`` that are within ``eps`` of ``i``: 1
    in a clique, little in a chain. Clusters in pieces agree well but are small. Where all has merged, they agree well,
    too, but in a chain, and one cluster holds nearly everything.

    Args:
        labels: int (N,), of the whole features, negative = outlier.
        views: At least one pair of int (N,), labels of the halves of :func:`split_features` by the same setting.
        graph: (N, N), symmetric, distances of the whole features up to ``eps`` or farther.
        eps: Radius.

    Returns:
        At least 0; below log N.
    """
    num, inlier = len(labels), np.flatnonzero(labels >= 0)
    if not len(inlier):
        return 0.0
    sizes = np.bincount(labels[inlier])
    rows = np.repeat(np.arange(num, dtype=graph.indices.dtype), np.diff(graph.indptr))
    near = (graph.data <= eps) & (rows != graph.indices)
    rows, columns = rows[near], graph.indices[near]
    near_mates = np.bincount(rows[labels[rows] == labels[columns]], minlength=num)[inlier]
    own = sizes[labels[inlier]]
    density = near_mates / np.maximum(own - 1, 1)
    agreement = np.mean([_agreement(*pair) for pair in views], 0)
    values = agreement[inlier] * np.log(own) * density
    return float((1 - sizes.max() / num) * values.sum() / num)


def _agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Jaccard index of the two clusters of each image, float64 (N,); 0 for outliers of either clustering."""
    index = np.zeros(len(first))
    both = np.flatnonzero((first >= 0) & (second >= 0))
    if not len(both):
        return index
    a, b = first[both].astype(np.int64), second[both].astype(np.int64)
    _, cell, counts = np.unique(a * (b.max() + 1) + b, return_inverse=True, return_counts=True)
    common = counts[cell]
    either = np.bincount(first[first >= 0])[a] + np.bincount(second[second >= 0])[b] - common
    index[both] = common / either
    return index
