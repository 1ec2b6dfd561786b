"""Exact nearest neighbours by cosine similarity, in blocks: the first step of every graph-based clusterer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor

from mmreid_uda.utils import (
    InputError,
    check_vectors,
    in_threads,
    kernels_available,
    num_threads,
    over_rows,
)
from mmreid_uda.utils.dist import gather_on_rank0
from mmreid_uda.utils.parallel import single_threaded_products
from mmreid_uda.utils.progress import Progress
from mmreid_uda.utils.values import checked

__all__ = [
    "CameraNeighbors",
    "Neighbors",
    "Precision",
    "find_camera_neighbors",
    "find_neighbors",
    "knn",
    "require_neighbors",
    "search_all",
    "search_bytes",
    "unit_rows",
]

Precision = Literal["float32", "int8"]

# Rows of a block: with kernels a block per thread, whose similarities stay in the cache (1 MiB); without, one large
# product for all threads.
_KERNEL_BLOCK = 512
_TORCH_BLOCK = 2048
# The coarse search keeps this many candidates more than neighbours; rows that would need more are searched again.
_SPARE_CANDIDATES = 18
# As many candidates has the search for the farthest row.
_FAR_CANDIDATES = 12
# Margin of the coarse search, in standard deviations of its error: one pair in 10^9 may err by more.
_DEVIATIONS = 6.5
_INT8 = 127
# A norm that differs from 1 by less is rounding.
_UNIT = 1e-6
# Rows searched anew together.
_ROWS_AGAIN = 256
# Similarities looked at together by :func:`search_all`: 64 MiB.
_SCORES_AT_ONCE = 1 << 24
# Low half of a merge key: (similarity, then lower index first) as one sortable integer.
_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1


@dataclass(frozen=True)
class Neighbors:
    """The nearest neighbours of N unit vectors, nearest first.

    Args:
        indices: int32 (N, k); the first column is the row itself.
        similarities: float32 (N, k), cosine of each of them, descending after the first column.
        min_similarity: float32 (N,), the smallest similarity of a row to *any* other row: its farthest point. None if
            it was not asked for.
    """

    indices: np.ndarray
    similarities: np.ndarray
    min_similarity: np.ndarray | None = None

    @property
    def num_columns(self) -> int:
        """Neighbours per row."""
        return self.indices.shape[1]

    def first(self, k: int) -> Neighbors:
        """The nearest ones: those that a search for fewer would have found.

        Args:
            k: Neighbours per row.

        Returns:
            At most ``k`` of them.
        """
        if k >= self.num_columns:
            return self
        return Neighbors(
            np.ascontiguousarray(self.indices[:, :k]),
            np.ascontiguousarray(self.similarities[:, :k]),
            self.min_similarity,
        )


@dataclass(frozen=True)
class CameraNeighbors:
    """The nearest neighbours in the same camera, and those in the others.

    Args:
        intra: Within the camera, the row itself first; index -1 and similarity -inf where the camera has no more.
        inter: Of other cameras, likewise, without the row itself.
    """

    intra: Neighbors
    inter: Neighbors

    @property
    def num_columns(self) -> int:
        """Neighbours per row in both lists."""
        return self.intra.num_columns + self.inter.num_columns

    @property
    def min_similarity(self) -> np.ndarray | None:
        """As :attr:`Neighbors.min_similarity`, over the images of all cameras."""
        return self.intra.min_similarity

    def together(self) -> Neighbors:
        """All of them; where a list has ended, the row itself.

        Returns:
            Indices int32 (N, k_intra + k_inter), in no order but the row itself first.
        """
        indices = np.concatenate([self.intra.indices, self.inter.indices], 1)
        similarities = np.concatenate([self.intra.similarities, self.inter.similarities], 1)
        rows, places = np.nonzero(indices < 0)
        indices[rows, places] = rows
        similarities[rows, places] = similarities[rows, 0]
        return Neighbors(indices, similarities, self.intra.min_similarity)

    def nearest(self, k: int) -> Neighbors:
        """The nearest of all cameras.

        Args:
            k: Neighbours per row, no more than either list is long unless that list has all there are.

        Returns:
            Those that :func:`find_neighbors` finds, at most ``k``.
        """
        indices = np.concatenate([self.intra.indices, self.inter.indices], 1)
        similarities = np.concatenate([self.intra.similarities, self.inter.similarities], 1)
        scores = -similarities
        scores[:, 0] = -np.inf  # the row itself, also among exact duplicates
        order = np.lexsort((indices, scores))[:, : min(k, len(indices))]
        return Neighbors(
            np.take_along_axis(indices, order, 1),
            np.take_along_axis(similarities, order, 1),
            self.intra.min_similarity,
        )


def knn(
    features: np.ndarray | Tensor,
    k: int,
    *,
    precision: Precision = "float32",
    block_size: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the ``k`` most similar rows of every row, exactly.

    A row is its own first neighbour, also among exact duplicates; other ties go to the lower index. Only the upper
    triangle of blocks is multiplied, so a similarity is the same number in both directions; memory is O(N·k) plus a
    block per thread. A CUDA tensor is searched on its device. The result does not depend on the number of threads.

    Args:
        features: float32 (N, D), rows of unit norm.
        k: Neighbours per row, itself included, ``1 <= k <= N``.
        precision: ``'float32'``, or ``'int8'``: candidates are found on rows rounded to 8 bits and ranked by their
            float32 similarities; rows for which the rounding could have hidden a neighbour are searched anew in
            float32. The error of a rounded similarity is a sum of independent rounding errors; the margin is 6.5 of
            its standard deviations. Needs numba and the CPU, else 'float32' is done.
        block_size: Rows and columns of a block of similarities (``4·block_size²`` bytes each); None chooses it.

    Returns:
        indices int32 (N, k) and similarities float32 (N, k), most similar first.

    Raises:
        InputError: If ``k`` is outside ``1..N``, the features are no matrix of finite numbers, or the precision is
            unknown.
    """
    rows = check_vectors(features, "features", "scale finite rows to unit norm", zeros=True)
    found = find_neighbors(rows, k, precision=precision, block_size=block_size)
    assert found is not None
    return found.indices, found.similarities


