"""An index of vectors that others search: exact by torch, or approximate by faiss."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmreid_uda.utils import InputError, check_vectors, make_rng
from mmreid_uda.utils.choices import IndexKind
from mmreid_uda.utils.packages import import_package
from mmreid_uda.utils.values import Count, checked, fit
from mmreid_uda.utils.vectors import as_tensor

from .inverted_lists import number_of_lists
from .knn import search_all, unit_rows

__all__ = [
    "EF_CONSTRUCTION",
    "LINKS",
    "VectorIndex",
    "build_engine",
    "import_faiss",
    "set_search_width",
    "training_seed",
]

# Links of an image in the graph, and candidates looked at while it is built.
LINKS, EF_CONSTRUCTION = 32, 80
_MADE_ANEW = "extract them anew with a checkpoint that gives such features"


@checked
class VectorIndex:
    """Unit vectors that are searched by cosine similarity.

    ``'flat'`` compares with all vectors and needs no faiss. ``'ivf'`` sorts the vectors into ``4·sqrt(N)`` lists by
    k-means and looks into the nearest lists (Sivic & Zisserman, ICCV 2003). ``'hnsw'`` walks a graph of near vectors
    (Malkov & Yashunin, TPAMI 2020): fast to search, slow to build, and its links depend on the timing of the threads.

    Attributes:
        kind: ``'flat'``, ``'ivf'`` or ``'hnsw'``.
        nprobe: Lists that a search of ``'ivf'`` looks at; may be changed between searches.
        ef_search: Candidates that a search of ``'hnsw'`` keeps on its walk; likewise.

    Args:
        features: float (N, D), finite, no zero rows; scaled to unit norm if they are not.
        kind: See above. Defaults to ``'flat'``.
        nprobe: See above; more finds more and takes longer. Defaults to 64.
        ef_search: See above; likewise. Defaults to 64.
        seed: Of the k-means.

    Raises:
        InputError: If a parameter is out of range, features are not as expected, or faiss is missing and needed.
    """

    def __init__(
        self,
        features: np.ndarray,
        kind: IndexKind = "flat",
        *,
        nprobe: Count = 64,
        ef_search: Count = 64,
        seed: int = 0,
    ) -> None:
        rows = unit_rows(check_vectors(features, "features of the gallery", _MADE_ANEW))
        self.kind, self.nprobe, self.ef_search = kind, nprobe, ef_search
        self._engine: Any = as_tensor(rows) if kind == "flat" else build_engine(rows, kind, seed)

    def __len__(self) -> int:
        return len(self._engine) if self.kind == "flat" else int(self._engine.ntotal)

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return self._engine.shape[1] if self.kind == "flat" else int(self._engine.d)

    @checked
    def search(self, queries: Any, k: Count) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest vectors of each query.

        Args:
            queries: float (Q, D), finite, no zero rows.
            k: Vectors per query, >= 1; at most N are given.

        Returns:
            similarities float32 (Q, K), descending, and indices int64 (Q, K) with ``K = min(k, N)``; where an
            approximate search finds fewer, the rest is -inf and -1.

        Raises:
            InputError: The queries are not as expected or have another dimension, or ``k`` is below 1.
        """
        rows = check_vectors(queries, "features of the queries", _MADE_ANEW)
        if rows.shape[1] != self.dim:
            raise InputError(
                f"found queries of shape {rows.shape}, expected (Q, {self.dim}): take the features of the model that "
                "made the index."
            )
        rows = unit_rows(rows)
        k = min(k, len(self))
        if self.kind == "flat":
            return search_all(as_tensor(rows), self._engine, k)
        # A walk that keeps fewer candidates than k cannot give k.
        set_search_width(self._engine, self.kind, self.nprobe, max(self.ef_search, k))
        similarities, indices = self._engine.search(rows, k)
        similarities[indices < 0] = -np.inf
        return similarities, indices

    def vectors(self, positions: np.ndarray | None = None) -> np.ndarray:
        """The vectors themselves.

        Args:
            positions: int64 (M,), which ones; None for all.

        Returns:
            float32 (M, D), rows of unit norm; all vectors of ``'flat'`` are the index's own memory.
        """
        if self.kind == "flat":
            rows = self._engine.numpy()
            return rows if positions is None else rows[positions]
        if positions is None:
            positions = np.arange(len(self))
        if self.kind == "ivf":
            self._engine.make_direct_map()
        return self._engine.reconstruct_batch(np.ascontiguousarray(positions, np.int64))

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file needs.

        Returns:
            The options as arrays without dimensions, and ``features``, float32 (N, D), or ``index``, faiss's bytes,
            which hold them.
        """
        content = (
            {"features": self._engine.numpy()}
            if self.kind == "flat"
            else {"index": import_faiss().serialize_index(self._engine)}
        )
        options = dict(kind=self.kind, nprobe=self.nprobe, ef_search=self.ef_search)
        return {name: np.array(value) for name, value in options.items()} | content

    @classmethod
    def from_arrays(cls, arrays: Any) -> VectorIndex:
        """Undo :meth:`arrays`; ``features`` alone are a flat index.

        Args:
            arrays: A mapping such as an opened ``.npz`` file.

        Returns:
            An index that answers as the one before.

        Raises:
            KeyError: Neither features nor an index are there.
            Misfit: An option is unknown.
            InputError: Features are not as expected.
        """
        kind = str(arrays["kind"]) if "kind" in arrays else "flat"
        # Version 0.1 had one number for both.
        old = int(arrays.get("effort", 64))
        nprobe, ef_search = (int(arrays.get(name, old)) for name in ("nprobe", "ef_search"))
        if kind == "flat":
            return cls(arrays["features"], nprobe=nprobe, ef_search=ef_search)
        index = cls.__new__(cls)
        index.kind = fit(kind, IndexKind)
        index.nprobe, index.ef_search = fit(nprobe, Count), fit(ef_search, Count)
        index._engine = import_faiss().deserialize_index(arrays["index"])
        return index


def build_engine(rows: np.ndarray, kind: str, seed: int) -> Any:
    """Build faiss's index of unit rows, by inner product.

    Args:
        rows: float32 (N, D), contiguous.
        kind: ``'ivf'`` or ``'hnsw'``.
        seed: Of the k-means of an inverted file.

    Returns:
        faiss's index.

    Raises:
        InputError: faiss is missing.
    """
    faiss = import_faiss()
    return _inverted_file(faiss, rows, seed) if kind == "ivf" else _graph(faiss, rows)


def training_seed(seed: int) -> int:
    """The seed of k-means.

    Args:
        seed: Of the search.

    Returns:
        A number that faiss takes.
    """
    return int(make_rng(seed, "inverted file").integers(2**31))


def set_search_width(engine: Any, kind: str, nprobe: int, ef_search: int) -> None:
    """Say how many lists or candidates a search looks at.

    Args:
        engine: faiss's index, changed in place.
        kind: ``'hnsw'``; others are inverted files.
        nprobe: Lists of an inverted file.
        ef_search: Candidates, of ``'hnsw'``.
    """
    if kind == "hnsw":
        engine.hnsw.efSearch = ef_search
    else:
        engine.nprobe = min(nprobe, engine.nlist)


def _inverted_file(faiss: Any, rows: np.ndarray, seed: int) -> Any:
    num, dim = rows.shape
    lists = number_of_lists(num)
    engine = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    engine.cp.seed = training_seed(seed)
    engine.cp.min_points_per_centroid = 1  # faiss would warn of a small gallery on stdout
    engine.train(rows)
    engine.add(rows)
    return engine


def _graph(faiss: Any, rows: np.ndarray) -> Any:
    engine = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    engine.hnsw.efConstruction = EF_CONSTRUCTION
    engine.add(rows)
    return engine


def import_faiss() -> Any:
    """The package faiss.

    Returns:
        The module.

    Raises:
        InputError: It is not installed.
    """
    return import_package(
        "faiss", "the approximate search for neighbours", "mmreid_uda[cpu]", "search exactly"
    )
