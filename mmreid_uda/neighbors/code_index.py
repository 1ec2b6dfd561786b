"""Indexes of faiss that hold codes instead of rows, for candidates that are ranked by the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .inverted_lists import draw_sample, number_of_lists
from .vector_index import EF_CONSTRUCTION, LINKS, import_faiss, set_search_width, training_seed

__all__ = ["build_codes", "code_bytes", "search_codes"]

# Candidates for each neighbour: the coarser the codes, the more.
_CANDIDATES = {"ivf": 2, "hnsw": 2, "pq": 4}
# Dimensions that one byte of a product code stands for, and its bits.
_DIMENSIONS_PER_BYTE, _BITS = 4, 8
# Rows given to an index at once.
_ROWS = 1 << 16


def build_codes(rows: np.ndarray, kind: str, seed: int) -> Any:
    """Build an index, a block of rows at a time; it is trained on a sample.

    Args:
        rows: float32 (N, D), unit rows; may be mapped from a file.
        kind: ``'ivf'`` and ``'hnsw'`` hold rows in half precision, ``'pq'`` product codes.
        seed: Of the sample and the k-means.

    Returns:
        faiss's index, by inner product.

    Raises:
        InputError: faiss is missing.
    """
    faiss = import_faiss()
    num, dim = rows.shape
    half, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    lists = number_of_lists(num)
    sample = np.ascontiguousarray(draw_sample(rows, lists, seed))
    if kind == "hnsw":
        engine = faiss.IndexHNSWSQ(dim, half, LINKS, metric)
        engine.hnsw.efConstruction = EF_CONSTRUCTION
    else:
        coarse = faiss.IndexFlatIP(dim)
        if kind == "ivf" or num == 1:  # two images are the least that codes are made of
            engine = faiss.IndexIVFScalarQuantizer(coarse, dim, lists, half, metric)
        else:
            # Not more centers than images to train them.
            bits = min(_BITS, max(1, len(sample).bit_length() - 1))
            engine = faiss.IndexIVFPQ(coarse, dim, lists, _code_size(dim), bits, metric)
            engine.pq.cp.seed, engine.pq.cp.min_points_per_centroid = training_seed(seed), 1
        engine.cp.seed, engine.cp.min_points_per_centroid = training_seed(seed), 1
        engine.cp.max_points_per_centroid = max(1, -(-len(sample) // lists))
    engine.train(sample)
    for start in range(0, num, _ROWS):
        engine.add(np.ascontiguousarray(rows[start : start + _ROWS]))
    return engine


def search_codes(
    rows: np.ndarray, engine: Any, kind: str, k: int, nprobe: int, ef_search: int, size: int
) -> Callable[[int], list[np.ndarray]]:
    """A function that names candidates.

    Args:
        rows: float32 (N, D).
        engine: Of :func:`build_codes`; goes to this process's GPU if faiss has one and can search this kind there.
        kind: As there.
        k: Neighbours.
        nprobe: Lists to look at.
        ef_search: Candidates on a walk.
        size: Rows searched at once.

    Returns:
        First row -> a list of one array, int32 (n, c), candidates of the rows from there on; -1 = no more.
    """
    num = min(_CANDIDATES[kind] * k, len(rows))
    set_search_width(engine, kind, nprobe, max(ef_search, num))
    faiss = import_faiss()
    if kind != "hnsw" and getattr(faiss, "get_num_gpus", int)():
        device, width = torch.cuda.current_device(), engine.nprobe
        engine = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device, engine)
        engine.nprobe = width

    def name(first: int) -> list[np.ndarray]:
        block = np.ascontiguousarray(rows[first : first + size])
        return [engine.search(block, num)[1].astype(np.int32)]

    return name


def code_bytes(num: int, dim: int, kind: str) -> int:
    """Memory of an index.

    Args:
        num: N.
        dim: D.
        kind: As :func:`build_codes`.

    Returns:
        Bytes, its training sample included.
    """
    lists = number_of_lists(num)
    # An inverted file numbers its rows with 8 bytes; a graph has twice the links in its lowest level.
    row = {"ivf": 2 * dim + 8, "hnsw": 2 * dim + 8 * LINKS + 16, "pq": _code_size(dim) + 8}[kind]
    return num * row + 4 * dim * (lists + min(num, max(64 * lists, 1 << 14)))


def _code_size(dim: int) -> int:
    """Bytes of a product code, which divide D."""
    most = max(1, dim // _DIMENSIONS_PER_BYTE)
    return next(size for size in range(most, 0, -1) if dim % size == 0)
