"""Rows of the Jaccard distance shared by all ranks, which rank 0 asks for while the others wait for its labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from mmengine.dist import get_rank
from scipy import sparse
from torch import Tensor

from mmreid_uda.utils.dist import HeldByAll, share_from_rank0
from mmreid_uda.utils.row_shares import RowShares

from .cameras import CameraLists
from .jaccard import Variant, find_pairs, jaccard_encodings
from .knn import CameraNeighbors, Neighbors

__all__ = ["JaccardRanks"]


class JaccardRanks(HeldByAll):
    """What every rank needs to do its share: the features, the neighbours, and later the encodings.

    All ranks create it together; then rank 0 calls :meth:`encode` and :meth:`find`. Results are those of one process,
    to the last bit: each row is computed by one process, in the same order of sums.

    Args:
        features: float32 (N, D), rows of unit norm, the same on every rank.
        neighbors: Of these features, on rank 0; None elsewhere.
    """

    def __init__(
        self, features: np.ndarray | Tensor, neighbors: Neighbors | CameraNeighbors | None
    ) -> None:
        super().__init__()
        self._features = features
        arrays = share_from_rank0(lambda: _arrays(neighbors))
        #: Of these features, on every rank.
        self.neighbors = _neighbors(arrays) if get_rank() or neighbors is None else neighbors
        self._encodings: sparse.csr_array | None = None

    def encode(
        self,
        num_columns: int | None,
        k1: int,
        k2: int,
        variant: Variant,
        camera_lists: CameraLists,
    ) -> sparse.csr_array:
        """Steps 2 to 5, see :func:`~mmreid_uda.neighbors.jaccard_encodings`; on rank 0.

        Args:
            num_columns: Neighbours to look at; None takes all.
            k1: As there.
            k2: As there.
            variant: As there.
            camera_lists: As there.

        Returns:
            The encodings, which stay with all ranks until the next.
        """
        self.on_all_ranks("_encode", num_columns, k1, k2, variant, camera_lists)
        assert self._encodings is not None
        return self._encodings

    def find(
        self, encodings: sparse.csr_array, max_distance: float, max_pairs: int | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The pairs of step 6, see :func:`~mmreid_uda.neighbors.jaccard.find_pairs`; on rank 0.

        Args:
            encodings: As there; those that :meth:`encode` gave last are shared.
            max_distance: As there.
            max_pairs: As there.

        Returns:
            As there.

        Raises:
            InputError: As there.
        """
        if encodings is not self._encodings:
            return find_pairs(encodings, max_distance, max_pairs)
        return iter(self.on_all_ranks("_find", max_distance, max_pairs))

    def _encode(
        self,
        num_columns: int | None,
        k1: int,
        k2: int,
        variant: Variant,
        camera_lists: CameraLists,
        *,
        together: bool,
    ) -> None:
        self._encodings = None  # make room
        neighbors = self.neighbors
        if num_columns is not None and isinstance(neighbors, Neighbors):
            neighbors = neighbors.first(num_columns)
        self._encodings = jaccard_encodings(
            self._features,
            neighbors,
            k1,
            k2,
            variant=variant,
            camera_lists=camera_lists,
            shares=RowShares(together),
        )

    def _find(
        self, max_distance: float, max_pairs: int | None, *, together: bool
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        assert self._encodings is not None
        return list(find_pairs(self._encodings, max_distance, max_pairs, RowShares(together)))


def _arrays(neighbors: Neighbors | CameraNeighbors | None) -> list[np.ndarray]:
    """Lists as arrays, three for each of them."""
    assert neighbors is not None
    both = (
        (neighbors.intra, neighbors.inter)
        if isinstance(neighbors, CameraNeighbors)
        else (neighbors,)
    )
    arrays = []
    for lists in both:
        smallest = lists.min_similarity
        arrays += [lists.indices, lists.similarities]
        arrays.append(np.empty(0, np.float32) if smallest is None else smallest)
    return arrays


def _neighbors(arrays: list[np.ndarray]) -> Neighbors | CameraNeighbors:
    """The lists of :func:`_arrays`."""
    both = [
        Neighbors(indices, similarities, smallest if len(smallest) else None)
        for indices, similarities, smallest in zip(arrays[::3], arrays[1::3], arrays[2::3])
    ]
    return CameraNeighbors(*both) if len(both) == 2 else both[0]
