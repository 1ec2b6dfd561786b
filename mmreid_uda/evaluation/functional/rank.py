"""Ranking measures of re-identification: mAP, CMC and mINP, array in and number out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import on_every_rank, own_turns
from mmreid_uda.utils.progress import Progress
from mmreid_uda.utils.values import Count, checked

from .budget import log_memory, rows_within
from .distance import as_rows, distance_blocks
from .match_ranks import SCRATCH, count_match_ranks, runs_compiled
from .protocol import CMC, AveragePrecision, Protocol, SameCamera, SingleShot
from .roc import PairCounter, PairCounts, VerificationResult, read_counts

__all__ = ["RankResult", "checked_blocks", "evaluate_rank", "require_all"]

Array = Tensor | np.ndarray
Distances = Array | Iterable[tuple[int, Tensor]]
# Rows of a given matrix that are ranked together.
_ROWS = 1024


@dataclass(frozen=True)
class RankResult:
    """Figures of one query set against one gallery.

    Args:
        mAP: Mean average precision, in ``[0, 1]``.
        cmc: float64 (max_rank,), entry r is the share of queries whose first match is among the first ``r + 1``.
        mINP: Mean inverse negative penalty (matches / rank of the last match), in ``[0, 1]``.
        num_queries: Queries given.
        num_valid: Queries with at least one match; the others are skipped.
        ap: float64 (Q,), average precision of each query, NaN where skipped.
        verification: The ROC of all pairs, if it was asked for.
    """

    mAP: float
    cmc: np.ndarray
    mINP: float
    num_queries: int
    num_valid: int
    ap: np.ndarray
    verification: VerificationResult | None = None

    def summary(self) -> dict[str, float]:
        """The figures papers print.

        With verification also those of :meth:`.VerificationResult.summary`.

        Returns:
            In percent: ``mAP``, ``R1``, ``R5``, ``R10`` (up to ``max_rank``), ``mINP``.
        """
        ranks = {
            f"R{rank}": float(self.cmc[rank - 1]) for rank in (1, 5, 10) if rank <= len(self.cmc)
        }
        metrics = {"mAP": self.mAP, **ranks, "mINP": self.mINP}
        percent = {key: 100 * value for key, value in metrics.items()}
        return percent if self.verification is None else percent | self.verification.summary()


@checked
def evaluate_rank(
    query_features: Array | None,
    gallery_features: Array | None,
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any,
    gallery_camids: Any,
    *,
    same_camera: SameCamera = "remove",
    max_rank: Count = 50,
    protocol: CMC = "market",
    ap: AveragePrecision = "precision",
    normalize: bool = True,
    distances: Array | Iterable[tuple[int, Tensor]] | None = None,
    query_ids: Any = None,
    gallery_ids: Any = None,
    seed: int = 0,
    block_size: int | None = None,
    max_memory: str | int | None = None,
    verification: bool = False,
    over_ranks: bool = False,
) -> RankResult:
    """Rank the gallery for every query and measure where its matches stand.

    The distances are made and consumed a block of queries at a time. Nothing is sorted but the distances of the
    matches themselves: the place of a match is counted, and is the one it has in a stable sort by distance, so that
    equal distances stand in the order of the gallery.

    Gallery images of unknown identity (-1, NaN, None) are junk and left out; identities that no query has (distractors)
    stay. A query without match is skipped, and counted in ``num_queries`` only.

    Args:
        query_features: (Q, D), any device; None if ``distances`` are given.
        gallery_features: (G, D); None if ``distances`` are given.
        query_pids: (Q,), identities: integers or strings.
        gallery_pids: (G,), identities.
        query_camids: int (Q,), cameras; negative = unknown, which is the camera of no other image.
        gallery_camids: int (G,), cameras.
        same_camera: ``'remove'`` leaves a query's images of the same identity *and* the same camera out of its
            gallery (Market-1501); ``'keep'`` leaves out only the query's own image, told by the ids below.
        max_rank: Length of the CMC curve.
        protocol: ``'market'``: CMC over the whole gallery. ``'cuhk03'``: the classic protocol: only images of other
            cameras, one shot per identity, mean over 10 drawn galleries. It concerns the CMC; mAP and mINP are the
            same in both.
        ap: ``'precision'``: mean over the matches of the precision there. ``'trapezoid'``: area under the
            precision-recall curve by the trapezoid rule, and every figure divided by *all* queries, as in the
            evaluator that FAT uses (lower by some tenths of a percent).
        normalize: Compare L2-normalised features; False compares them as they are.
        distances: (Q, G), or blocks ``(start, (rows, G))`` in order of the queries; replaces the features. A given
            matrix is not changed.
        query_ids: (Q,), identity of the image itself, for ``same_camera='keep'``; None if no image is in both sets.
        gallery_ids: (G,), likewise.
        seed: Seed of the galleries drawn by ``'cuhk03'``.
        block_size: Queries per block of distances; None chooses it.
        max_memory: Budget for what is held beside features or given distances, such as ``'1GiB'``; None sets no limit.
        verification: Also count the distances of all pairs for the ROC of the decision "the same person?"; pairs that
            take no part in the ranking are left out.
        over_ranks: Share the queries among all ranks, which must all call this with the same arguments, in blocks that
            they take in turn. Distances that are given as blocks are each rank's own ones, as
            :func:`.distance_blocks` and :func:`.rerank` give them. The figures are those of one process, to the last
            bit and on every rank.

    Returns:
        The figures.

    Raises:
        InputError: No query has a match, lengths disagree, distances are not finite, an option is unknown, or
            ``max_memory`` does not even suffice for one query.

    Source: Zheng et al., "Scalable Person Re-identification", ICCV 2015 (mAP, CMC); Ye et al., "Deep
    Learning for Person Re-identification: A Survey", TPAMI 2021 (mINP).
    """
    if protocol == "cuhk03" and same_camera == "keep":
        raise InputError(
            "found protocol='cuhk03', which compares images of different cameras, and same_camera='keep', which "
            "ignores cameras: use protocol='market', or same_camera='remove' with camera numbers."
        )
    rules = Protocol(
        query_pids, gallery_pids, query_camids, gallery_camids, same_camera, query_ids, gallery_ids
    )
    if not rules.run_length.any():
        raise InputError(rules.no_match_message())
    if distances is None:
        if query_features is None or gallery_features is None:
            raise InputError(
                "evaluate_rank needs query_features and gallery_features, or distances."
            )
        distances = _distances_of(
            query_features, gallery_features, rules, normalize, block_size, max_memory, over_ranks
        )
    shots = SingleShot(rules, seed) if protocol == "cuhk03" else None
    pairs = PairCounter(rules) if verification else None

    def rank() -> tuple[list[_Ranked], PairCounts | None]:
        blocks = checked_blocks(distances, rules.num_queries, rules.num_gallery, over_ranks)
        ranked = list(_rank_blocks(blocks, rules, shots, pairs, max_rank, ap))
        return ranked, None if pairs is None else pairs.counts()

    by_rank, counts = zip(*(on_every_rank(rank) if over_ranks else [rank()]))
    ranked = sorted((one for some in by_rank for one in some), key=lambda one: one.start)
    require_all(((one.start, len(one.ap)) for one in ranked), rules.num_queries)
    result = _means(ranked, rules, of_all=ap == "trapezoid")
    return result if pairs is None else replace(result, verification=read_counts(counts))


@dataclass(frozen=True)
class _Ranked:
    """Figures of a block of queries.

    Args:
        start: Index of the first query.
        ap: float64 (rows,), average precision, NaN where a query has no match.
        inverse_penalty: float64 (rows,), likewise.
        hits: float64 (max_rank + 1,): how often the first match had which place, all later places in the last bin.
    """

    start: int
    ap: np.ndarray
    inverse_penalty: np.ndarray
    hits: np.ndarray


def _distances_of(
    query_features: Array,
    gallery_features: Array,
    rules: Protocol,
    normalize: bool,
    block_size: int | None,
    max_memory: str | int | None,
    over_ranks: bool,
) -> Iterator[tuple[int, Tensor]]:
    """Blocks of distances between features, see :func:`evaluate_rank`; each overwrites the one before."""
    query_features = as_rows(query_features, normalize, "queries")
    blocks = distance_blocks(
        query_features,
        gallery_features,
        normalize=normalize,
        block_size=block_size or _block_size(query_features, rules, max_memory),
        reuse_memory=True,
        over_ranks=over_ranks,
    )
    return Progress("ranking", rules.num_queries, "queries").watch(blocks)


def _means(ranked: Sequence[_Ranked], rules: Protocol, of_all: bool) -> RankResult:
    """Figures of all queries.

    Args:
        ranked: Those of each block, in order of the queries: a mean over drawn galleries is rounded.
        rules: The protocol.
        of_all: Divide by the number of all queries, not of those with a match.
    """
    average_precision = np.concatenate([one.ap for one in ranked])
    inverse_penalty = np.concatenate([one.inverse_penalty for one in ranked])
    hits = sum((one.hits for one in ranked), np.zeros_like(ranked[0].hits))
    num_valid = int(np.isfinite(average_precision).sum())
    if num_valid == 0:
        raise InputError(rules.no_match_message())
    num = rules.num_queries if of_all else num_valid
    return RankResult(
        mAP=float(np.nansum(average_precision) / num),
        cmc=np.cumsum(hits[:-1]) / num,
        mINP=float(np.nansum(inverse_penalty) / num),
        num_queries=rules.num_queries,
        num_valid=num_valid,
        ap=average_precision,
    )


def _rank_blocks(
    blocks: Iterable[tuple[int, Tensor]],
    rules: Protocol,
    shots: SingleShot | None,
    pairs: PairCounter | None,
    max_rank: int,
    rule: str,
) -> Iterator[_Ranked]:
    """Measure the queries of each block.

    Args:
        blocks: Distances.
        rules: The protocol.
        shots: Galleries of the CUHK03 protocol, or None.
        pairs: Is given every block as well, or None.
        max_rank: Length of the CMC curve.
        rule: Way to measure the average precision.

    Yields:
        The figures of each block.
    """
    for start, block in blocks:
        average_precision, inverse_penalty = np.full((2, len(block)), np.nan)
        block = rules.without_junk(block)
        match_ranks, count = count_match_ranks(block, start, rules)
        rows = np.flatnonzero(count)
        match_ranks, count = match_ranks[rows], count[rows]
        average_precision[rows] = _average_precision(match_ranks, count, rule)
        last = np.take_along_axis(match_ranks, count[:, None] - 1, axis=1)[:, 0]
        inverse_penalty[rows] = count / (last + 1)
        if shots is None:
            places = np.minimum(match_ranks[:, 0], max_rank)
            hits = np.bincount(places, minlength=max_rank + 1).astype(np.float64)
        else:
            hits = shots.hits(block, start, rows, max_rank)
        if pairs is not None:
            pairs.add(block, start)
        yield _Ranked(start, average_precision, inverse_penalty, hits)


def _block_size(query_features: Array, rules: Protocol, max_memory: str | int | None) -> int:
    """Choose the queries per block, and say so if the evaluation will take long."""
    compiled = runs_compiled(torch.as_tensor(query_features).device)
    has_junk = len(rules.kept) < rules.num_gallery
    row_bytes = 4 * (rules.num_gallery + has_junk * len(rules.kept)) + 64 * int(
        rules.run_length.max()
    )
    fixed_bytes = 0 if compiled else SCRATCH
    rows = rows_within(
        max_memory,
        rules.num_gallery,
        row_bytes=row_bytes,
        fixed_bytes=fixed_bytes,
        step="the evaluation",
    )
    log_memory(
        "evaluation", rules.num_queries, rules.num_gallery, rows, fixed_bytes + rows * row_bytes
    )
    return rows


def _average_precision(match_ranks: np.ndarray, count: np.ndarray, rule: str) -> np.ndarray:
    """Average precision of each row: float64 (rows,); arguments as of :func:`.count_match_ranks`."""
    found = np.arange(match_ranks.shape[1])
    precision = (found + 1) / (match_ranks + 1)
    if rule == "trapezoid":
        just_before = np.where(match_ranks > 0, found / np.maximum(match_ranks, 1), 1.0)
        precision = (precision + just_before) / 2
    return np.where(found < count[:, None], precision, 0).sum(1) / count


def checked_blocks(
    distances: Distances, num_queries: int, num_gallery: int, over_ranks: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """Cut a matrix of distances into blocks, or pass blocks on, with their shapes checked.

    Args:
        distances: (Q, G), or blocks ``(start, (rows, G))``.
        num_queries: Q.
        num_gallery: G.
        over_ranks: Take this rank's blocks of a matrix alone; of blocks, let those of other ranks be missing.

    Yields:
        ``(start, block)``, floating point, in order.

    Raises:
        InputError: Queries are missing or twice, or the gallery has another size.
    """
    covered = 0
    for start, block in _split_matrix(distances, over_ranks):
        in_order = start >= covered if over_ranks else start == covered
        if not in_order or block.dim() != 2 or block.shape[1] != num_gallery:
            raise InputError(
                f"distances {tuple(block.shape)} of query {start} on were given, but the next block belongs to query "
                f"{covered} and {num_gallery} gallery images."
            )
        covered = start + len(block)
        yield start, block


def require_all(parts: Iterable[tuple[int, int]], num_queries: int) -> None:
    """Refuse queries that are missing or twice.

    Args:
        parts: First query and number of queries of each part, in order.
        num_queries: Q.

    Raises:
        InputError: The parts are not all queries, each once.
    """
    covered = 0
    for start, size in parts:
        if start != covered:
            raise InputError(
                f"found distances of query {start} on after those of the first {covered}, expected each query once: "
                "with over_ranks=True give each rank its own blocks."
            )
        covered += size
    if covered != num_queries:
        raise InputError(
            f"distances of {covered} queries were given, but there are {num_queries} query pids."
        )


def _split_matrix(distances: Distances, over_ranks: bool) -> Iterator[tuple[int, Tensor]]:
    if not isinstance(distances, (Tensor, np.ndarray)):
        yield from distances
        return
    matrix = torch.as_tensor(distances).detach()
    starts = range(0, len(matrix), _ROWS)
    for start in own_turns(starts) if over_ranks else starts:
        rows = matrix[start : start + _ROWS]
        is_wide = rows.dtype.is_floating_point and rows.element_size() >= 4
        yield start, rows if is_wide else rows.float()
