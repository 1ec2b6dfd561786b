"""What the clusterers on the k-reciprocal Jaccard graph share: the search for neighbours, and its budget of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from scipy import sparse
from torch import Tensor

from mmreid_uda.neighbors.approximate import find_neighbors_approximately
from mmreid_uda.neighbors.cameras import CameraLists, Fill, camera_numbers
from mmreid_uda.neighbors.jaccard import (
    BYTES_PER_PAIR,
    Variant,
    jaccard_encodings,
    jaccard_from_encodings,
    neighbors_needed,
)
from mmreid_uda.neighbors.jaccard_ranks import JaccardRanks
from mmreid_uda.neighbors.knn import (
    CameraNeighbors,
    Neighbors,
    Precision,
    find_camera_neighbors,
    find_neighbors,
    search_bytes,
    unit_rows,
)
from mmreid_uda.utils import InputError, check_vectors, kernels_available, parse_size
from mmreid_uda.utils.dist import on_every_rank
from mmreid_uda.utils.values import Count, Natural

from .labels import Clusterer

__all__ = ["JaccardClusterer"]

# Fewer images take no time worth a line in the log.
_MANY = 10_000
# Images of either list in the query expansion of the first epoch.
_WARM_UP = 3


class JaccardClusterer(Clusterer):
    """A clusterer on the graph of Jaccard distances; a sub-class writes :meth:`cluster`.

    Called with cameras, the distances are the camera-aware ones.

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
            bits and rank them by float32 similarities, where the CPU is faster so, see
            :func:`~mmreid_uda.neighbors.knn`.
        max_memory: What clustering may take beside the features, such as ``'4GiB'``; None (default) sets no limit. It
            is compared with what the search needs, and stops a graph that grows too large.
        k1_intra: Neighbours within a camera, if the call has cameras; this and the next are those of
            :class:`~mmreid_uda.neighbors.CameraLists`. Defaults to 5.
        k1_inter: Neighbours in other cameras. Defaults to 20.
        k2_intra: Images of the camera in the query expansion. Defaults to 3.
        k2_inter: Images of other cameras in it. Defaults to 3.
        camera_sets: Whether sets are camera-aware. Defaults to True.
        camera_expansion: Whether the query expansion is. Defaults to True.
        fill: ``'official'`` (default) or ``'none'``: what stands behind the end of a short list.
        camera_warm_up: Whether ``k2_intra`` and ``k2_inter`` are 3 in the first epoch, as in the released code.
            Defaults to True.

    Raises:
        InputError: If a parameter is out of range.
    """

    #: Whether the distances can know of cameras.
    camera_aware = True

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
        k1_intra: Count = 5,
        k1_inter: Count = 20,
        k2_intra: Count = 3,
        k2_inter: Natural = 3,
        camera_sets: bool = True,
        camera_expansion: bool = True,
        fill: Fill = "official",
        camera_warm_up: bool = True,
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
        self.camera_lists = CameraLists(
            k1_intra, k1_inter, k2_intra, k2_inter, camera_sets, camera_expansion, fill
        )
        self.first_camera_lists = (
            replace(self.camera_lists, k2_intra=_WARM_UP, k2_inter=_WARM_UP)
            if camera_warm_up
            else self.camera_lists
        )
        self.max_memory = None if max_memory is None else parse_size(max_memory, "max_memory")

    def prepare(
        self,
        features: np.ndarray | Tensor,
        *,
        over_ranks: bool = False,
        cameras: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """Find the neighbours, on the device of the features; every rank takes a share of an exact search.

        Every rank then gets all neighbours, for its share of the distances.

        Raises:
            InputError: The features or cameras are not as expected, there are too few images for camera-aware
                distances, or the search is not exact.
        """
        rows = unit_rows(check_vectors(features, "features to cluster"))
        numbers = camera_numbers(cameras, len(rows))
        if self.search != "exact":
            if numbers is not None:
                raise InputError(
                    f"found search={self.search!r} with cameras for {type(self).__name__}, whose indexes know none: "
                    "set search='exact', or leave the cameras out of the distance."
                )
            # Not shared: rank 0 makes the index when it clusters.
            return {}
        options: dict[str, Any] = dict(
            precision=self.precision,
            with_min_similarity=self.variant == "full",
            over_ranks=over_ranks,
        )
        neighbors: Neighbors | CameraNeighbors | None
        if numbers is None:
            k = neighbors_needed(len(rows), self.k1, self.variant, self.k2)
            self._log_memory(len(rows), rows.shape[1], k)
            neighbors = find_neighbors(rows, k, **options)
        else:
            # The epoch, and so which lists it will be, is not known yet.
            needed = [
                lists.needed(numbers, self.k1, self.k2) for lists in self.lists_searched(len(rows))
            ]
            intra, inter = (max(each) for each in zip(*needed))
            self._log_memory(len(rows), rows.shape[1], intra, inter)
            neighbors = find_camera_neighbors(rows, numbers, intra, inter, **options)
        prepared = {} if neighbors is None else dict[str, Any](neighbors=neighbors)
        if over_ranks and get_world_size() > 1 and all(on_every_rank(kernels_available)):
            prepared["ranks"] = JaccardRanks(rows, neighbors)
        return prepared or None

    def lists_searched(self, num: int) -> tuple[CameraLists, ...]:
        """The lists of camera-aware distances that a search must serve.

        Args:
            num: N, images.

        Returns:
            Those of the first and of later epochs.
        """
        return self.camera_lists, self.first_camera_lists

    def found(
        self,
        features: np.ndarray,
        seed: int,
        neighbors: Neighbors | CameraNeighbors | None = None,
    ) -> Neighbors | CameraNeighbors:
        """The neighbours of :meth:`prepare`, or those of an approximate search.

        Args:
            features: float32 (N, D), rows of unit norm.
            seed: Of the approximate search.
            neighbors: What :meth:`prepare` found; None searches approximately.

        Returns:
            The neighbours.
        """
        if neighbors is not None:
            return neighbors
        neighbors, recall = find_neighbors_approximately(
            features,
            neighbors_needed(len(features), self.k1, self.variant, self.k2),
            self.search,  # type: ignore[arg-type]
            nprobe=self.nprobe,
            ef_search=self.ef_search,
            seed=seed,
        )
        self.info["recall"] = recall
        return neighbors

    def encode(
        self,
        features: np.ndarray,
        seed: int,
        neighbors: Neighbors | CameraNeighbors | None = None,
        *,
        epoch: int = 1,
        ks: tuple[int, int] | None = None,
        camera_lists: CameraLists | None = None,
        ranks: JaccardRanks | None = None,
    ) -> Callable[..., sparse.csr_array]:
        """What the distances are computed from.

        Args:
            features: float32 (N, D), rows of unit norm.
            seed: Of the approximate search.
            neighbors: What :meth:`prepare` found; None searches approximately.
            epoch: With cameras, the first, 0, may have lists of its own.
            ks: k1 and k2, no larger than those of the search; None takes those.
            camera_lists: Lists of a search with cameras, none longer than searched for; None takes those of the epoch.
            ranks: Of :meth:`prepare`, where ranks share the work.

        Returns:
            What gives the graph up to a distance: :func:`~mmreid_uda.neighbors.jaccard_from_encodings` with encodings
            and the budget given.
        """
        neighbors = self.found(features, seed, neighbors)
        held = 8 * len(features) * neighbors.num_columns
        k1, k2 = ks or (self.k1, self.k2)
        lists = camera_lists or (self.camera_lists if epoch else self.first_camera_lists)
        columns = neighbors_needed(len(features), k1, self.variant, k2)
        find = None
        if ranks is not None and neighbors is ranks.neighbors:
            find = ranks.find
            encodings = ranks.encode(columns, k1, k2, self.variant, lists)
        else:
            if isinstance(neighbors, Neighbors):
                neighbors = neighbors.first(columns)
            encodings = jaccard_encodings(
                features, neighbors, k1, k2, variant=self.variant, camera_lists=lists
            )
        max_pairs = None
        if self.max_memory is not None:
            # The encodings are there by row and by column.
            left = self.max_memory - held - 16 * encodings.nnz
            max_pairs = max(0, left) // BYTES_PER_PAIR
        return partial(jaccard_from_encodings, encodings, max_pairs=max_pairs, find=find)

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
        """The Jaccard distances up to a limit.

        Args:
            features: float32 (N, D), no zero rows.
            max_distance: The limit, in (0, 1].
            seed: As :meth:`encode`.
            neighbors: As :meth:`encode`.
            epoch: As :meth:`encode`.
            **extras: As in :meth:`Clusterer.graph`; for sub-classes.

        Returns:
            Symmetric float32 (N, N), zero diagonal stored; a pair that is not stored is farther away.
        """
        ranks = extras.get("ranks")
        graph_of = self.encode(unit_rows(features), seed, neighbors, epoch=epoch, ranks=ranks)
        return graph_of(max_distance)

    def _log_memory(self, num: int, dimensions: int, *lists: int) -> None:
        """Say what a long search for lists of so many neighbours takes, and refuse one that takes too much."""
        needed = search_bytes(num, dimensions, lists, self.precision)
        budget = "" if self.max_memory is None else f" of {self.max_memory / 2**20:.0f} MiB"
        if num >= _MANY:
            print_log(
                f"clustering: {num} features of {dimensions} dimensions, {sum(lists)} neighbours each, "
                f"{self.precision}: "
                f"{needed / 2**20:.0f} MiB{budget} beside the features",
                logger="current",
            )
        if self.max_memory is not None and needed > self.max_memory:
            raise InputError(
                f"found max_memory of {self.max_memory / 2**20:.0f} MiB for {type(self).__name__}, expected at least "
                f"{needed / 2**20:.0f} MiB to find the neighbours of {num} images: raise it, or lower k1."
            )