def search_bytes(
    num: int, dimensions: int, lists: Sequence[int], precision: Precision = "float32"
) -> int:
    """Memory that :func:`find_neighbors` or :func:`find_camera_neighbors` takes on a CPU beside the features.

    Args:
        num: N.
        dimensions: D.
        lists: Neighbours per row of each list.
        precision: As :func:`knn`.

    Returns:
        Bytes.
    """
    places = 8 * num * sum(lists)
    if not kernels_available():
        # Sortable keys, and a block with what topk makes of it.
        return 2 * places + 6 * 4 * min(_TORCH_BLOCK, num) ** 2
    blocks = 4 * min(_KERNEL_BLOCK, num) ** 2 * num_threads()
    spare = 8 * num * (len(lists) * _SPARE_CANDIDATES + _FAR_CANDIDATES)
    coarse = places + spare + num * dimensions if precision == "int8" else 0
    return places + blocks + coarse


def require_neighbors(shape: Sequence[int], k: int) -> None:
    """Refuse features that are no matrix, and more neighbours than there are images.

    Args:
        shape: Of the features.
        k: Neighbours per row.

    Raises:
        InputError: The shape is not (N, D), or ``k`` is outside 1..N.
    """
    if len(shape) != 2 or not 1 <= k <= shape[0]:
        raise InputError(
            f"found features of shape {tuple(shape)} and k={k} neighbours, expected (N, D) with 1 <= k <= N: "
            "lower k1 of the clusterer or add images."
        )


