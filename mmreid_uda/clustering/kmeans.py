"""K-means with a fixed number of clusters, as MMT and MEB-Net use it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size
from torch import Tensor

from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError, check_vectors, make_rng
from mmreid_uda.utils.values import Count
from mmreid_uda.utils.vectors import as_tensor

from .labels import Clusterer
from .lloyd import LloydRanks, lloyd, lloyd_of_sklearn

__all__ = ["KMeans", "kmeans_plus_plus", "on_device"]


@CLUSTERERS.register_module()
class KMeans(Clusterer):
    """K-means on the features as they are (MMT does not normalise the mean of its two teachers); no outliers.

    On a CPU scikit-learn does the iterations: it is a dependency anyway, works in float32 on all cores, and revives
    empty clusters; of several ranks, the first alone. Features on a GPU are clustered there, by the same rules and by
    all ranks together, see :func:`lloyd`: labels are the same on any number of them.

    The start is :func:`kmeans_plus_plus`: scikit-learn's greedy choice, in float32, several times faster.
    faiss starts from random images instead: on 12,936 synthetic features with K = 500 its clusters agree clearly less
    with the identities (NMI .79 against .84).

    A call repeats itself on the same machine. With more than two threads scikit-learn adds the threads' partial sums in
    any order, which can change the last bit of a centre; ``OMP_NUM_THREADS=1`` excludes it. On a GPU there is no such
    exception.

    :attr:`info` has ``inertia`` (sum of squared distances to the centres) and ``iterations``.

    Source: Lloyd, 1982; the starts: Arthur & Vassilvitskii, "k-means++", SODA 2007.

    Args:
        num_clusters: K; MMT 500, 700 or 900 on Market-1501 and DukeMTMC-reID, up to 2000 on MSMT17.
        num_starts: Keep the best of so many starts. Defaults to 1 (MMT's scikit-learn of the time: 10).
        max_iterations: Longest run of one start. Defaults to 300.

    Raises:
        InputError: If a parameter is below 1, or there are fewer images than clusters.

    Example:
        >>> clusterer = dict(type='KMeans', num_clusters=500)
    """

    def __init__(
        self, num_clusters: Count, num_starts: Count = 1, max_iterations: Count = 300
    ) -> None:
        super().__init__()
        self.num_clusters, self.num_starts = num_clusters, num_starts
        self.max_iterations = max_iterations

    def prepare(
        self,
        features: np.ndarray | Tensor,
        *,
        over_ranks: bool = False,
        cameras: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """Keep features that are on a GPU, of every rank, for the iterations."""
        if not (isinstance(features, Tensor) and features.is_cuda):
            return {}
        return on_device(check_vectors(features, "features to cluster"), over_ranks)

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; the draws follow from (seed, epoch), and ``eps_scale`` has no meaning here.

        Raises:
            InputError: If there are fewer images than clusters.
        """
        if len(features) < self.num_clusters:
            raise InputError(
                f"found {len(features)} images for num_clusters={self.num_clusters}, expected at least as many images "
                "as clusters: lower num_clusters of KMeans."
            )
        rng = make_rng(seed, epoch, "kmeans")
        rows, iterate = extras.get("rows", features), extras.get("iterate")
        runs = []
        for _ in range(self.num_starts):
            start = kmeans_plus_plus(rows, self.num_clusters, rng)
            if iterate is None:
                runs.append(lloyd_of_sklearn(features, start, self.max_iterations))
            else:
                runs.append(iterate(start, self.max_iterations))
        best = min(runs, key=lambda run: run.inertia)
        self.info = dict(inertia=best.inertia, iterations=float(best.iterations))
        return best.labels


def on_device(rows: Tensor, over_ranks: bool) -> dict[str, Any]:
    """What :class:`KMeans` clusters by torch.

    Args:
        rows: float32 (N, D), the same on every rank, each on its device.
        over_ranks: Whether ranks share the iterations; then all call this together.

    Returns:
        Arguments of :meth:`KMeans.cluster`.
    """
    shared = over_ranks and get_world_size() > 1
    return dict(rows=rows, iterate=LloydRanks(rows) if shared else partial(lloyd, rows))


def kmeans_plus_plus(
    features: np.ndarray | Tensor, num_clusters: int, rng: np.random.Generator
) -> np.ndarray:
    """Choose images to start from, far from each other: greedy k-means++ (Arthur & Vassilvitskii, 2007).

    Every step draws ``2 + ln K`` candidates with probability proportional to the squared distance to the nearest image
    chosen so far, and keeps the one that lowers the sum of these distances most.

    Args:
        features: float32 (N, D), on any device.
        num_clusters: K <= N.
        rng: Source of the draws.

    Returns:
        int64 (K,), indices of the chosen images.
    """
    rows = as_tensor(features)
    squares = torch.einsum("nd,nd->n", rows, rows)

    def squared_distances(candidates: np.ndarray) -> Tensor:
        distances = squares + squares[candidates, None] - 2 * (rows[candidates] @ rows.T)
        distances[torch.arange(len(candidates)), candidates] = (
            0  # or rounding would let an image be drawn again
        )
        return distances.clamp_(min=0)

    chosen = np.empty(num_clusters, np.int64)
    chosen[0] = rng.integers(len(features))
    nearest = squared_distances(chosen[:1])[0]
    num_candidates = 2 + int(np.log(num_clusters))
    for step in range(1, num_clusters):
        cumulated = np.cumsum(nearest.cpu().numpy(), dtype=np.float64)
        draws = np.searchsorted(cumulated, rng.random(num_candidates) * cumulated[-1], "right")
        candidates = np.minimum(draws, len(features) - 1)
        lowered = torch.minimum(nearest, squared_distances(candidates))
        best = int(lowered.sum(1, dtype=torch.float64).argmin())
        chosen[step], nearest = candidates[best], lowered[best]
    return chosen
