"""DBSCAN on a sparse distance graph, and the clusterer most papers use: Jaccard distance + DBSCAN."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError, parse_size

from .eps import rho_eps, stores_share
from .jaccard import (
    BYTES_PER_PAIR,
    Variant,
    jaccard_encodings,
    jaccard_from_encodings,
    neighbours_needed,
    source_distances,
)
from .knn import Neighbours, Precision, find_neighbours, search_bytes, unit_rows
from .labels import Clusterer, check_features

__all__ = ["JaccardDBSCAN", "dbscan"]

# Radii stay below the largest Jaccard distance: at 1 every image is everyone's neighbour.
_BELOW_ONE = 1 - 1e-6
# The ρ-rule needs distances somewhat above eps; a graph cut here nearly always has them, and is small.
_AUTO_REACH = 0.7
# Fewer images take no time worth a line in the log.
_MANY = 10_000


def dbscan(graph: sparse.csr_array, eps: float, min_samples: int = 4) -> np.ndarray:
    """Cluster a graph of distances by density (Ester et al., 1996).

    A point with at least ``min_samples`` neighbours within ``eps``, itself included, is core; cores within ``eps`` of
    each other share a cluster; other points join a core's cluster. Clusters are numbered by their first core, and a
    border point goes to the lowest number: the labels equal those of scikit-learn's
    ``DBSCAN(eps, min_samples, metric='precomputed')`` on the dense matrix. A point whose own distance (diagonal) is
    above ``eps`` does not count itself.

    Args:
        graph: (N, N), symmetric; a stored entry is a distance (zeros too), an entry that is not stored is farther than
            ``eps``, except on the diagonal, where it is zero.
        eps: Radius, > 0.
        min_samples: Neighbours of a core point, >= 1.

    Returns:
        int64 (N,), -1 = outlier.

    Raises:
        InputError: If a parameter is out of range.
    """
    if not eps > 0 or min_samples < 1:
        raise InputError(
            f"found eps={eps} and min_samples={min_samples}, expected eps > 0 and min_samples >= 1: change them in the "
            "clusterer's config."
        )
    num = graph.shape[0]
    rows = np.repeat(np.arange(num, dtype=graph.indices.dtype), np.diff(graph.indptr))
    near = (graph.data <= eps) & (rows != graph.indices)
    rows, columns = rows[near], graph.indices[near]
    core = np.bincount(rows, minlength=num) + (graph.diagonal() <= eps) >= min_samples

    from_core = core[rows]
    rows, columns = rows[from_core], columns[from_core]
    between = core[columns]
    links = sparse.coo_array(
        (np.ones(int(between.sum()), np.int8), (rows[between], columns[between])), shape=(num, num)
    )
    component = connected_components(links, directed=False)[1]
    labels = np.full(num, num, np.int64)
    labels[core] = _number_by_first(component[core])
    np.minimum.at(labels, columns[~between], labels[rows[~between]])
    labels[labels == num] = -1
    return labels


@CLUSTERERS.register_module()
class JaccardDBSCAN(Clusterer):
    """k-reciprocal Jaccard distance and DBSCAN, on a sparse graph.

    :attr:`info` has ``eps`` (the radius used), ``mean_degree`` (images within it, itself included),
    ``seconds_jaccard`` and ``seconds_dbscan``.

    Args:
        eps: Radius in (0, 1), or ``'auto'``: the mean of the smallest ρ-share of all distances. Defaults to 0.6
            (Cluster-Contrast, SpCL; ISE 0.4 on Market-1501, 0.7 on MSMT17).
        min_samples: Neighbours of a core image, itself included. Defaults to 4.
        k1: Neighbours of the k-reciprocal sets. Defaults to 30 (MMT, ABMT: 20).
        k2: Neighbours of the local query expansion. Defaults to 6.
        variant: ``'faiss'`` (default; SpCL, Cluster-Contrast, ISE) or ``'full'`` (MMT, ABMT).
        rho: ρ of ``eps='auto'``. Defaults to 1.6e-3 (MMT; ABMT 2e-3).
        freeze_eps: Keep the ``'auto'`` radius of the first call (MMT) instead of a new one every epoch (ABMT). The
            frozen radius is part of the state and survives a resume.
        precision: ``'float32'`` (default), or ``'int8'``: find candidates on rows rounded to 8 bits and rank them by
            float32 similarities, which is several times faster on CPUs; see
            :func:`~mmreid_uda.clustering.knn`. The 'full' variant is always searched in float32.
        max_memory: What clustering may take beside the features, such as ``'4GiB'``; None (default) sets no limit. It
            is compared with what the search needs, and stops a graph that grows too large.
        source_weight: λ of the source term; above 0 the call needs ``source_features`` (ABMT: 0.1). Defaults to 0.

    Raises:
        InputError: If a parameter is out of range.

    Example:
        >>> clusterer = dict(type='JaccardDBSCAN', eps='auto', rho=1.6e-3, freeze_eps=True,
        ...                  k1=20, k2=6, variant='full')
    """

    def __init__(
        self,
        eps: float | Literal["auto"] = 0.6,
        min_samples: int = 4,
        k1: int = 30,
        k2: int = 6,
        variant: Variant = "faiss",
        rho: float = 1.6e-3,
        freeze_eps: bool = False,
        source_weight: float = 0.0,
        precision: Precision = "float32",
        max_memory: str | int | None = None,
    ) -> None:
        super().__init__()
        if eps != "auto" and not (isinstance(eps, (int, float)) and 0 < eps < 1):
            raise InputError(
                f"found eps={eps!r}, expected a Jaccard distance with 0 < eps < 1, or 'auto': change eps of "
                "JaccardDBSCAN."
            )
        if not 0 <= source_weight < 1 or not 0 < rho <= 1 or min_samples < 1:
            raise InputError(
                f"found source_weight={source_weight}, rho={rho} and min_samples={min_samples} for "
                "JaccardDBSCAN, expected 0 <= source_weight < 1, 0 < rho <= 1 and min_samples >= 1."
            )
        neighbours_needed(1, k1, variant, k2)  # complains now, not at the first epoch
        if precision not in ("float32", "int8"):
            raise InputError(
                f"found precision={precision!r} for JaccardDBSCAN, expected 'float32' or 'int8'."
            )
        self.eps, self.min_samples = eps, min_samples
        self.k1, self.k2, self.variant = k1, k2, variant
        self.rho, self.freeze_eps = rho, freeze_eps
        self.source_weight, self.precision = source_weight, precision
        self.max_memory = None if max_memory is None else parse_size(max_memory, "max_memory")
        self.frozen_eps: float | None = None

    @property
    def requires(self) -> tuple[str, ...]:
        """``source_features`` float (M, D), if there is a source term."""
        return ("source_features",) if self.source_weight else ()

    def prepare(
        self, features: np.ndarray | Tensor, *, over_ranks: bool = False
    ) -> dict[str, Any] | None:
        """Find the neighbours, on the device of the features; every rank takes a share of the blocks."""
        rows = unit_rows(check_features(features))
        k = neighbours_needed(len(rows), self.k1, self.variant, self.k2)
        self._announce(len(rows), rows.shape[1], k)
        neighbours = find_neighbours(
            rows,
            k,
            precision=self.precision,
            with_lowest=self.variant == "full",
            over_ranks=over_ranks,
        )
        return None if neighbours is None else dict(neighbours=neighbours)

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; nothing here is random. ``eps_scale`` multiplies the radius, which stays below 1 - λ."""
        times = [time.perf_counter()]
        features, neighbours = unit_rows(features), extras["neighbours"]
        encodings = jaccard_encodings(features, neighbours, self.k1, self.k2, variant=self.variant)
        from_source = None
        if self.source_weight:
            source = unit_rows(check_features(extras["source_features"]))
            from_source = source_distances(features, source)
        graph_up_to = partial(
            jaccard_from_encodings,
            encodings,
            from_source=from_source,
            source_weight=self.source_weight,
            max_pairs=self._max_pairs(neighbours, encodings),
        )
        graph, eps = self._graph_and_eps(graph_up_to, eps_scale)
        times.append(time.perf_counter())
        labels = dbscan(graph, eps, self.min_samples)
        times.append(time.perf_counter())
        jaccard, density = np.diff(times).tolist()
        self.info = dict(
            eps=eps,
            mean_degree=float((graph.data <= eps).sum() / len(features)),
            seconds_jaccard=jaccard,
            seconds_dbscan=density,
        )
        return labels

    def state_dict(self) -> dict[str, Any]:
        """The frozen radius, None before the first call or if it is not frozen."""
        return dict(frozen_eps=self.frozen_eps)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the frozen radius."""
        self.frozen_eps = state["frozen_eps"]

    def _announce(self, num: int, dimensions: int, k: int) -> None:
        """Say what a long search takes, and refuse one that takes too much."""
        needed = search_bytes(num, dimensions, k, self.precision)
        budget = "" if self.max_memory is None else f" of {self.max_memory / 2**20:.0f} MiB"
        if num >= _MANY:
            print_log(
                f"clustering: {num} features of {dimensions} dimensions, {k} neighbours each, {self.precision}: "
                f"{needed / 2**20:.0f} MiB{budget} beside the features",
                logger="current",
            )
        if self.max_memory is not None and needed > self.max_memory:
            raise InputError(
                f"found max_memory of {self.max_memory / 2**20:.0f} MiB for JaccardDBSCAN, expected at least "
                f"{needed / 2**20:.0f} MiB to find the neighbours of {num} images: raise it, or lower k1."
            )

    def _max_pairs(self, neighbours: Neighbours, encodings: sparse.csr_array) -> int | None:
        """Pairs whose distances fit into what is left of the budget."""
        if self.max_memory is None:
            return None
        # The encodings are there by row and by column.
        held = 8 * neighbours.indices.size + 16 * encodings.nnz
        return max(0, self.max_memory - held) // BYTES_PER_PAIR

    def _graph_and_eps(
        self, graph_up_to: Callable[[float], sparse.csr_array], eps_scale: float
    ) -> tuple[sparse.csr_array, float]:
        """The graph, cut no lower than the radius, and the radius."""
        # Images without a common neighbour are at 1 - λ + λ(s_i + s_j) and not in the graph: stay below.
        widest = 1 - self.source_weight
        eps = self.frozen_eps if self.eps == "auto" else self.eps
        if eps is None:
            graph, eps = self._rho_rule(graph_up_to, widest)
            radius = min(eps * eps_scale, widest * _BELOW_ONE)
            return (graph if eps_scale <= 1 else graph_up_to(radius)), radius
        radius = min(eps * eps_scale, widest * _BELOW_ONE)
        return graph_up_to(radius), radius

    def _rho_rule(
        self, graph_up_to: Callable[[float], sparse.csr_array], widest: float
    ) -> tuple[sparse.csr_array, float]:
        """A graph that holds the smallest ρ-share of the distances, and their mean."""
        reach = min(_AUTO_REACH, widest)
        graph = graph_up_to(reach)
        if not stores_share(graph, self.rho):
            reach, graph = widest, graph_up_to(widest)
        eps = rho_eps(graph, self.rho, reach)
        if self.freeze_eps:
            self.frozen_eps = eps
        return graph, eps


def _number_by_first(component: np.ndarray) -> np.ndarray:
    """Number groups 0, 1, ... in the order of their first member."""
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
