"""The exact search on CPUs, with kernels: a thread multiplies a block and lets it compete while it is in the cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmreid_uda.utils import in_threads, over_rows
from mmreid_uda.utils.dist import run_on_rank0
from mmreid_uda.utils.parallel import single_threaded_products
from mmreid_uda.utils.progress import Progress

from .lists import Lists, Wanted, largest

__all__ = [
    "FAR_CANDIDATES",
    "KERNEL_BLOCK",
    "MOST_SPARE",
    "Coarse",
    "Precision",
    "choose_coarse",
    "rank_lists",
    "search_by_kernels",
    "search_rows",
]

Precision = Literal["float32", "int8"]

# Rows of a block, which a thread multiplies; its similarities stay in the cache (1 MiB).
KERNEL_BLOCK = 512
# The coarse search keeps one of these numbers of candidates more than neighbours. Rows that would need more are
# searched again, each for two of the whole search. So many rows are asked first, and so large a share of them may.
MOST_SPARE = 130
_SPARES = (18, 66, MOST_SPARE)
_ASKED, _MOST_UNCERTAIN = 64, 0.1
# So many where its products are in float32 all the same, and what may separate two similarities that differ by the
# order of their sums alone: thirty times what was met at 2,048 dimensions.
_SPARE_OF_FLOATS, _ORDER_OF_SUMS = 4, 1e-5
# As many candidates has the search for the farthest row.
FAR_CANDIDATES = 12
# Margin of the coarse search, in standard deviations of its error: one pair in 10^9 may err by more.
_DEVIATIONS = 6.5
# And no less than so many times the largest error in a sample, which of errors by chance is 4.6 deviations.
_SEEN = 1.25
# Entries of that sample: 512 rows of 2,048 dimensions, fewer of more.
_SAMPLED = 512 * 2048
_INT8 = 127
# Rows searched anew together.
_ROWS_AGAIN = 256
# Size of the products that are timed (128 rows of 2048 dimensions), how often, and how much faster int8 must be, whose
# candidates are ranked anew; with fewer dimensions that costs more than the products gain.
_TIMED, _TIMES, _GAIN, _FEWEST_DIMENSIONS = 128 * 128 * 2048, 5, 1.25, 512

_clock = time.perf_counter
_faster: dict[int, Precision] = {}


@dataclass(frozen=True)
class Coarse:
    """What finds the candidates.

    Args:
        precision: Of the products.
        spare: Candidates beyond the neighbours.
    """

    precision: Precision
    spare: int


def search_by_kernels(
    rows: Tensor,
    wanted: Sequence[Wanted],
    blocks: Sequence[tuple[int, int]],
    size: int,
    coarse: Coarse | None,
    with_min_similarity: bool,
) -> list[Lists]:
    """Let the similarities of blocks compete.

    Args:
        rows: float32 (N, D), on the CPU.
        wanted: Who competes.
        blocks: First rows and first columns.
        size: Rows of a block.
        coarse: What finds candidates for :func:`rank_lists`; None finds the neighbours themselves.
        with_min_similarity: Whether the farthest rows are asked for as well.

    Returns:
        A list for each that is wanted; of candidates one more, of the farthest, if they are asked for.
    """
    num = len(rows)
    if coarse is None:
        searches = [
            Lists.empty(num, one, np.float32, with_min_similarity and one is wanted[0])
            for one in wanted
        ]
        _search(_float_product(rows.numpy(), size), searches, blocks, size)
        return searches
    in_bytes = coarse.precision == "int8"
    far, dtype = (FAR_CANDIDATES, np.int32) if in_bytes else (coarse.spare, np.float32)
    searches = [
        Lists.empty(num, replace(one, k=min(one.k + coarse.spare, num)), dtype) for one in wanted
    ]
    if with_min_similarity:
        farthest = Wanted(max(1, min(far, num - 1)), farthest=True)
        searches.append(Lists.empty(num, farthest, dtype))
    product = _int8_product(rows, size) if in_bytes else _float_product(rows.numpy(), size)
    _search(product, searches, blocks, size)
    return searches


def rank_lists(
    rows: Tensor, wanted: Sequence[Wanted], searches: list[Lists], with_min_similarity: bool
) -> list[Lists]:
    """The exact lists from those of a coarse search, bit for bit the same whatever found the candidates.

    Args:
        rows: As :func:`search_by_kernels`.
        wanted: Likewise.
        searches: What it gave.
        with_min_similarity: Likewise.

    Returns:
        A list for each that is wanted; the first has the smallest similarities.
    """
    candidates = list(searches)
    margin = _ORDER_OF_SUMS if candidates[0].scores.dtype == np.float32 else _margin(rows)
    farthest = candidates.pop() if with_min_similarity else None
    ranked = [
        _rank_candidates(rows.numpy(), one, found, margin) for one, found in zip(wanted, candidates)
    ]
    if farthest is not None:
        ranked[0].min_similarity = _find_min_similarity(rows.numpy(), farthest, margin)
    return ranked


def choose_coarse(rows: Tensor, wanted: Sequence[Wanted], over_ranks: bool) -> Coarse | None:
    """What finds candidates fastest: on this CPU, of these features.

    Products of bytes and of float32 are timed when D is met first. Without instructions for bytes (avx512_vnni,
    avx_vnni, amx_int8) int8 gains nothing, and by torch's own loop it is slower many times. Where many similarities are
    closer together than bytes can tell, as before any training, a sample of rows tells how many candidates are needed,
    or that it would be too many. The neighbours are the same bit for bit: a clock must not decide about results.

    Args:
        rows: float32 (N, D), on the CPU.
        wanted: Who competes.
        over_ranks: Take the choice of rank 0; all ranks must call this then.

    Returns:
        int8 where its products take less time by a quarter and leave few rows uncertain, else float32; None with fewer
        than 512 dimensions, where candidates gain nothing on any CPU.
    """
    dimensions = rows.shape[1]
    if dimensions < _FEWEST_DIMENSIONS:
        return None

    def choose() -> Coarse:
        if dimensions not in _faster:
            _faster[dimensions] = _timed(rows)
        spare = _spare_of_bytes(rows, wanted) if _faster[dimensions] == "int8" else None
        return Coarse("int8", spare) if spare else Coarse("float32", _SPARE_OF_FLOATS)

    return run_on_rank0(choose) if over_ranks else choose()


def _spare_of_bytes(rows: Tensor, wanted: Sequence[Wanted]) -> int | None:
    """The fewest spare candidates that leave hardly a row of a sample uncertain; None if too many of it would be."""
    num = len(rows)
    chosen = np.unique(np.linspace(0, num - 1, min(_ASKED, num)).astype(np.int64))
    margin = np.float32(_margin(rows) * _scale(rows) ** 2)
    shares = np.zeros(len(_SPARES))
    for one in wanted:
        found = search_rows(rows.numpy(), chosen, replace(one, k=min(one.k + _SPARES[-1], num)))
        last = [min(one.k + spare, num) - 1 for spare in _SPARES]
        near = found.scores[:, last] >= found.scores[:, one.k - 1, None] - margin
        uncertain = near & (found.indices[:, last] < num) & (np.array(last) < num - 1)
        shares = np.maximum(shares, uncertain.mean(0))
    enough = np.flatnonzero(shares <= _MOST_UNCERTAIN)
    if len(enough):
        return _SPARES[enough[0]]
    print_log(
        f"search in int8: {shares[-1]:.0%} of the images have more than {MOST_SPARE} others as near as bytes can tell: "
        "float32 is taken",
        logger="current",
    )
    return None


def _timed(rows: Tensor) -> Precision:
    """Time the products of a small block, by one thread as in the search."""
    block = rows[: min(KERNEL_BLOCK, int((_TIMED / rows.shape[1]) ** 0.5))]
    products = _float_product(block.numpy(), len(block)), _int8_product(block, len(block))

    def seconds(product: Callable[[int, int], np.ndarray]) -> float:
        started = _clock()
        product(0, 0)
        return _clock() - started

    def measure(_: None) -> list[tuple[float, ...]]:
        # The first time prepares what further products use. They take turns: neither has the quieter moment.
        for product in products:
            product(0, 0)
        return [tuple(map(seconds, products)) for _ in range(_TIMES)]

    with single_threaded_products():
        [turns] = in_threads(measure, [None])
    float32, int8 = map(min, zip(*turns))
    choice: Precision = "int8" if int8 * _GAIN < float32 else "float32"
    operations = 2e-9 * len(block) ** 2 * rows.shape[1]
    print_log(
        f"search in int8: a core makes {operations / int8:.3g} billion operations a second with bytes of "
        f"{rows.shape[1]} dimensions and {operations / float32:.3g} in float32: {choice} is taken",
        logger="current",
    )
    return choice


def _scale(rows: Tensor) -> float:
    """What a step of the rounded rows stands for."""
    return max(map(abs, map(float, rows.aminmax()))) / _INT8


def _search(
    product: Callable[[int, int], np.ndarray],
    searches: Sequence[Lists],
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
    itself = largest(searches[0].scores.dtype)
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


def _int8_product(rows: Tensor, size: int) -> Callable[[int, int], np.ndarray]:
    """Scores of two blocks of rounded rows: int32, similarity / scale²."""
    from . import kernels

    rounded = torch.empty(rows.shape, dtype=torch.int8)
    factor = np.float32(1 / _scale(rows))
    over_rows(kernels.round_rows, len(rows), rows.numpy(), factor, rounded.numpy())

    def product(first: int, second: int) -> np.ndarray:
        left, right = rounded[first : first + size], rounded[second : second + size]
        return torch._int_mm(left, right.T).numpy()

    return product


def _margin(rows: Tensor) -> int:
    """Scores that may separate a row's true neighbour from one that only looks like it.

    A rounded entry is off by at most scale/2, evenly: variance scale²/12. A similarity of unit rows is off by the sum
    of two such errors weighted with unit vectors, so its variance is scale²/6 however the rows look. Both of two rows
    that are compared may be off by the margin. Errors of few different values go together: the margin is no less than
    what a sample of rows shows.
    """
    scale = _scale(rows)
    by_chance = _DEVIATIONS / np.sqrt(6) / scale
    return int(np.ceil(2 * max(by_chance, _SEEN * _largest_error(rows, scale))))


def _largest_error(rows: Tensor, scale: float) -> float:
    """By how much rounding shifts the scores of a row against each other at most, in a sample."""
    size = max(1, min(KERNEL_BLOCK, _SAMPLED // rows.shape[1]))
    sample = rows[:: -(-len(rows) // size)].double() / scale
    rounded = sample.round()
    errors = (sample @ sample.T - rounded @ rounded.T).fill_diagonal_(0)
    means = errors.sum(1, keepdim=True) / max(1, len(sample) - 1)
    return float((errors - means).fill_diagonal_(0).abs().max())


def _rank_candidates(rows: np.ndarray, wanted: Wanted, candidates: Lists, margin: float) -> Lists:
    """The exact lists from those of the coarse search."""
    from . import kernels

    num, num_candidates = candidates.indices.shape
    limits = _below(candidates.scores[:, wanted.k - 1], margin)
    lists = _rescored(rows, wanted, candidates, limits)
    if num_candidates < num:
        # The last candidate is within the margin: there may be more of them.
        uncertain = (candidates.scores[:, -1] >= limits) & (candidates.indices[:, -1] < num)
        chosen = np.flatnonzero(uncertain)
        spare = replace(wanted, k=min(wanted.k + _SPARE_OF_FLOATS, num))
        again = search_rows(rows, chosen, spare)
        anew = _rescored(rows, wanted, again, np.full(len(chosen), -np.inf, np.float32), chosen)
        lists.indices[chosen], lists.scores[chosen] = anew.indices, anew.scores
        crowded = chosen[_crowded(again, wanted.k - 1) & (again.indices[:, -1] < num)]
        lists.indices[crowded], lists.scores[crowded] = num, -np.inf
        everyone, rule = np.arange(num, dtype=np.int32)[None], (wanted.cameras, wanted.same)

        def rank_all(row: int) -> None:
            own = lists.indices[row : row + 1], lists.scores[row : row + 1]
            kernels.rank_candidates(0, 1, row, rows, everyone, *rule, wanted.itself, *own)

        in_threads(rank_all, crowded.tolist())
    return lists


def _crowded(lists: Lists, place: int) -> np.ndarray:
    """Whether the last may be as near as the one at a place, and so may others that found none: bool (M,).

    Products sum in an order of their own; of so many that are alike, only those of :func:`.kernels.dot` with all rows
    tell which come first.
    """
    return lists.scores[:, -1] >= lists.scores[:, place] - np.float32(_ORDER_OF_SUMS)


def _below(scores: np.ndarray, margin: float) -> np.ndarray:
    """Scores less a margin, which int32 might not hold."""
    return (
        scores.astype(np.int64) - int(margin)
        if scores.dtype == np.int32
        else scores - np.float32(margin)
    )


def _rescored(
    rows: np.ndarray,
    wanted: Wanted,
    candidates: Lists,
    limits: np.ndarray,
    chosen: np.ndarray | None = None,
) -> Lists:
    """Lists of the candidates with scores above the limits, by similarities that are summed in one order.

    Args:
        rows: float32 (N, D).
        wanted: Who competes.
        candidates: Of M rows.
        limits: (M,), of the type of the scores or wider.
        chosen: int64 (M,), which rows; None for all.

    Returns:
        Lists of M rows, float32.
    """
    from . import kernels

    if chosen is None:
        chosen = np.arange(len(rows))
    lists = Lists.empty(len(chosen), wanted, np.float32)
    lists.indices[:] = len(rows)
    found = (candidates.indices, candidates.scores, limits, wanted.itself)
    over_rows(kernels.rescore, len(chosen), rows, chosen, *found, lists.indices, lists.scores)
    return lists


def _find_min_similarity(rows: np.ndarray, candidates: Lists, margin: float) -> np.ndarray:
    """The smallest similarity of each row, float32 (N,), from the farthest of the coarse search."""
    from . import kernels

    num, num_candidates = candidates.indices.shape
    limits = _below(candidates.scores[:, 0], margin)
    smallest = np.full(num, np.inf, np.float32)
    everyone = np.arange(num)
    found = (candidates.indices, candidates.scores)
    over_rows(kernels.rescore_min_similarity, num, rows, everyone, *found, limits, smallest)
    if num_candidates < num - 1:
        chosen = np.flatnonzero(candidates.scores[:, -1] >= limits)
        farthest = Wanted(min(_SPARE_OF_FLOATS, num - 1), farthest=True)
        again = search_rows(rows, chosen, farthest)
        none, anew = (np.full(len(chosen), sign * np.inf, np.float32) for sign in (-1, 1))
        named = (chosen, again.indices, again.scores, none, anew)
        over_rows(kernels.rescore_min_similarity, len(chosen), rows, *named)
        smallest[chosen] = anew
        for row in chosen[_crowded(again, 0)].tolist():
            others = np.delete(everyone, row).astype(np.int32)[None]
            of_row = np.array([row]), others, np.zeros(others.shape, np.float32), none[:1]
            smallest[row] = np.inf
            kernels.rescore_min_similarity(0, 1, rows, *of_row, smallest[row : row + 1])
    return smallest


def search_rows(rows: np.ndarray, chosen: np.ndarray, wanted: Wanted) -> Lists:
    """Search some rows alone.

    Args:
        rows: float32 (N, D).
        chosen: int64 (M,), the rows to search.
        wanted: Who competes.

    Returns:
        Their lists, float32; of the farthest with the sign of the similarities turned.
    """
    from . import kernels

    lists = Lists.empty(len(chosen), wanted, np.float32)
    lists.indices[:] = len(rows)

    def search(part: slice) -> None:
        members = chosen[part]
        found = [array[part] for array in lists.arrays]
        own = wanted.cameras[members] if wanted.cameras.size else wanted.cameras
        for start in range(0, len(rows), KERNEL_BLOCK):
            scores = rows[members] @ rows[start : start + KERNEL_BLOCK].T
            inside = np.flatnonzero((members >= start) & (members < start + KERNEL_BLOCK))
            scores[inside, members[inside] - start] = np.inf
            if wanted.farthest:
                np.negative(scores, out=scores)
            kernels.merge_topk(scores, 0, start, own, wanted.cameras, wanted.same, *found)

    ends = np.linspace(0, len(chosen), max(1, -(-len(chosen) // _ROWS_AGAIN)) + 1).astype(int)
    with single_threaded_products():
        in_threads(search, list(map(slice, ends[:-1], ends[1:])))
    return lists
