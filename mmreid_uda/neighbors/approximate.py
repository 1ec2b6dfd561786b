"""Approximate nearest neighbours, for a million images and more; what they miss is measured on a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from mmengine.logging import print_log

from mmreid_uda.utils import (
    InputError,
    check_vectors,
    in_threads,
    kernels_available,
    make_rng,
    num_threads,
)
from mmreid_uda.utils.dist import (
    cpu_group,
    gather_turns,
    own_turns,
    require_same_kernels,
    share_from_rank0,
)
from mmreid_uda.utils.parallel import single_threaded_products
from mmreid_uda.utils.progress import Progress
from mmreid_uda.utils.values import Count, Natural, checked

from .candidates import LOOKED_UP, available, exact_candidates, rank_candidates
from .code_index import build_codes, code_bytes, search_codes
from .inverted_lists import InvertedLists, inverted_bytes, nearest_lists, train_centers
from .knn import require_neighbors
from .lists import CameraNeighbors, Neighbors, Wanted
from .neighbor_file import LONGEST, NeighborFile, read_neighbors
from .vector_index import import_faiss

__all__ = [
    "ApproximateKind",
    "approximate_bytes",
    "find_camera_neighbors_approximately",
    "find_neighbors_approximately",
    "find_neighbors_in_file",
]

ApproximateKind = Literal["ivf", "hnsw", "pq"]

# First row -> for each list that is wanted int32 (n, c), candidates of the rows from there on; and whether several
# threads may ask at a time.
Engine = tuple[Callable[[int], list[np.ndarray]], bool]

# Rows that are searched together: a thread's, or a rank's, at a time.
_ROWS = 8192


@checked
def find_neighbors_approximately(
    features: np.ndarray,
    k: int,
    index: ApproximateKind = "ivf",
    *,
    nprobe: Count = 64,
    ef_search: Count = 64,
    refine: Natural = 0,
    previous: np.ndarray | None = None,
    num_checked: Count = 1000,
    seed: int = 0,
    over_ranks: bool = False,
) -> tuple[Neighbors, float]:
    """:func:`find_neighbors` without the promise to find all of them, in less than N² products.

    ``'ivf'`` sorts the images into ``4·sqrt(N)`` lists by k-means and compares an image with those of the nearest lists
    (Sivic & Zisserman, ICCV 2003); with kernels it multiplies the rows where they are, list by list. ``'pq'`` does so
    with codes of D/4 bytes (Jégou et al., TPAMI 2011). ``'hnsw'`` walks a graph of near images (Malkov & Yashunin,
    TPAMI 2020) that holds them in half precision; it is slow to build, and its links depend on the timing of the
    threads, so that two calls may differ. Codes name several candidates for a place: four of ``'pq'``, else two.

    Whoever names a candidate, its similarity is that of the float32 rows, and of equal ones the lower index comes
    first. Rows for which fewer than ``k`` are found are searched exactly. The features are never copied: they may be
    mapped from a file.

    Args:
        features: float32 (N, D), rows of unit norm; the same on every rank.
        k: Neighbours per row, itself included, ``1 <= k <= N``.
        index: ``'ivf'`` (default), ``'hnsw'`` or ``'pq'``.
        nprobe: Lists that ``'ivf'`` and ``'pq'`` look at; more finds more and takes longer. Defaults to 64.
        ef_search: Candidates that ``'hnsw'`` keeps on its walk; likewise. Defaults to 64.
        refine: When the lists are there, the nearest of an image's so many nearest are candidates, too; 0 (default)
            leaves that out.
        previous: int (N, m), neighbours found before, such as those of the last epoch, which become candidates;
            numbers outside 0..N-1 stand for nobody.
        num_checked: Rows of the sample that is searched exactly, to measure the recall. Defaults to 1000.
        seed: Of the samples and of the k-means.
        over_ranks: Deal the rows out to all ranks, which must all call this; the result is that of one process, except
            for the links of ``'hnsw'``.

    Returns:
        The neighbours (as :func:`find_neighbors` gives them, ``min_similarity`` is None), and the recall: the share of
        the true neighbours of the sample that was found, the rows themselves left out. The same on every rank.

    Raises:
        InputError: If a parameter is out of range, features are not finite, or the package faiss is missing.
    """
    rows = check_vectors(features, "features to cluster")
    require_neighbors(rows.shape, k)
    search = _Search(rows, [Wanted(k)], seed, over_ranks)
    [found] = search(search.index(index, nprobe, ef_search), refine, previous)
    return found, search.recall([found], num_checked)


@checked
def find_camera_neighbors_approximately(
    features: np.ndarray,
    cameras: np.ndarray,
    k_intra: int,
    k_inter: int,
    *,
    nprobe: Count = 64,
    refine: Natural = 0,
    previous: np.ndarray | None = None,
    num_checked: Count = 1000,
    seed: int = 0,
    over_ranks: bool = False,
) -> tuple[CameraNeighbors, float]:
    """:func:`find_camera_neighbors` by inverted lists, as :func:`find_neighbors_approximately`; it needs kernels.

    Args:
        features: As :func:`find_neighbors_approximately`.
        cameras: As :func:`find_camera_neighbors`.
        k_intra: Likewise.
        k_inter: Likewise.
        nprobe: As :func:`find_neighbors_approximately`.
        refine: Likewise; half of them of either list.
        previous: Likewise, of any camera.
        num_checked: Likewise.
        seed: Likewise.
        over_ranks: Likewise.

    Returns:
        Neighbours as :func:`find_camera_neighbors` gives them, and the recall over both lists.

    Raises:
        InputError: As :func:`find_neighbors_approximately`, and if numba is missing.
    """
    _require_kernels()
    rows = check_vectors(features, "features to cluster")
    require_neighbors(rows.shape, k_intra)
    require_neighbors(rows.shape, k_inter)
    numbers = _numbered(cameras)
    wanted = [Wanted(k_intra, numbers, same=True), Wanted(k_inter, numbers)]
    search = _Search(rows, wanted, seed, over_ranks)
    found = search(search.index("ivf", nprobe, 0), refine, previous)
    return _of_cameras(found), search.recall(found, num_checked)


@checked
def find_neighbors_in_file(
    features: np.ndarray,
    lists: Sequence[Count],
    path: str | Path | NeighborFile,
    *,
    cameras: np.ndarray | None = None,
    refine: Natural = 0,
    previous: np.ndarray | None = None,
    num_checked: Count = 1000,
    seed: int = 0,
    over_ranks: bool = False,
) -> tuple[Neighbors | CameraNeighbors, float]:
    """Take the neighbours that another engine has found for candidates, as :func:`find_neighbors_approximately` does.

    Args:
        features: As :func:`find_neighbors_approximately`.
        lists: k; with cameras ``k_intra`` and ``k_inter``.
        path: Of :func:`read_neighbors`; or what has been read.
        cameras: As :func:`find_camera_neighbors`; None finds those of all cameras together.
        refine: As :func:`find_neighbors_approximately`.
        previous: Likewise.
        num_checked: Likewise.
        seed: Likewise.
        over_ranks: Likewise.

    Returns:
        As :func:`find_neighbors_approximately`, or :func:`find_camera_neighbors_approximately`.

    Raises:
        InputError: As :func:`read_neighbors`, or a parameter is out of range.
    """
    rows = check_vectors(features, "features to cluster")
    for k in lists:
        require_neighbors(rows.shape, k)
    if cameras is None:
        wanted = [Wanted(k) for k in lists]
    else:
        _require_kernels()
        numbers = _numbered(cameras)
        wanted = [Wanted(k, numbers, same) for k, same in zip(lists, (True, False))]
    file = path if isinstance(path, NeighborFile) else read_neighbors(path, rows)
    search = _Search(rows, wanted, seed, over_ranks)

    def name(first: int) -> list[np.ndarray]:
        named = file.rows(first, first + _ROWS, LONGEST)
        long = np.flatnonzero(file.lengths(first, first + _ROWS) > LONGEST)
        lists = [named] * len(wanted)
        if len(long):
            # The nearest that such a row names stand for all of them.
            room = max(named.shape[1], *(one.k for one in wanted))
            wide = np.pad(named, ((0, 0), (0, room - named.shape[1])), constant_values=-1)
            lists = [wide.copy() for _ in wanted]
        for place in long.tolist():
            candidates = file.rows(first + place, first + place + 1)
            for one, own in zip(lists, wanted):
                for start in range(0, candidates.shape[1], LONGEST):
                    part = [one[place : place + 1], candidates[:, start : start + LONGEST]]
                    best = rank_candidates(rows, first + place, np.concatenate(part, 1), own)
                    one[place, : own.k] = best.indices[0]
        return lists

    found = search((name, True), refine, previous)
    recall = search.recall(found, num_checked)
    return found[0] if cameras is None else _of_cameras(found), recall


def approximate_bytes(
    num: int,
    dimensions: int,
    lists: Sequence[int],
    kind: str,
    nprobe: int = 64,
    refine: int = 0,
    file: NeighborFile | None = None,
) -> int:
    """Memory that these searches take on a CPU beside the features.

    Args:
        num: N.
        dimensions: D.
        lists: Neighbours per row of each list.
        kind: ``'ivf'``, ``'hnsw'``, ``'pq'`` or ``'file'``.
        nprobe: As :func:`find_neighbors_approximately`.
        refine: Likewise.
        file: What is read of ``'file'``, if it has been; its candidates count.

    Returns:
        Bytes.
    """
    # The lists are there in parts when they are joined; each thread has its candidates in two orders.
    threads, rows = num_threads(), min(_ROWS, num)
    places = 16 * num * sum(lists)
    candidates = 8 * threads * rows * (refine**2 + 4 * max(lists)) + 4 * num * refine
    if not kernels_available():
        candidates += 4 * threads * LOOKED_UP
    if kind == "file":
        return places + candidates + (0 if file is None else file.num_bytes(rows, threads))
    if kind == "ivf" and kernels_available():
        return places + candidates + inverted_bytes(num, dimensions, nprobe, rows, threads)
    return places + candidates + code_bytes(num, dimensions, kind)


def _require_kernels() -> None:
    if not kernels_available():
        raise InputError(
            "found no numba for an approximate search with cameras, expected it: pip install mmreid_uda[fast], or "
            "search exactly."
        )


def _numbered(cameras: np.ndarray) -> np.ndarray:
    """Cameras int32 (N,) from 0 on, which can be counted, whatever numbers they have."""
    return np.unique(cameras, return_inverse=True)[1].astype(np.int32)


def _of_cameras(found: Sequence[Neighbors]) -> CameraNeighbors:
    """Both lists, with -1 where they have ended."""
    parts = []
    for part in found:
        missing = part.indices == len(part.indices)
        parts.append(
            Neighbors(
                np.where(missing, -1, part.indices), np.where(missing, -np.inf, part.similarities)
            )
        )
    return CameraNeighbors(*parts)


class _Search:
    """One approximate search, whose steps share the rows, the ranks and what is wanted."""

    def __init__(
        self, rows: np.ndarray, wanted: Sequence[Wanted], seed: int, over_ranks: bool
    ) -> None:
        self.rows, self.wanted, self.seed, self.over_ranks = rows, wanted, seed, over_ranks
        if over_ranks:
            require_same_kernels()
        starts = range(0, len(rows), _ROWS)
        self.own = own_turns(starts) if over_ranks else starts
        # Rows of this process with too few candidates, block by block.
        self.short: list[int] = []

    def __call__(
        self, engine: Engine, refine: int, previous: np.ndarray | None = None
    ) -> list[Neighbors]:
        """All steps; N stands where a list has ended."""
        name, in_threads_too = engine
        if previous is not None:
            shape, dtype = np.shape(previous), np.asarray(previous).dtype
            if len(shape) != 2 or shape[0] != len(self.rows) or dtype.kind not in "iu":
                raise InputError(
                    f"found previous neighbours of type {dtype} and shape {shape}, expected whole numbers "
                    f"({len(self.rows)}, neighbours): give what was found for the same images, or None."
                )

        def find(first: int) -> list[np.ndarray]:
            named = name(first)
            if previous is not None:
                part = previous[first : first + _ROWS].astype(np.int32)
                named = [np.concatenate([one, part], 1) for one in named]
            return self._ranked(first, named, complete=not refine)

        found = self._in_turns("finding neighbours", find, in_threads_too)
        if refine:
            each = refine if len(found) == 1 else -(-refine // 2)
            near = np.concatenate(
                [
                    lists.indices[:, int(one.itself) : int(one.itself) + each]
                    for one, lists in zip(self.wanted, found)
                ],
                1,
            )

            def improve(first: int) -> list[np.ndarray]:
                part = near[first : first + _ROWS]
                # Nobody's nearest are the first image's, which are no worse than others.
                theirs = near[np.where(part < len(near), part, 0)].reshape(len(part), -1)
                named = [
                    np.concatenate([lists.indices[first : first + _ROWS], theirs], 1)
                    for lists in found
                ]
                return self._ranked(first, named, complete=True)

            found = self._in_turns("looking at neighbours of neighbours", improve, True)
        if self.short:
            print_log(
                f"finding neighbours: {sum(self.short)} lists had too few candidates and were searched among all "
                f"{len(self.rows)} images, which takes long if they are many: name more candidates, or raise nprobe",
                logger="current",
            )
        found[0].similarities[:, 0] = np.einsum("nd,nd->n", self.rows, self.rows)
        return found

    def _in_turns(
        self, what: str, find: Callable[[int], list[np.ndarray]], together: bool
    ) -> list[Neighbors]:
        """Call a function for blocks of rows, in threads or one after the other, and join what it gives."""
        progress = Progress(what, len(self.own), "blocks")

        def step(number: int) -> list[np.ndarray]:
            progress.update(number)
            return find(self.own[number])

        turns = range(len(self.own))
        with single_threaded_products():
            parts = in_threads(step, turns) if together else list(map(step, turns))
        arrays = [self._joined(list(column)) for column in zip(*parts)] if parts else []
        if self.over_ranks and not parts:  # fewer blocks than ranks
            arrays = [self._joined([]) for _ in range(2 * len(self.wanted))]
        return [Neighbors(*arrays[at : at + 2]) for at in range(0, len(arrays), 2)]

    def _joined(self, parts: list[np.ndarray]) -> np.ndarray:
        if not self.over_ranks:
            return np.concatenate(parts)
        tensors = list(map(torch.from_numpy, parts))
        return gather_turns(tensors, len(self.rows), _ROWS, cpu_group()).numpy()

    def _ranked(self, first: int, named: list[np.ndarray], complete: bool) -> list[np.ndarray]:
        """Indices and similarities of each list, of candidates and, where they are too few, of all images."""
        arrays = []
        for wanted, candidates in zip(self.wanted, named):
            lists = rank_candidates(self.rows, first, candidates, wanted)
            if complete:
                short = np.flatnonzero((lists.indices == len(self.rows)).any(1))
                found = (lists.indices[short] < len(self.rows)).sum(1)
                short = short[found < available(wanted, first + short, len(self.rows))]
                if len(short):
                    self.short.append(len(short))
                    exact = exact_candidates(self.rows, first + short, wanted)
                    for row, one in zip(short.tolist(), exact):
                        again = rank_candidates(self.rows, first + row, one[None], wanted)
                        lists.indices[row], lists.scores[row] = again.indices, again.scores
            arrays += [lists.indices, lists.scores]
        return arrays

    def index(self, kind: str, nprobe: int, ef_search: int) -> Engine:
        """Who names candidates."""
        if kind == "ivf" and kernels_available() and not _num_gpus():
            return self._by_lists(nprobe), True
        return self._by_codes(kind, nprobe, ef_search), False

    def _by_lists(self, nprobe: int) -> Callable[[int], list[np.ndarray]]:
        """Inverted lists of the rows as they are."""
        rows = self.rows

        def train() -> list[np.ndarray]:
            return [train_centers(import_faiss(), rows, self.seed)]

        [centers] = share_from_rank0(train) if self.over_ranks else train()
        nprobe = min(nprobe, len(centers))
        with single_threaded_products():
            probes = in_threads(
                lambda first: nearest_lists(rows[first : first + _ROWS], centers, nprobe), self.own
            )
        nearest = self._joined([one[:, :1].astype(np.int32) for one in probes])[:, 0]
        lists = InvertedLists.of(rows, centers, nearest.astype(np.uint16))
        probes_of = dict(zip(self.own, probes))
        return lambda first: lists.search(first, probes_of[first], self.wanted)

    def _by_codes(
        self, kind: str, nprobe: int, ef_search: int
    ) -> Callable[[int], list[np.ndarray]]:
        """An index of faiss, which rank 0 builds for all."""
        faiss = import_faiss()

        def build() -> list[np.ndarray]:
            return [faiss.serialize_index(build_codes(self.rows, kind, self.seed))]

        if self.over_ranks:
            engine = faiss.deserialize_index(share_from_rank0(build)[0])
        else:
            engine = build_codes(self.rows, kind, self.seed)
        [wanted] = self.wanted
        return search_codes(self.rows, engine, kind, wanted.k, nprobe, ef_search, _ROWS)

    def recall(self, found: Sequence[Neighbors], num_checked: int) -> float:
        """Share of the true neighbours of a sample that is in the lists."""
        num = len(self.rows)
        checked = make_rng(self.seed, "recall").choice(num, min(num_checked, num), replace=False)

        def measure() -> list[np.ndarray]:
            shares = []
            for wanted, lists in zip(self.wanted, found):
                exact = exact_candidates(self.rows, checked, wanted)
                for row, true in zip(checked.tolist(), exact):
                    true = true[(true != row) & (true < num)]
                    if len(true):
                        shares.append(np.isin(true, lists.indices[row]).mean())
            return [np.array([np.mean(shares) if shares else 1.0])]

        [share] = share_from_rank0(measure) if self.over_ranks else measure()
        return float(share[0])


def _num_gpus() -> int:
    """GPUs that faiss can use: none with the package for CPUs."""
    return int(getattr(import_faiss(), "get_num_gpus", int)())