@checked
def find_neighbors(
    features: np.ndarray | Tensor,
    k: int,
    *,
    precision: Precision = "float32",
    with_min_similarity: bool = False,
    block_size: int | None = None,
    over_ranks: bool = False,
) -> Neighbors | None:
    """:func:`knn`, with the similarity to the farthest point as a by-product, and shared among ranks.

    Args:
        features: As :func:`knn`; the same on every rank.
        k: As :func:`knn`.
        precision: As :func:`knn`.
        with_min_similarity: Fill :attr:`Neighbors.min_similarity`, which scales the distances of the 'full' Jaccard
            variant.
        block_size: As :func:`knn`.
        over_ranks: Deal the blocks out to all ranks, which must all call this; the result is that of one process.

    Returns:
        The neighbours; on other ranks than 0 None, if ``over_ranks``.

    Raises:
        InputError: As :func:`knn`.
    """
    rows = torch.as_tensor(features)
    require_neighbors(rows.shape, k)
    found = _find(
        rows,
        [_Wanted(k)],
        precision=precision,
        with_min_similarity=with_min_similarity,
        block_size=block_size,
        over_ranks=over_ranks,
    )
    return None if found is None else found[0]


@checked
def find_camera_neighbors(
    features: np.ndarray | Tensor,
    cameras: np.ndarray,
    k_intra: int,
    k_inter: int,
    *,
    precision: Precision = "float32",
    with_min_similarity: bool = False,
    block_size: int | None = None,
    over_ranks: bool = False,
) -> CameraNeighbors | None:
    """The nearest in the same camera and those in the others, exactly and in one pass over the similarities.

    Args:
        features: As :func:`knn`; the same on every rank.
        cameras: int32 (N,), equal numbers for images of one camera.
        k_intra: Neighbours within the camera, the image itself included and first, ``1 <= k_intra <= N``.
        k_inter: Neighbours in other cameras, ``1 <= k_inter <= N``.
        precision: As :func:`knn`.
        with_min_similarity: As :func:`find_neighbors`: of the images of all cameras.
        block_size: As :func:`knn`.
        over_ranks: As :func:`find_neighbors`.

    Returns:
        Neighbours (N, k_intra) within and (N, k_inter) across cameras; where there are no more, the index is -1 and the
        similarity -inf. On other ranks than 0 None, if ``over_ranks``.

    Raises:
        InputError: As :func:`knn`.
    """
    rows = torch.as_tensor(features)
    require_neighbors(rows.shape, k_intra)
    require_neighbors(rows.shape, k_inter)
    found = _find(
        rows,
        [_Wanted(k_intra, cameras, same=True), _Wanted(k_inter, cameras)],
        precision=precision,
        with_min_similarity=with_min_similarity,
        block_size=block_size,
        over_ranks=over_ranks,
    )
    if found is None:
        return None
    for part in found:
        missing = part.indices == len(rows)
        part.indices[missing], part.similarities[missing] = -1, -np.inf
    return CameraNeighbors(*found)


