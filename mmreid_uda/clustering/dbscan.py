"""DBSCAN on a sparse distance graph, and the clusterer most papers use: Jaccard distance + DBSCAN."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log
from scipy import sparse
from torch import Tensor

from mmreid_uda.neighbors.cameras import CameraLists
from mmreid_uda.neighbors.jaccard import source_distances
from mmreid_uda.neighbors.knn import CameraNeighbors, Neighbors, unit_rows
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.row_shares import ALONE, RowShares
from mmreid_uda.utils.seeding import make_rng
from mmreid_uda.utils.values import (
    Count,
    FractionBelowOne,
    OpenFraction,
    Positive,
    PositiveFraction,
    checked,
)

from .constrained_dbscan import Border, constrained_dbscan
from .constraints import Constraints
from .eps import RHO_REACH, NearZero, rho_eps, stores_share
from .jaccard_clusterer import JaccardClusterer
from .label_free import (
    EPS_CANDIDATES,
    K1_CANDIDATES,
    SPLITS,
    Choice,
    best_choice,
    k1_candidates,
    k2_for,
    label_score,
    split_features,
)
from .labels import components, renumber_by_first

__all__ = ["JaccardDBSCAN", "dbscan"]

# Radii stay below the largest Jaccard distance: at 1 every image is everyone's neighbour.
_BELOW_ONE = 1 - 1e-6


@checked
def dbscan(
    graph: sparse.csr_array,
    eps: Positive,
    min_samples: Count = 4,
    constraints: Constraints | None = None,
    border: Border = "first",
    must_is_cluster: bool = True,
    min_cluster_size: Count = 2,
) -> np.ndarray:
    """Cluster a graph of distances by density (Ester et al., 1996).

    A point with at least ``min_samples`` neighbours within ``eps``, itself included, is core; cores within ``eps`` of
    each other share a cluster; other points join a core's cluster. Clusters are numbered by their first core, and a
    border point goes to the lowest number: the labels equal those of scikit-learn's
    ``DBSCAN(eps, min_samples, metric='precomputed')`` on the dense matrix. A point whose own distance (diagonal) is
    above ``eps`` does not count itself.

    With constraints the points are groups of nodes, and what is counted are their images. A group is as far from
    another as their nearest nodes; groups that exclude each other are no neighbours. Cores grow together pair by pair,
    the nearest first, unless a cluster would hold two groups that exclude each other. So no cannot-link is in a
    cluster, and all nodes of a group are in one.

    Args:
        graph: (N, N), symmetric; a stored entry is a distance (zeros too), an entry that is not stored is farther than
            ``eps``, except on the diagonal, where it is zero.
        eps: Radius, > 0.
        min_samples: Neighbours of a core point, >= 1.
        constraints: Between the N nodes of the graph; None (default) for none.
        border: Where a group goes that is near cores, yet none: to the ``'first'`` (default) or the ``'nearest'`` of
            their clusters that holds nothing it excludes.
        must_is_cluster: Groups of several images are cores, however few neighbours they have. Defaults to True.
        min_cluster_size: Images of the smallest cluster that stays, of those with a cannot-link. Defaults to 2.

    Returns:
        int64 (N,), -1 = outlier.

    Raises:
        InputError: If a parameter is out of range.
    """
    if constraints is not None or border != "first":
        return constrained_dbscan(
            graph,
            eps,
            min_samples,
            Constraints.none(np.ones(graph.shape[0])) if constraints is None else constraints,
            border,
            must_is_cluster,
            min_cluster_size,
        )[0]
    num = graph.shape[0]
    rows = np.repeat(np.arange(num, dtype=graph.indices.dtype), np.diff(graph.indptr))
    near = (graph.data <= eps) & (rows != graph.indices)
    rows, columns = rows[near], graph.indices[near]
    core = np.bincount(rows, minlength=num) + (graph.diagonal() <= eps) >= min_samples

    from_core = core[rows]
    rows, columns = rows[from_core], columns[from_core]
    between = core[columns]
    component = components(rows[between], columns[between], num)
    labels = np.full(num, num, np.int64)
    labels[core] = renumber_by_first(component[core])
    np.minimum.at(labels, columns[~between], labels[rows[~between]])
    labels[labels == num] = -1
    return labels


@CLUSTERERS.register_module()
class JaccardDBSCAN(JaccardClusterer):
    """k-reciprocal Jaccard distance and DBSCAN, on a sparse graph.

    ``eps='auto'`` and ``k1='auto'`` try all of :data:`~.label_free.EPS_CANDIDATES` and
    :data:`~.label_free.K1_CANDIDATES` at the first clustering, and keep those with the best
    :func:`~.label_free.label_score`, for which no label is needed. The choice is part of the state and survives a
    resume. ``min_samples=2`` goes with it best, see docs/tuning.md.

    :attr:`info` has ``eps`` (the radius used), ``mean_degree`` (images within it, itself included),
    ``seconds_jaccard`` and ``seconds_dbscan``; of a choice ``k1``, and once ``seconds_choice``.

    Source: Ester et al., KDD 1996; the distance: Zhong et al., CVPR 2017.

    Args:
        eps: Radius in (0, 1); ``'auto'``, see above; or ``'rho'``: the mean of the smallest ρ-share of all distances
            (MMT, ABMT). Defaults to 0.6 (Cluster-Contrast, SpCL; ISE 0.4 on Market-1501, 0.7 on MSMT17).
        min_samples: Neighbours of a core image, itself included. Defaults to 4.
        rho: ρ of ``eps='rho'``. Defaults to 1.6e-3 (MMT; ABMT 2e-3).
        near_zero: ``'drop'`` (default) or ``'count'`` (MMT and ABMT as released) pairs at distance 0, see
            :func:`rho_eps`.
        freeze_eps: Keep the ``'rho'`` radius of the first call (MMT) instead of a new one every epoch (ABMT). The
            frozen radius is part of the state and survives a resume.
        source_weight: λ of the source term; above 0 the call needs ``source_features`` (ABMT: 0.1). Defaults to 0.
        k1: Neighbours of the k-reciprocal sets, or ``'auto'``, and k2 is then that of :func:`~.label_free.k2_for`.
            The lists of camera-aware distances follow it, see :meth:`CameraLists.scaled`. Defaults to 30 (MMT, ABMT:
            20).
        k2: Neighbours of the local query expansion, unless k1 is ``'auto'``. Defaults to 6.
        **kwargs: As for :class:`JaccardClusterer`.

    Raises:
        InputError: If a parameter is out of range.

    Example:
        >>> clusterer = dict(type='JaccardDBSCAN', eps='rho', rho=1.6e-3, near_zero='count',
        ...                  freeze_eps=True, k1=20, k2=6, variant='full')
    """

    honors_constraints = True
    prepared_with = ("source_features",)

    def __init__(
        self,
        eps: OpenFraction | Literal["rho", "auto"] = 0.6,
        min_samples: Count = 4,
        rho: PositiveFraction = 1.6e-3,
        near_zero: NearZero = "drop",
        freeze_eps: bool = False,
        source_weight: FractionBelowOne = 0.0,
        k1: Count | Literal["auto"] = 30,
        k2: Count = 6,
        **kwargs: Any,
    ) -> None:
        if k1 == "auto" and eps == "rho":
            raise InputError(
                "found k1='auto' with eps='rho', whose radius says nothing of k1: set eps='auto', or a k1."
            )
        self.auto_k1 = k1 == "auto"
        # Neighbours are searched for the largest candidate.
        widest = max(K1_CANDIDATES)
        ks = (widest, k2_for(widest)) if k1 == "auto" else (k1, k2)
        super().__init__(*ks, **kwargs)
        if self.path and "auto" in (k1, eps):
            raise InputError(
                f"found {'k1' if k1 == 'auto' else 'eps'}='auto' with search={self.search!r}, expected numbers for k1 "
                "and eps: they are chosen by the neighbours of halves of the features, and a file names those of the "
                "whole; mend clusterer.k1 and clusterer.eps, or set clusterer.search='ivf'."
            )
        self.eps, self.min_samples = eps, min_samples
        self.rho, self.near_zero, self.freeze_eps = rho, near_zero, freeze_eps
        self.source_weight = source_weight
        self.frozen_eps: float | None = None
        self.chosen: Choice | None = None

    @property
    def requires(self) -> tuple[str, ...]:
        """``source_features`` float (M, D), if there is a source term."""
        return ("source_features",) if self.source_weight else ()

    def prepare(
        self,
        features: np.ndarray | Tensor,
        *,
        over_ranks: bool = False,
        cameras: np.ndarray | None = None,
        source_features: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """As :meth:`JaccardClusterer.prepare`, and how far the images are from those of the sources, if that counts."""
        rows = unit_rows(check_vectors(features, "features to cluster"))
        prepared = super().prepare(rows, over_ranks=over_ranks, cameras=cameras)
        if self.source_weight and source_features is not None:
            from_source = _from_source(rows, source_features, RowShares(over_ranks))
            prepared = prepared and dict(prepared, from_source=from_source)
        return prepared

    def lists_searched(self, num: int) -> tuple[CameraLists, ...]:
        """Those of the largest candidate, where k1 is to be chosen."""
        if not self.auto_k1:
            return super().lists_searched(num)
        widest = k1_candidates(num)[-1]
        return (self.camera_lists.scaled(widest, k2_for(widest)),)

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; only a choice draws. ``eps_scale`` multiplies the radius, which stays below 1 - λ."""
        features = unit_rows(features)
        graph_of = self._graphs(features, seed, epoch, extras)
        neighbors = self.found(features, seed, extras.get("neighbors"))
        if self.chosen is None and (self.auto_k1 or self.eps == "auto"):
            started = time.perf_counter()
            self.chosen = self._choose(features, neighbors, graph_of, seed, extras)
            self.info["seconds_choice"] = time.perf_counter() - started
        times = [time.perf_counter()]
        if self.chosen is not None:
            self.info["k1"] = float(self.chosen.k1)
        graph, eps = self._graph_and_eps(graph_of(features, neighbors, self._chosen_ks), eps_scale)
        times.append(time.perf_counter())
        labels = dbscan(graph, eps, self.min_samples, extras.get("constraints"))
        times.append(time.perf_counter())
        jaccard, density = np.diff(times).tolist()
        self.info.update(
            eps=eps,
            mean_degree=float((graph.data <= eps).sum() / len(features)),
            seconds_jaccard=jaccard,
            seconds_dbscan=density,
        )
        return labels

    def graph(
        self,
        features: np.ndarray,
        max_distance: float,
        seed: int,
        neighbors: Neighbors | CameraNeighbors | None = None,
        *,
        epoch: int = 1,
        **extras: Any,
    ) -> sparse.csr_array:
        """As :meth:`JaccardClusterer.graph`, with the source term, and with the k1 of ``'auto'`` if it is chosen."""
        features = unit_rows(features)
        graph_of = self._graphs(features, seed, epoch, extras)
        neighbors = self.found(features, seed, neighbors)
        return graph_of(features, neighbors, self._chosen_ks)(max_distance)

    @property
    def _chosen_ks(self) -> tuple[int, int] | None:
        return None if self.chosen is None else (self.chosen.k1, self.chosen.k2)

    def _graphs(
        self, features: np.ndarray, seed: int, epoch: int, extras: dict[str, Any]
    ) -> Callable[..., Callable[[float], sparse.csr_array]]:
        """Maps rows, their neighbours and (k1, k2), or None, to what gives their graph up to any limit."""
        from_source = extras.get("from_source")
        if self.source_weight and from_source is None:
            from_source = _from_source(features, extras["source_features"])

        def graph_of(
            rows: np.ndarray,
            neighbors: Neighbors | CameraNeighbors | None,
            ks: tuple[int, int] | None,
        ) -> Callable[[float], sparse.csr_array]:
            lists = self.camera_lists.scaled(*ks) if self.auto_k1 and ks else None
            graph_up_to = self.encode(
                rows,
                seed,
                neighbors,
                epoch=epoch,
                ks=ks,
                camera_lists=lists,
                ranks=extras.get("ranks"),
            )
            return partial(graph_up_to, from_source=from_source, source_weight=self.source_weight)

        return graph_of

    def state_dict(self) -> dict[str, Any]:
        """The frozen radius and the choice, each None before the first call or if there is none; and of the search."""
        chosen = None if self.chosen is None else asdict(self.chosen)
        return dict(frozen_eps=self.frozen_eps, chosen=chosen, **super().state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it over."""
        super().load_state_dict(state)
        self.frozen_eps = state["frozen_eps"]
        chosen = state.get("chosen")
        # Of a run that is resumed with numbers in place of 'auto', these hold.
        automatic = self.auto_k1 or self.eps == "auto"
        self.chosen = Choice(**chosen) if chosen is not None and automatic else None

    def _choose(
        self,
        features: np.ndarray,
        neighbors: Neighbors | CameraNeighbors,
        graph_of: Callable[..., Callable[[float], sparse.csr_array]],
        seed: int,
        extras: dict[str, Any],
    ) -> Choice:
        """What ``'auto'`` stands for: cluster with all candidates, also halves of the features."""
        views, rng = [(features, neighbors)], make_rng(seed, "halves of features")
        for half in (half for _ in range(SPLITS) for half in split_features(features, rng)):
            rows = unit_rows(half)
            with self.aside():  # halves know nothing of each other
                prepared = self.prepare(rows, cameras=extras.get("cameras")) or {}
            views.append((rows, self.found(rows, seed, prepared.get("neighbors"))))
        settings = [(self.k1, self.k2)]
        if self.auto_k1:
            settings = [(k1, k2_for(k1)) for k1 in k1_candidates(len(features))]
        below = (1 - self.source_weight) * _BELOW_ONE
        radii = [min(eps, below) for eps in EPS_CANDIDATES]
        if self.eps != "auto":
            radii = [self.eps]  # type: ignore[list-item]
        choices, refused = [], None
        for ks in settings:
            try:
                graphs = [graph_of(*view, ks)(max(radii)) for view in views]
            except InputError as error:  # more pairs than max_memory allows
                refused = error
                continue
            for eps in radii:
                labels, *halves = (
                    dbscan(graph, eps, self.min_samples, extras.get("constraints"))
                    for graph in graphs
                )
                pairs = list(zip(halves[::2], halves[1::2]))
                score = label_score(labels, pairs, graphs[0], eps)
                choices.append(Choice(*ks, eps, score, float((labels < 0).mean())))
        if not choices:
            assert refused is not None
            raise refused
        chosen = best_choice(choices)
        print_log(f"clustering: of {len(choices)} settings, {chosen.words}", logger="current")
        return chosen

    def _graph_and_eps(
        self, graph_up_to: Callable[[float], sparse.csr_array], eps_scale: float
    ) -> tuple[sparse.csr_array, float]:
        """The graph, cut no lower than the radius, and the radius."""
        # Images without a common neighbour are at 1 - λ + λ(s_i + s_j) and not in the graph: stay below.
        widest = 1 - self.source_weight
        eps = self.frozen_eps if self.chosen is None else self.chosen.eps
        if isinstance(self.eps, float):
            eps = self.eps
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
        reach = min(RHO_REACH, widest)
        graph = graph_up_to(reach)
        if not stores_share(graph, self.rho, self.near_zero):
            reach, graph = widest, graph_up_to(widest)
        eps = rho_eps(graph, self.rho, reach, self.near_zero)
        if self.freeze_eps:
            self.frozen_eps = eps
        return graph, eps


def _from_source(
    rows: np.ndarray | Tensor, source_features: np.ndarray, shares: RowShares = ALONE
) -> np.ndarray:
    """float32 (N,), of :func:`source_distances`."""
    source = unit_rows(check_vectors(source_features, "features of the sources"))
    return source_distances(rows, source, shares=shares)
