"""Many clusterings of the same features: the neighbours are searched once, and a graph serves all radii."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from annotated_types import MinLen

from mmreid_uda.neighbors.jaccard import (
    Variant,
    jaccard_distances,
    jaccard_encodings,
    neighbors_needed,
)
from mmreid_uda.neighbors.knn import find_neighbors, unit_rows
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.values import Count, OpenFraction, PositiveFraction, checked

from .dbscan import dbscan
from .eps import RHO_REACH, NearZero, rho_eps, stores_share
from .kmeans import KMeans
from .label_free import k2_for
from .quality import cluster_quality, cluster_statistics

__all__ = ["SweepResult", "sweep_dbscan", "sweep_kmeans"]


@dataclass(frozen=True)
class SweepResult:
    """One clustering of a sweep.

    Args:
        setting: Of DBSCAN ``eps``, ``min_samples``, ``k1`` and ``k2``, of K-means ``num_clusters``.
        metrics: Those of :func:`cluster_statistics`, of :func:`cluster_quality` if the truth is known, and ``rho_eps``,
            the radius of the ρ-rule, if it was asked for and there is a distance above 0.
    """

    setting: dict[str, float]
    metrics: dict[str, float]


_T = TypeVar("_T")
_Several = Annotated[Sequence[_T], MinLen(1)]


@checked
def sweep_dbscan(
    features: np.ndarray,
    eps: _Several[OpenFraction],
    min_samples: _Several[Count] = (4,),
    k1: _Several[Count] = (30,),
    k2: _Several[Count] | None = (6,),
    *,
    variant: Variant = "faiss",
    rho: PositiveFraction | None = 1.6e-3,
    near_zero: NearZero = "drop",
    true_labels: np.ndarray | None = None,
) -> Iterator[SweepResult]:
    """Cluster with every combination, as :class:`JaccardDBSCAN` does with each.

    Neighbours are searched once, for the largest k1; a graph of distances is made once for each (k1, k2).

    Args:
        features: float (N, D), rows of any norm.
        eps: Radii, in (0, 1).
        min_samples: Neighbours of a core image, itself included.
        k1: Neighbours of the k-reciprocal sets.
        k2: Neighbours of the local query expansion; None takes that of :func:`k2_for` for each k1.
        variant: ``'faiss'`` or ``'full'``, see :func:`jaccard_graph`.
        rho: ρ of the recommended radius, see :func:`rho_eps`; None recommends none.
        near_zero: What that rule does with pairs at distance 0.
        true_labels: int (N,), negative = unknown; None for no figures of quality.

    Yields:
        A result per combination, ``eps`` running fastest.

    Raises:
        InputError: If a setting is out of range or the features cannot be clustered.
    """
    rows = unit_rows(check_vectors(features, "features to cluster"))
    pairs = [(a, b) for a in k1 for b in (k2 or (k2_for(a),))]
    needed = max(neighbors_needed(len(rows), a, variant, b) for a, b in pairs)
    neighbors = find_neighbors(rows, needed, with_min_similarity=variant == "full")
    assert neighbors is not None
    for a, b in pairs:
        own = neighbors.first(neighbors_needed(len(rows), a, variant, b))
        encodings = jaccard_encodings(rows, own, a, b, variant=variant)
        reach = max(*eps, RHO_REACH if rho is not None else 0.0)
        graph = jaccard_distances(encodings, reach)
        extra = {}
        if rho is not None:
            stored = stores_share(graph, rho, near_zero)
            whole, cut = (graph, reach) if stored else (jaccard_distances(encodings), 1.0)
            # Images that are all alike may have no distance to take the mean of: nothing to recommend.
            with contextlib.suppress(InputError):
                extra["rho_eps"] = rho_eps(whole, rho, cut, near_zero)
        for least in min_samples:
            for radius in eps:
                labels = dbscan(graph, radius, least)
                setting = dict(eps=radius, min_samples=least, k1=a, k2=b)
                yield SweepResult(setting, {**_metrics(labels, true_labels), **extra})


def sweep_kmeans(
    features: np.ndarray,
    num_clusters: Sequence[int],
    *,
    seed: int = 0,
    true_labels: np.ndarray | None = None,
) -> Iterator[SweepResult]:
    """Cluster with every K; see :class:`KMeans`.

    Args:
        features: float (N, D), clustered as they are.
        num_clusters: The Ks.
        seed: Of the starts.
        true_labels: As :func:`sweep_dbscan`.

    Yields:
        A result per K.

    Raises:
        InputError: As :class:`KMeans`.
    """
    for number in num_clusters:
        labels = KMeans(number)(features, seed=seed, epoch=0)
        yield SweepResult(dict(num_clusters=number), _metrics(labels, true_labels))


def _metrics(labels: np.ndarray, true_labels: np.ndarray | None) -> dict[str, float]:
    quality = {} if true_labels is None else cluster_quality(labels, true_labels)
    return {**quality, **cluster_statistics(labels)}