def _find(
    rows: Tensor,
    wanted: Sequence[_Wanted],
    *,
    precision: Precision,
    with_min_similarity: bool,
    block_size: int | None,
    over_ranks: bool,
) -> list[Neighbors] | None:
    """Neighbours for every list that is wanted; the first has the row itself, and the smallest similarity."""
    rows = rows.to(torch.float32).contiguous()
    compiled = rows.device.type == "cpu" and kernels_available()
    size = block_size or (_KERNEL_BLOCK if compiled else _TORCH_BLOCK)
    starts = range(0, len(rows), size)
    blocks = [(first, second) for first in starts for second in starts[first // size :]]
    if over_ranks:
        blocks = blocks[get_rank() :: get_world_size()]
    coarse = compiled and precision == "int8"
    if not compiled:
        searches = _search_without_kernels(rows, wanted, blocks, size)
    elif not coarse:
        searches = [
            _Lists.empty(len(rows), one, np.float32, with_min_similarity and one is wanted[0])
            for one in wanted
        ]
        _search(_float_product(rows.numpy(), size), searches, blocks, size)
    else:
        scale = max(map(abs, map(float, rows.aminmax()))) / _INT8
        spare = [replace(one, k=min(one.k + _SPARE_CANDIDATES, len(rows))) for one in wanted]
        searches = [_Lists.empty(len(rows), one, np.int32) for one in spare]
        if with_min_similarity:
            far = _Wanted(max(1, min(_FAR_CANDIDATES, len(rows) - 1)), farthest=True)
            searches.append(_Lists.empty(len(rows), far, np.int32))
        _search(_int8_product(rows, scale, size), searches, blocks, size)
    if over_ranks:
        searches = _joined(searches)
        if not searches:
            return None
    min_similarity = searches[0].min_similarity
    if coarse:
        if with_min_similarity:
            min_similarity = _find_min_similarity(rows.numpy(), searches.pop(), scale)
        searches = [
            _rank_candidates(rows.numpy(), one, candidates, scale)
            for one, candidates in zip(wanted, searches)
        ]
    searches[0].scores[:, 0] = torch.einsum("nd,nd->n", rows, rows).cpu().numpy()
    if len(rows) == 1:
        min_similarity = searches[0].scores[:, 0]
    return [
        Neighbors(lists.indices, lists.scores, min_similarity if with_min_similarity else None)
        for lists in searches
    ]


def search_all(
    queries: Tensor, vectors: Tensor, k: int, own: Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compare queries with all vectors, a block of queries at a time.

    Args:
        queries: float32 (Q, D).
        vectors: float32 (N, D), on the same device.
        k: Vectors per query, ``1 <= k <= N``.
        own: int64 (Q,), the vector that is the query itself, whose similarity is then +inf. Defaults to None.

    Returns:
        Similarities float32 (Q, k), descending, and indices int64 (Q, k); of equal similarities the lower index first.
    """
    similarities = np.empty((len(queries), k), np.float32)
    indices = np.empty((len(queries), k), np.int64)
    step = max(1, _SCORES_AT_ONCE // len(vectors))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        scores = queries[part] @ vectors.T
        if own is not None:
            scores[torch.arange(len(scores)), own[part]] = torch.inf
        best = scores.topk(k, dim=1)
        similarities[part], indices[part] = best.values.cpu().numpy(), best.indices.cpu().numpy()
    order = np.lexsort((indices, -similarities))
    return np.take_along_axis(similarities, order, 1), np.take_along_axis(indices, order, 1)


@overload
def unit_rows(features: np.ndarray) -> np.ndarray: ...
@overload
def unit_rows(features: Tensor) -> Tensor: ...
def unit_rows(features: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Scale every row to unit norm.

    Args:
        features: (N, D), no zero rows, on any device.

    Returns:
        float32 (N, D); the same memory if all rows have unit norm already, as far as float32 can tell.
    """
    rows = torch.as_tensor(features).to(torch.float32)
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if not bool(((norms - 1).abs() < _UNIT).all()):
        rows = rows / norms
    return rows if isinstance(features, Tensor) else rows.numpy()


@dataclass(frozen=True)
class _Wanted:
    """Which images compete for the places of a list.

    Args:
        k: Places.
        cameras: int32 (N,); those of the row's own camera compete, or those of the others. Of length 0: all do.
        same: Whether it is those of the own camera.
        farthest: Whether the farthest win, instead of the nearest.
    """

    k: int
    cameras: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    same: bool = False
    farthest: bool = False

    @property
    def rule(self) -> tuple[np.ndarray, np.ndarray, bool]:
        """What the kernels are told of it."""
        return self.cameras, self.cameras, self.same

    @property
    def itself(self) -> bool:
        """Whether a row stands in its own list."""
        return not self.farthest and (self.same or not self.cameras.size)


@dataclass
class _Lists:
    """The nearest of each row so far; a place not yet taken has index N and the lowest score there is.

    Args:
        wanted: Who competes.
        indices: int32 (N, k).
        scores: float32 (N, k), similarities, or int32 (N, k), those of rounded rows; descending. The row itself has
            the largest value of the type.
        min_similarity: float32 (N,), smallest similarity so far; or (0,) if nobody asks.
    """

    wanted: _Wanted
    indices: np.ndarray
    scores: np.ndarray
    min_similarity: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All of it, for sending."""
        return self.indices, self.scores, self.min_similarity

    @classmethod
    def empty(
        cls, num: int, wanted: _Wanted, dtype: type, with_min_similarity: bool = False
    ) -> _Lists:
        """Lists of ``num`` rows with free places."""
        return cls(
            wanted,
            np.full((num, wanted.k), num, np.int32),
            np.full((num, wanted.k), -_largest(dtype), dtype),
            np.full(num if with_min_similarity else 0, np.inf, np.float32),
        )

    @classmethod
    def merged(cls, parts: Sequence[_Lists]) -> _Lists:
        """The best of several lists of the same rows."""
        wanted = parts[0].wanted
        indices = np.concatenate([part.indices for part in parts], 1)
        scores = np.concatenate([part.scores for part in parts], 1)
        order = np.lexsort((indices, -scores))[:, : wanted.k]
        return cls(
            wanted,
            np.take_along_axis(indices, order, 1),
            np.take_along_axis(scores, order, 1),
            np.min([part.min_similarity for part in parts], axis=0),
        )


def _joined(searches: Sequence[_Lists]) -> list[_Lists]:
    """The lists of all ranks together, on rank 0; nothing elsewhere."""
    if get_world_size() == 1:
        return list(searches)
    parts = gather_on_rank0([array for lists in searches for array in lists.arrays]) or []
    by_search = zip(
        *(
            [_Lists(lists.wanted, *part[3 * at : 3 * at + 3]) for at, lists in enumerate(searches)]
            for part in parts
        )
    )
    return [_Lists.merged(lists) for lists in by_search]


def _largest(dtype: Any) -> Any:
    return np.inf if dtype == np.float32 else np.iinfo(dtype).max


# ---- with kernels: a thread multiplies a block and lets it compete while it is still in the cache


def _search(
    product: Callable[[int, int], np.ndarray],
    searches: Sequence[_Lists],
    blocks: Sequence[tuple[int, int]],
    size: int,
) -> None:
    """Let the similarities of blocks compete for places in the lists.

    Args:
        product: Scores of the rows from one index on with the rows from another on; may be overwritten.
        searches: Changed in place; lists of the farthest come last, with the sign of their scores turned.
        blocks: First rows and first columns.
        size: Rows of a block.
    """
    from . import kernels

    locks = [threading.Lock() for _ in range(0, len(searches[0].indices), size)]
    itself = _largest(searches[0].scores.dtype)
    progress = Progress("finding neighbours", len(blocks), "blocks")

    def merge(number: int) -> None:
        first, second = blocks[number]
        progress.update(number)
        scores = product(first, second)
        if first == second:
            np.fill_diagonal(scores, itself)
        for lists in searches:
            wanted = lists.wanted
            if wanted.farthest:
                np.negative(scores, out=scores)
            among = (scores, first, second, *wanted.rule, *lists.arrays)
            if first != second:
                with locks[second // size]:
                    kernels.merge_topk_columns(*among)
            with locks[first // size]:
                kernels.merge_topk(*among)

    with single_threaded_products():
        in_threads(merge, range(len(blocks)))


def _float_product(rows: np.ndarray, size: int) -> Callable[[int, int], np.ndarray]:
    """Similarities of two blocks of rows, in a buffer of each thread: fresh memory would cost more than it holds."""
    local = threading.local()

    def product(first: int, second: int) -> np.ndarray:
        left, right = rows[first : first + size], rows[second : second + size]
        if not hasattr(local, "buffer"):
            local.buffer = np.empty(min(size, len(rows)) ** 2, np.float32)
        out = local.buffer[: len(left) * len(right)].reshape(len(left), len(right))
        return np.matmul(left, right.T, out=out)

    return product


def _int8_product(rows: Tensor, scale: float, size: int) -> Callable[[int, int], np.ndarray]:
    """Scores of two blocks of rows rounded to multiples of ``scale``: int32, similarity / scale²."""
    from . import kernels

    rounded = torch.empty(rows.shape, dtype=torch.int8)
    over_rows(kernels.round_rows, len(rows), rows.numpy(), np.float32(1 / scale), rounded.numpy())

    def product(first: int, second: int) -> np.ndarray:
        left, right = rounded[first : first + size], rounded[second : second + size]
        return torch._int_mm(left, right.T).numpy()

    return product


def _margin(scale: float) -> int:
    """Scores that may separate a row's true neighbour from one that only looks like it.

    A rounded entry is off by at most scale/2, evenly: variance scale²/12. A similarity of unit rows is off by the sum
    of two such errors weighted with unit vectors, so its variance is scale²/6 however the rows look. Both of two rows
    that are compared may be off by the margin.
    """
    return int(np.ceil(2 * _DEVIATIONS / np.sqrt(6) / scale))


def _rank_candidates(rows: np.ndarray, wanted: _Wanted, candidates: _Lists, scale: float) -> _Lists:
    """The exact lists from those of the coarse search."""
    from . import kernels

    num, num_candidates = candidates.indices.shape
    limits = candidates.scores[:, wanted.k - 1].astype(np.int64) - _margin(scale)
    lists = _Lists.empty(num, wanted, np.float32)
    found = (candidates.indices, candidates.scores, limits, wanted.itself)
    over_rows(kernels.rescore, num, rows, *found, lists.indices, lists.scores)
    if num_candidates < num:
        # The last candidate is within the margin: there may be more of them.
        uncertain = (candidates.scores[:, -1] >= limits) & (candidates.indices[:, -1] < num)
        _search_rows(rows, np.flatnonzero(uncertain), lists)
    return lists


def _find_min_similarity(rows: np.ndarray, candidates: _Lists, scale: float) -> np.ndarray:
    """The smallest similarity of each row, float32 (N,), from the farthest of the coarse search."""
    from . import kernels

    num, num_candidates = candidates.indices.shape
    limits = candidates.scores[:, 0].astype(np.int64) - _margin(scale)
    lists = _Lists.empty(num, _Wanted(1), np.float32, with_min_similarity=True)
    found = (candidates.indices, candidates.scores, limits)
    over_rows(kernels.rescore_min_similarity, num, rows, *found, lists.min_similarity)
    if num_candidates < num - 1:
        _search_rows(rows, np.flatnonzero(candidates.scores[:, -1] >= limits), lists)
    return lists.min_similarity


def _search_rows(rows: np.ndarray, chosen: np.ndarray, lists: _Lists) -> None:
    """Search some rows anew and put their lists in place.

    Args:
        rows: float32 (N, D).
        chosen: int64 (M,), the rows to search.
        lists: Those of all rows, float32, changed in place; ``min_similarity`` too, if it is there.
    """
    from . import kernels

    def search(members: np.ndarray) -> None:
        with_min_similarity = bool(lists.min_similarity.size)
        wanted, num_members = lists.wanted, len(members)
        found = _Lists.empty(num_members, wanted, np.float32, with_min_similarity)
        found.indices[:] = len(rows)
        own = wanted.cameras[members] if wanted.cameras.size else wanted.cameras
        for start in range(0, len(rows), _KERNEL_BLOCK):
            scores = rows[members] @ rows[start : start + _KERNEL_BLOCK].T
            inside = np.flatnonzero((members >= start) & (members < start + _KERNEL_BLOCK))
            scores[inside, members[inside] - start] = np.inf
            kernels.merge_topk(scores, 0, start, own, wanted.cameras, wanted.same, *found.arrays)
        lists.indices[members], lists.scores[members] = found.indices, found.scores
        if with_min_similarity:
            lists.min_similarity[members] = found.min_similarity

    parts = np.array_split(chosen, max(1, -(-len(chosen) // _ROWS_AGAIN)))
    with single_threaded_products():
        in_threads(search, parts)


# ---- without kernels, and on GPUs: torch.topk of every block


def _search_without_kernels(
    rows: Tensor, wanted: Sequence[_Wanted], blocks: Sequence[tuple[int, int]], size: int
) -> list[_Lists]:
    """As :func:`_search`, with torch on the device of the rows; ``min_similarity`` comes for free."""
    nowhere = _encode(
        torch.tensor(-torch.inf, device=rows.device), torch.tensor(len(rows), device=rows.device)
    )
    all_keys = [nowhere.repeat(len(rows), one.k) for one in wanted]
    cameras = [torch.from_numpy(one.cameras).to(rows.device) for one in wanted]
    min_similarity = torch.full((len(rows),), torch.inf, device=rows.device)

    def merge(part: slice, block: Tensor, others: slice) -> None:
        min_similarity[part] = torch.minimum(min_similarity[part], block.amin(1))
        for one, keys, camera in zip(wanted, all_keys, cameras):
            competing = block
            if len(camera):
                same = camera[part, None] == camera[None, others]
                if one.same and not bool(same.any()):
                    continue
                competing = block.masked_fill(~same if one.same else same, -torch.inf)
            _merge_topk(keys, part, competing, others.start)

    progress = Progress("finding neighbours", len(blocks), "blocks")
    for number, (first, second) in enumerate(blocks):
        progress.update(number)
        above, right = slice(first, first + size), slice(second, second + size)
        block = rows[above] @ rows[right].T
        if first == second:
            block.fill_diagonal_(torch.inf)
        else:
            merge(right, block.T.contiguous(), above)
        merge(above, block, right)
    results = []
    for one, keys in zip(wanted, all_keys):
        indices, similarities = _decode(keys)
        # Images that did not compete may stand where places are left.
        indices = indices.masked_fill(similarities == -torch.inf, len(rows)).to(torch.int32)
        arrays = (part.cpu().numpy() for part in (indices, similarities, min_similarity))
        results.append(_Lists(one, *arrays))
    return results


def _merge_topk(keys: Tensor, rows: slice, block: Tensor, first_column: int) -> None:
    """Let a block of similarities compete for the places in the running lists of its rows.

    Args:
        keys: int64 (N, k), the lists so far, changed in place.
        rows: The rows of the block.
        block: float32 (R, C); +inf marks a row itself, -inf what does not compete.
        first_column: Index of the block's first column.
    """
    values, columns = _top(block, min(keys.shape[1], block.shape[1]))
    candidates = torch.cat([keys[rows], _encode(values, columns + first_column)], 1)
    keys[rows] = candidates.topk(keys.shape[1], dim=1).values


def _top(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest entries of each row, in any order; of equal ones at the boundary those of lowest index."""
    if k == block.shape[1]:
        return block, torch.arange(k, device=block.device).expand_as(block)
    values, columns = block.topk(k + 1, dim=1)
    tied = (values[:, k - 1] == values[:, k]) & (values[:, k] > -torch.inf)
    tied = tied.nonzero().squeeze(1)
    values, columns = values[:, :k], columns[:, :k]
    if len(tied):
        # topk keeps any of the equal entries; choose again in these rows.
        entries, boundary = block[tied], values[tied, k - 1].unsqueeze(1)
        above, equal = entries > boundary, entries == boundary
        room = k - above.sum(1, keepdim=True)
        chosen = above | (equal & (equal.cumsum(1) <= room))
        columns[tied] = chosen.nonzero()[:, 1].view(-1, k)
        values[tied] = entries.gather(1, columns[tied])
    return values, columns


def _encode(similarities: Tensor, indices: Tensor) -> Tensor:
    """Integers that sort as (similarity ascending, index descending); undone by :func:`_decode`."""
    bits = (similarities + 0.0).view(torch.int32)  # + 0.0 makes -0 and +0 the same number
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
    return (ordered << _INDEX_BITS) + (_INDEX_MASK - indices)


def _decode(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Indices int64 and similarities float32 of :func:`_encode`'s integers."""
    indices = _INDEX_MASK - (keys & _INDEX_MASK)
    ordered = (keys >> _INDEX_BITS).to(torch.int32)
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    return indices, bits.view(torch.float32)
