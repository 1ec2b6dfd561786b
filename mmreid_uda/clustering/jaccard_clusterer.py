"""What the clusterers on the k-reciprocal Jaccard graph share: the search for neighbours, and its budget of memory."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from scipy import sparse
from torch import Tensor

from mmreid_uda.neighbors.approximate import (
    approximate_bytes,
    find_camera_neighbors_approximately,
    find_neighbors_approximately,
    find_neighbors_in_file,
)
from mmreid_uda.neighbors.cameras import CameraLists, Fill, camera_numbers
from mmreid_uda.neighbors.jaccard import (
    BYTES_PER_ENTRY,
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
from mmreid_uda.neighbors.neighbor_file import (
    NeighborFile,
    open_neighbors,
    read_sample,
    require_features,
)
from mmreid_uda.neighbors.vector_index import import_faiss
from mmreid_uda.utils import InputError, check_vectors, kernels_available, parse_size
from mmreid_uda.utils.dist import on_every_rank
from mmreid_uda.utils.values import Count, Natural

from .labels import Clusterer

__all__ = ["JaccardClusterer"]

_SEARCHES = ("exact", "ivf", "pq", "hnsw")
_FILE = "file:"
# Indexes of codes, which know no cameras.
_CODES = ("pq", "hnsw")
# Fewer images take no time worth a line in the log.
_MANY = 10_000
# Entries of an image's encoding for each of its neighbours, about (measured: 1.9 to 2.1).
_ENTRIES = 2
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
        search: ``'exact'`` (default), or, for a million images and more, ``'ivf'``, ``'pq'`` or ``'hnsw'``, see
            :func:`~mmreid_uda.neighbors.find_neighbors_approximately`; or ``'file:PATH'``, neighbours that another
            engine has found, see :func:`~mmreid_uda.neighbors.read_neighbors`; a sample in it must be of the features
            that :meth:`begin` is told of first. What is missed is measured and stands as ``search_recall`` in
            :attr:`info`. Only for the 'faiss' variant.
        nprobe: Of ``'ivf'`` and ``'pq'``. Defaults to 64.
        ef_search: Of ``'hnsw'``. Defaults to 64.
        refine: Whether, and for how many nearest of an image, their nearest are candidates, too. Defaults to 0.
        warm_start: Whether the neighbours of the last call are candidates of a search that is not exact, too, if there
            were as many images; then they are in every checkpoint, 4 bytes each. Defaults to False.
        precision: Of the exact search: ``'float32'`` (default), or ``'int8'``: find candidates on rows rounded to 8
            bits and rank them by float32 similarities, where the CPU is faster so, see
            :func:`~mmreid_uda.neighbors.knn`.
        max_memory: What clustering may take beside the features, such as ``'4GiB'``; None (default) sets no limit. It
            is compared with what the search needs, then with lists, encodings and pairs of the graph; one that would
            grow beyond it is refused.
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
        InputError: If a parameter is out of range, or the package faiss is missing that the search needs.
    """

    #: Whether the distances can know of cameras; not with a search that knows none.
    camera_aware = True

    def __init__(
        self,
        k1: Count = 30,
        k2: Count = 6,
        variant: Variant = "faiss",
        search: str = "exact",
        nprobe: Count = 64,
        ef_search: Count = 64,
        refine: Natural = 0,
        warm_start: bool = False,
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
        if search not in _SEARCHES and not search.startswith(_FILE):
            raise InputError(
                f"found search={search!r} for {type(self).__name__}, expected one of {', '.join(_SEARCHES)}, or "
                f"'{_FILE}PATH': mend clusterer.search."
            )
        if search != "exact" and variant == "full":
            raise InputError(
                f"found search={search!r} with variant='full' for {type(self).__name__}, which needs the farthest "
                "image of each, too: set variant='faiss', or search='exact'."
            )
        if search in _SEARCHES[1:]:
            import_faiss()  # complain when the config is read, not after an extraction
        self.k1, self.k2, self.variant = k1, k2, variant
        self.search, self.precision = search, precision
        self.camera_aware = self.camera_aware and search not in _CODES
        self.nprobe, self.ef_search = nprobe, ef_search
        self.refine, self.warm_start = refine, warm_start
        self.recall = 1.0
        self.last_found: np.ndarray | None = None
        # By the sample in it, the file of which the features were seen; and how its images are put together.
        self.seen_sample = ""
        self._of_image: np.ndarray | None = None
        self.camera_lists = CameraLists(
            k1_intra, k1_inter, k2_intra, k2_inter, camera_sets, camera_expansion, fill
        )
        self.first_camera_lists = (
            replace(self.camera_lists, k2_intra=_WARM_UP, k2_inter=_WARM_UP)
            if camera_warm_up
            else self.camera_lists
        )
        self.max_memory = None if max_memory is None else parse_size(max_memory, "max_memory")

    @property
    def path(self) -> str:
        """The file or folder of neighbours; empty where they are searched for."""
        return self.search.removeprefix(_FILE) if self.search.startswith(_FILE) else ""

    def require_images(self, num: int) -> None:
        """Refuse a file of neighbours that cannot be read, or is of another number of images."""
        if self.path:
            self._opened(num)

    def begin(self, features: np.ndarray | Tensor, of_image: np.ndarray | None = None) -> None:
        """Compare the sample in a file with the features, unless it was theirs in an earlier call.

        So what is made of the features, and what they become while they are trained, may have their candidates.
        """
        self._of_image = of_image
        sample = read_sample(self.path) if self.path else None
        if _digest(sample) not in ("", self.seen_sample):
            require_features(self.path, sample, _rows_in_memory(features))
            self.seen_sample = _digest(sample)

    def prepare(
        self,
        features: np.ndarray | Tensor,
        *,
        over_ranks: bool = False,
        cameras: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """Find the neighbours, on the device of the features; every rank takes a share.

        Every rank then gets all neighbours, for its share of the distances.

        Raises:
            InputError: The features or cameras are not as expected, there are too few images for camera-aware
                distances, or the index knows no cameras.
        """
        rows = unit_rows(check_vectors(features, "features to cluster"))
        numbers = camera_numbers(cameras, len(rows))
        options: dict[str, Any] = dict(
            precision=self.precision,
            with_min_similarity=self.variant == "full",
            over_ranks=over_ranks,
        )
        lists: tuple[int, ...]
        if numbers is None:
            lists = (neighbors_needed(len(rows), self.k1, self.variant, self.k2),)
        else:
            # The epoch, and so which lists it will be, is not known yet.
            needed = [
                one.needed(numbers, self.k1, self.k2) for one in self.lists_searched(len(rows))
            ]
            lists = tuple(max(each) for each in zip(*needed))
        file = self._file(rows) if self.path else None
        self._log_memory(len(rows), rows.shape[1], *lists, file=file)
        neighbors: Neighbors | CameraNeighbors | None
        if self.search != "exact":
            neighbors = self._approximately(rows, numbers, lists, over_ranks, file)
        elif numbers is None:
            neighbors = find_neighbors(rows, *lists, **options)
        else:
            neighbors = find_camera_neighbors(rows, numbers, *lists, **options)
        prepared = {} if neighbors is None else dict[str, Any](neighbors=neighbors)
        if over_ranks and get_world_size() > 1 and all(on_every_rank(kernels_available)):
            prepared["ranks"] = JaccardRanks(rows, neighbors)
        return prepared or None

    def _file(self, rows: np.ndarray | Tensor) -> NeighborFile:
        """The file of neighbours, of these rows or of the images that they were made of."""
        file = self._opened(len(rows) if self._of_image is None else len(self._of_image))
        if _digest(file.sample) not in ("", self.seen_sample):
            require_features(self.path, file.sample, _rows_in_memory(rows))
        return file

    def _opened(self, num: int) -> NeighborFile:
        size = os.path.getsize(self.path) if os.path.isfile(self.path) else 0
        if self.max_memory is not None and size > self.max_memory:
            raise InputError(
                f"found max_memory of {self.max_memory / 2**20:.0f} MiB for {type(self).__name__}, expected more than "
                f"the {math.ceil(size / 2**20)} MiB of {self.path!r}, which is read into memory: raise it, or name a "
                "folder with a .npy file for each array, which stay on the disk."
            )
        return open_neighbors(self.path, num, self._of_image)

    def _approximately(
        self,
        features: np.ndarray | Tensor,
        cameras: np.ndarray | None,
        lists: tuple[int, ...],
        over_ranks: bool,
        file: NeighborFile | None,
    ) -> Neighbors | CameraNeighbors | None:
        """Neighbours of an index or a file; None on other ranks than 0, if the search is shared."""
        rows = _rows_in_memory(features)
        options: dict[str, Any] = dict(refine=self.refine, over_ranks=over_ranks)
        if self.last_found is not None and len(self.last_found) == len(rows):
            options["previous"] = self.last_found
        elif self.last_found is not None:
            print_log(
                f"clustering: found neighbours of {len(self.last_found)} images or tracklets from the last clustering, "
                f"and {len(rows)} now: warm_start leaves them out",
                logger="current",
            )
        found: tuple[Neighbors | CameraNeighbors, float]
        if file is not None:
            found = find_neighbors_in_file(rows, lists, file, cameras=cameras, **options)
        else:
            options["nprobe"] = self.nprobe
            if cameras is None:
                options["ef_search"] = self.ef_search
                kind: Any = self.search
                found = find_neighbors_approximately(rows, lists[0], kind, **options)
            elif self.search == "ivf":
                found = find_camera_neighbors_approximately(rows, cameras, *lists, **options)
            else:
                raise InputError(
                    f"found search={self.search!r} with cameras for {type(self).__name__}, whose index knows none: "
                    "set search='ivf' or 'exact', or leave the cameras out of the distance."
                )
        neighbors, self.recall = found
        if self.warm_start:
            each = neighbors if isinstance(neighbors, Neighbors) else neighbors.together()
            self.last_found = each.indices
        return neighbors if not over_ranks or get_rank() == 0 else None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run starts the search from, if it starts from anything."""
        state: dict[str, Any] = {"seen_sample": self.seen_sample} if self.seen_sample else {}
        if self.last_found is not None:
            state["last_found"] = torch.from_numpy(self.last_found)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self.seen_sample = state.get("seen_sample", "")
        found = state.get("last_found")
        self.last_found = found.cpu().numpy() if self.warm_start and found is not None else None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside, the neighbours of other features of the same images are searched.

        Yields:
            Nothing; what is noted of the search before, and of no other, holds afterwards.
        """
        kept, self.last_found = (self.last_found, self.recall), None
        try:
            yield
        finally:
            self.last_found, self.recall = kept

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
        """The neighbours of :meth:`prepare`; what an approximate search has missed is noted.

        Args:
            features: float32 (N, D), rows of unit norm.
            seed: Of the run.
            neighbors: What :meth:`prepare` found; None searches here.

        Returns:
            The neighbours.
        """
        if neighbors is None:
            neighbors = (self.prepare(features) or {})["neighbors"]
        if self.search != "exact":
            self.info["search_recall"] = self.recall
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
            seed: Of the run.
            neighbors: As :meth:`found`.
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
            left = self.max_memory - held - BYTES_PER_ENTRY * encodings.nnz
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

    def _log_memory(
        self, num: int, dimensions: int, *lists: int, file: NeighborFile | None = None
    ) -> None:
        """Say what a long step with lists of so many neighbours takes, and refuse a search that takes too much."""
        if self.search == "exact":
            needed = search_bytes(num, dimensions, lists, self.precision)
        else:
            kind = self.search.partition(":")[0]
            options = (kind, self.nprobe, self.refine, file)
            needed = approximate_bytes(num, dimensions, lists, *options)
        budget = "" if self.max_memory is None else f", of {self.max_memory / 2**20:.0f} MiB"
        if num >= _MANY:
            held = 8 * num * sum(lists)
            encodings = BYTES_PER_ENTRY * _ENTRIES * num * sum(lists)
            print_log(
                f"clustering: {num} features of {dimensions} dimensions, {sum(lists)} neighbours each, "
                f"{self.precision if self.search == 'exact' else self.search}: "
                f"{needed / 2**20:.0f} MiB for the search, then {held / 2**20:.0f} for the lists, about "
                f"{encodings / 2**20:.0f} for encodings and their work, {BYTES_PER_PAIR} bytes for each pair within "
                f"eps{budget} beside the features",
                logger="current",
            )
        if self.max_memory is not None and needed > self.max_memory:
            less = "or lower k1"
            if file is not None:
                less = f"lower k1, or name fewer than {file.widest} candidates in {self.path!r}"
            raise InputError(
                f"found max_memory of {self.max_memory / 2**20:.0f} MiB for {type(self).__name__}, expected at least "
                f"{math.ceil(needed / 2**20)} MiB to find the neighbours of {num} images: raise it, {less}."
            )


def _digest(sample: np.ndarray | None) -> str:
    return "" if sample is None else hashlib.sha256(sample.tobytes()).hexdigest()[:16]


def _rows_in_memory(features: np.ndarray | Tensor) -> np.ndarray:
    """The same rows for NumPy; no copy of those on a CPU or in a file."""
    return features.cpu().numpy() if isinstance(features, Tensor) else features
