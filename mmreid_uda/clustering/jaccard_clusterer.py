"""What the clusterers on the k-reciprocal Jaccard graph share that need no radius to cut it: neighbours and graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from torch import Tensor

from mmreid_uda.utils import InputError

from .jaccard import Variant, jaccard_distances, jaccard_encodings, neighbours_needed
from .knn import find_neighbours, unit_rows
from .labels import Clusterer, check_features

__all__ = ["JaccardClusterer"]


class JaccardClusterer(Clusterer):
    """A clusterer on the graph of Jaccard distances; a sub-class writes :meth:`cluster` with :meth:`graph`.

    Args:
        k1: Neighbours of the k-reciprocal sets. Defaults to 30.
        k2: Neighbours of the local query expansion. Defaults to 6.
        variant: ``'faiss'`` (default) or ``'full'``, see :func:`~mmreid_uda.clustering.jaccard_graph`.
        max_distance: In (0, 1]: pairs farther apart count as having no neighbour in common, distance 1. At 1 nothing is
            changed, and the graph has many times the entries of one cut at 0.9, the default.

    Raises:
        InputError: If a parameter is out of range.
    """

    def __init__(
        self,
        k1: int = 30,
        k2: int = 6,
        variant: Variant = "faiss",
        max_distance: float = 0.9,
    ) -> None:
        super().__init__()
        neighbours_needed(1, k1, variant, k2)  # complains now, not at the first epoch
        if not 0 < max_distance <= 1:
            raise InputError(
                f"found max_distance={max_distance} for {type(self).__name__}, expected 0 < max_distance <= 1."
            )
        self.k1, self.k2, self.variant, self.max_distance = k1, k2, variant, max_distance

    def prepare(
        self, features: np.ndarray | Tensor, *, over_ranks: bool = False
    ) -> dict[str, Any] | None:
        """Find the neighbours, on the device of the features; every rank takes a share of the blocks."""
        rows = unit_rows(check_features(features))
        neighbours = find_neighbours(
            rows,
            neighbours_needed(len(rows), self.k1, self.variant, self.k2),
            with_lowest=self.variant == "full",
            over_ranks=over_ranks,
        )
        return None if neighbours is None else dict(neighbours=neighbours)

    def graph(self, features: np.ndarray, **extras: Any) -> sparse.csr_array:
        """The Jaccard distances up to ``max_distance``.

        Args:
            features: float32 (N, D), no zero rows.
            **extras: What :meth:`prepare` returned.

        Returns:
            Symmetric float32 (N, N), zero diagonal stored; a pair that is not stored is at distance 1.
        """
        encodings = jaccard_encodings(
            unit_rows(features), extras["neighbours"], self.k1, self.k2, variant=self.variant
        )
        return jaccard_distances(encodings, self.max_distance)
