"""What the clusterers on the k-reciprocal Jaccard graph share: the search for neighbours, and its budget of memory."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log
from scipy import sparse
from torch import Tensor

from mmreid_uda.neighbors.approximate import find_neighbors_approximately
from mmreid_uda.neighbors.jaccard import (
    BYTES_PER_PAIR,
    Variant,
    jaccard_distances,
    jaccard_encodings,
    neighbors_needed,
)
from mmreid_uda.neighbors.knn import Neighbors, Precision, find_neighbors, search_bytes, unit_rows
from mmreid_uda.utils import InputError, check_vectors, parse_size
from mmreid_uda.utils.values import Count

from .labels import Clusterer

__all__ = ["JaccardClusterer"]

# Fewer images take no time worth a line in the log.
_MANY = 10_000


class JaccardClusterer(Clusterer):
    """A clusterer on the graph of Jaccard distances; a sub-class writes :meth:`cluster`.

    Args:
        k1: Neighbours of the k-reciprocal sets. Defaults to 30 (MMT, ABMT: 20).
        k2: Neighbours of the local query expansion. Defaults to 6.
        variant: ``'faiss'`` (default; SpCL, Cluster-Contrast, ISE) or ``'full'`` (MMT, ABMT), see
            :func:`~mmreid_uda.neighbors.jaccard_graph`.
        search: ``'exact'`` (default), or, for a million images and more, ``'ivf'`` or ``'hnsw'``, approximate indexes
            of faiss; what they miss is measured and stands as ``recall`` in :attr:`info`. Only for the 'faiss' variant.
        nprobe: Of the search ``'ivf'``, see :func:`~mmreid_uda.neighbors.find_neighbors_approximately`.
        ef_search: Of the search ``'hnsw'``, likewise.
        precision: Of the exact search: ``'float32'`` (default), or ``'int8'``: find candidates on rows rounded to 8
            bits and rank them by float32 similarities, several times faster on CPUs, see
            :func:`~mmreid_uda.neighbors.knn`.
        max_memory: What clustering may take beside the features, such as ``'4GiB'``; None (default) sets no limit. It
            is compared with what the search needs, and stops a graph that grows too large.

    Raises:
        InputError: If a parameter is out of range.
    """

    def __init__(
        self,
        k1: Count = 30,
        k2: Count = 6,
        variant: Variant = "faiss",
        search: Literal["exact", "ivf", "hnsw"] = "exact",
        nprobe: Count = 64,
        ef_search: Count = 64,
        precision: Precision = "float32",
        max_memory: str | int | None = None,
    ) -> None:
        super().__init__()
        if search != "exact" and variant == "full":
            raise InputError(
                f"found search={search!r} with variant='full' for {type(self).__name__}, which needs the farthest "
                "image of each, too: set variant='faiss', or search='exact'."
            )
        self.k1, self.k2, self.variant = k1, k2, variant
        self.search, self.precision = search, precision
        self.nprobe, self.ef_search = nprobe, ef_search
        self.max_memory = None if max_memory is None else parse_size(max_memory, "max_memory")

    def prepare(
        self,
        features: np.ndarray | Tensor,
        *,
        over_ranks: bool = False,
        cameras: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """Find the neighbours, on the device of the features; every rank takes a share of an exact search."""
        rows = unit_rows(check_vectors(features, "features to cluster"))
        k = neighbors_needed(len(rows), self.k1, self.variant, self.k2)
        if self.search != "exact":
            # Not shared: rank 0 makes the index when it clusters.
            return {}
        self._log_memory(len(rows), rows.shape[1], k)
        neighbors = find_neighbors(
            rows,
            k,
            precision=self.precision,
            with_min_similarity=self.variant == "full",
            over_ranks=over_ranks,
        )
        return None if neighbors is None else dict(neighbors=neighbors)

    def encode(
        self, features: np.ndarray, seed: int, neighbors: Neighbors | None = None
    ) -> tuple[sparse.csr_array, int | None]:
        """What the distances are computed from.

        Args:
            features: float32 (N, D), rows of unit norm.
            seed: Of the approximate search.
            neighbors: What :meth:`prepare` found; None searches approximately.

        Returns:
            The encodings, float32 (N, N); and how many pairs of images within reach the budget allows, None = any.
        """
        if neighbors is None:
            neighbors, recall = find_neighbors_approximately(
                features,
                neighbors_needed(len(features), self.k1, self.variant, self.k2),
                self.search,  # type: ignore[arg-type]
                nprobe=self.nprobe,
                ef_search=self.ef_search,
                seed=seed,
            )
            self.info["recall"] = recall
        encodings = jaccard_encodings(features, neighbors, self.k1, self.k2, variant=self.variant)
        if self.max_memory is None:
            return encodings, None
        # The encodings are there by row and by column.
        held = 8 * neighbors.indices.size + 16 * encodings.nnz
        return encodings, max(0, self.max_memory - held) // BYTES_PER_PAIR

    def graph(
        self,
        features: np.ndarray,
        max_distance: float,
        seed: int,
        neighbors: Neighbors | None = None,
    ) -> sparse.csr_array:
        """The Jaccard distances up to a limit.

        Args:
            features: float32 (N, D), no zero rows.
            max_distance: The limit, in (0, 1].
            seed: As :meth:`encode`.
            neighbors: As :meth:`encode`.

        Returns:
            Symmetric float32 (N, N), zero diagonal stored; a pair that is not stored is farther away.
        """
        encodings, max_pairs = self.encode(unit_rows(features), seed, neighbors)
        return jaccard_distances(encodings, max_distance, max_pairs)

    def _log_memory(self, num: int, dimensions: int, k: int) -> None:
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
                f"found max_memory of {self.max_memory / 2**20:.0f} MiB for {type(self).__name__}, expected at least "
                f"{needed / 2**20:.0f} MiB to find the neighbours of {num} images: raise it, or lower k1."
            )
