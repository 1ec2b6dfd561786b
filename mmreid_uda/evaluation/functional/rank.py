"""Ranking measures of re-identification: mAP, CMC and mINP, array in and number out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils import InputError, make_rng

from .distance import distance_blocks

__all__ = ["RankResult", "check_options", "evaluate_rank"]

Array = Tensor | np.ndarray
_JUNK = -1
_REPEATS = 10  # galleries drawn by the CUHK03 protocol
# Entries ranked at once; ranking needs about 30 bytes of scratch memory per entry.
_RANK_ENTRIES = 2**21


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
    """

    mAP: float
    cmc: np.ndarray
    mINP: float
    num_queries: int
    num_valid: int
    ap: np.ndarray

    def summary(self) -> dict[str, float]:
        """The figures papers print, in percent: ``mAP``, ``R1``, ``R5``, ``R10`` (up to ``max_rank``), ``mINP``."""
        ranks = {
            f"R{rank}": float(self.cmc[rank - 1]) for rank in (1, 5, 10) if rank <= len(self.cmc)
        }
        return {
            key: 100 * value for key, value in {"mAP": self.mAP, **ranks, "mINP": self.mINP}.items()
        }


def evaluate_rank(
    query_features: Array | None,
    gallery_features: Array | None,
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any,
    gallery_camids: Any,
    *,
    same_camera: str = "remove",
    max_rank: int = 50,
    protocol: str = "market",
    ap: str = "precision",
    normalize: bool = True,
    distances: Array | Iterable[tuple[int, Tensor]] | None = None,
    query_ids: Any = None,
    gallery_ids: Any = None,
    seed: int = 0,
    block_size: int | None = None,
) -> RankResult:
    """Rank the gallery for every query and measure where its matches stand.

    The distances are made and consumed a block of queries at a time. Nothing is sorted but the distances of the
    matches themselves: the place of a match is counted, and is the one it has in a stable sort by distance, so that
    equal distances stand in the order of the gallery.

    Gallery images of identity -1 are junk and left out; identities that no query has (distractors) stay. A query
    without match is skipped, and counted in ``num_queries`` only.

    Args:
        query_features: (Q, D), any device; None if ``distances`` are given.
        gallery_features: (G, D); None if ``distances`` are given.
        query_pids: (Q,), identities: integers or strings.
        gallery_pids: (G,), identities.
        query_camids: int (Q,), cameras.
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
            matrix is not changed, blocks may be.
        query_ids: (Q,), identity of the image itself, for ``same_camera='keep'``; None if no image is in both sets.
        gallery_ids: (G,), likewise.
        seed: Seed of the galleries drawn by ``'cuhk03'``.
        block_size: Queries per block of distances; None chooses it.

    Returns:
        The figures.

    Raises:
        InputError: No query has a match, lengths disagree, distances are not finite, or an option is unknown.

    Source: METHODS §1.9; Zheng et al., "Scalable Person Re-identification", ICCV 2015 (mAP, CMC); Ye et al., "Deep
    Learning for Person Re-identification: A Survey", TPAMI 2021 (mINP).
    """
    check_options(same_camera=same_camera, max_rank=max_rank, protocol=protocol, ap=ap)
    rules = _Protocol(
        query_pids, gallery_pids, query_camids, gallery_camids, same_camera, query_ids, gallery_ids
    )
    if not rules.run_length.any():
        raise InputError(rules.no_match_message())
    if distances is None:
        if query_features is None or gallery_features is None:
            raise InputError(
                "evaluate_rank needs query_features and gallery_features, or distances."
            )
        distances = distance_blocks(
            query_features, gallery_features, normalize=normalize, block_size=block_size
        )
    shots = _SingleShot(rules, seed) if protocol == "cuhk03" else None

    num_queries = rules.num_queries
    average_precision = np.full(num_queries, np.nan)
    inverse_penalty = np.full(num_queries, np.nan)
    hits = np.zeros(max_rank + 1)  # histogram of the place of the first match
    for start, block in _checked_blocks(distances, num_queries, rules.num_gallery):
        block = rules.without_junk(block)
        matches, ignored = rules.pairs(start, start + len(block))
        places, count = _places_of_matches(block, matches, ignored)
        valid = np.flatnonzero(count) + start
        if not len(valid):
            continue
        places, count_on_device = places[valid - start], torch.from_numpy(count[valid - start])
        count_on_device = count_on_device.to(places.device)
        average_precision[valid] = _average_precision(places, count_on_device, ap).cpu().numpy()
        last = places.gather(1, count_on_device[:, None] - 1)[:, 0]
        inverse_penalty[valid] = (count_on_device / (last + 1).double()).cpu().numpy()
        if shots is None:
            hits += np.bincount(
                places[:, 0].clamp(max=max_rank).cpu().numpy(), minlength=max_rank + 1
            )
        else:
            hits += shots.hits(block, start, valid - start, max_rank)

    num_valid = int(np.isfinite(average_precision).sum())
    if num_valid == 0:
        raise InputError(rules.no_match_message())
    denominator = num_queries if ap == "trapezoid" else num_valid
    return RankResult(
        mAP=float(np.nansum(average_precision) / denominator),
        cmc=np.cumsum(hits[:max_rank]) / denominator,
        mINP=float(np.nansum(inverse_penalty) / denominator),
        num_queries=num_queries,
        num_valid=num_valid,
        ap=average_precision,
    )


def check_options(
    *,
    same_camera: str = "remove",
    max_rank: int = 50,
    protocol: str = "market",
    ap: str = "precision",
) -> None:
    """Refuse options that :func:`evaluate_rank` does not know, for callers that want to know before the training.

    Args:
        same_camera: As in :func:`evaluate_rank`, and so are the others.
        max_rank: Length of the CMC curve.
        protocol: Way to measure the CMC.
        ap: Way to measure the average precision.

    Raises:
        InputError: Names the option and its choices.
    """
    for name, value, choices in (
        ("same_camera", same_camera, ("remove", "keep")),
        ("protocol", protocol, ("market", "cuhk03")),
        ("ap", ap, ("precision", "trapezoid")),
    ):
        if value not in choices:
            raise InputError(
                f"{name} is {value!r}, but must be one of {', '.join(map(repr, choices))}."
            )
    if protocol == "cuhk03" and same_camera == "keep":
        raise InputError(
            "protocol='cuhk03' compares images of different cameras, but same_camera='keep' says that cameras are to "
            "be ignored: use protocol='market', or same_camera='remove' with camera numbers."
        )
    if max_rank < 1:
        raise InputError(f"max_rank is {max_rank}, but the CMC curve needs at least 1 rank.")


def _places_of_matches(
    block: Tensor, matches: tuple[Tensor, Tensor], ignored: tuple[Tensor, Tensor]
) -> tuple[Tensor, np.ndarray]:
    """Place of every match in the stable order of its row, without sorting the row.

    Args:
        block: (rows, G) distances; the ignored entries are overwritten.
        matches: (row, column) of the matches, ascending by row, then by column.
        ignored: (row, column) of the entries that do not take part.

    Returns:
        Places, 0-based, int64 (rows, most matches of a row), ascending; only the first ``count`` of a row mean
        something. And ``count``, int64 (rows,).
    """
    num_rows, num_gallery = block.shape
    device = block.device
    row, column = (index.to(device) for index in matches)
    block[ignored[0].to(device), ignored[1].to(device)] = torch.inf
    count = torch.bincount(matches[0], minlength=num_rows)
    width = max(int(count.max()), 1)

    slot = (torch.arange(len(row)) - (count.cumsum(0) - count).repeat_interleave(count)).to(device)
    match = block.new_full((num_rows, width), torch.inf)
    match[row, slot] = block[row, column]
    match_column = torch.full((num_rows, width), num_gallery, device=device)
    match_column[row, slot] = column
    match, order = match.sort(dim=1, stable=True)
    match_column = match_column.gather(1, order)

    step = max(_RANK_ENTRIES // num_gallery, 1)
    places = torch.cat(
        [
            _count_before(*parts)
            for parts in zip(block.split(step), match.split(step), match_column.split(step))
        ]
    )
    return places, count.numpy()


def _count_before(block: Tensor, match: Tensor, match_column: Tensor) -> Tensor:
    """Count the entries that stand before each match.

    Every entry falls into the bin of the first match that it stands before; the running sum over the bins then counts
    the entries before each match.

    Args:
        block: (rows, G) distances.
        match: (rows, M) distances of the matches, ascending by (distance, column), filled up with inf.
        match_column: int64 (rows, M), their columns.

    Returns:
        int64 (rows, M).
    """
    num_rows, num_gallery = block.shape
    width = match.shape[1]
    bins = torch.searchsorted(match, block)
    # An entry as far as a match stands before it if its column is smaller. Both are compared by one integer key:
    # (row, first match of that distance, column).
    row, column = torch.nonzero(match.gather(1, bins.clamp(max=width - 1)) == block, as_tuple=True)
    first_row = torch.arange(num_rows, device=block.device)[:, None] * (width + 1)
    match_keys = (first_row + torch.searchsorted(match, match)) * (num_gallery + 1) + match_column
    keys = (row * (width + 1) + bins[row, column]) * (num_gallery + 1) + column
    bins[row, column] = torch.searchsorted(match_keys.flatten(), keys, right=True) - row * width
    histogram = torch.bincount((bins + first_row).flatten(), minlength=num_rows * (width + 1))
    return histogram.view(num_rows, width + 1).cumsum(1)[:, :width]


def _average_precision(places: Tensor, count: Tensor, rule: str) -> Tensor:
    """Average precision of each row: float64 (rows,); arguments as :func:`_places_of_matches` returns them."""
    found = torch.arange(places.shape[1], device=places.device)
    precision = (found + 1) / (places + 1).double()
    if rule == "trapezoid":
        just_before = torch.where(places > 0, found / places.clamp(min=1).double(), 1.0)
        precision = (precision + just_before) / 2
    return precision.masked_fill(found >= count[:, None], 0).sum(1) / count


class _Protocol:
    """Which gallery images are a query's matches, and which take no part in its ranking."""

    def __init__(
        self,
        query_pids: Any,
        gallery_pids: Any,
        query_camids: Any,
        gallery_camids: Any,
        same_camera: str,
        query_ids: Any,
        gallery_ids: Any,
    ) -> None:
        query, gallery = _to_numpy(query_pids), _to_numpy(gallery_pids)
        self.num_queries, self.num_gallery = len(query), len(gallery)
        is_junk = gallery == _JUNK if gallery.dtype.kind in "iu" else np.zeros(len(gallery), bool)
        self.kept = np.flatnonzero(~is_junk)
        identities, codes = np.unique(
            np.concatenate([query, gallery[self.kept]]), return_inverse=True
        )
        self.num_identities = len(identities)
        self.query_pids, self.gallery_pids = codes[: len(query)], codes[len(query) :]
        self.query_camids = self._per_image("query_camids", query_camids, self.num_queries)
        self.gallery_camids = self._per_image("gallery_camids", gallery_camids, self.num_gallery)[
            self.kept
        ]
        if same_camera == "remove":
            self.query_marks, self.gallery_marks = self.query_camids, self.gallery_camids
        elif query_ids is not None and gallery_ids is not None:
            self.query_marks = self._per_image("query_ids", query_ids, self.num_queries)
            self.gallery_marks = self._per_image("gallery_ids", gallery_ids, self.num_gallery)[
                self.kept
            ]
        else:  # marks that are never equal: every image of the identity is a match
            self.query_marks = np.full(self.num_queries, -1)
            self.gallery_marks = np.full(len(self.kept), -2)
        # Gallery sorted by identity: a query's images of its own identity are one run of it.
        self.by_identity = np.argsort(self.gallery_pids, kind="stable")
        ordered = self.gallery_pids[self.by_identity]
        self.run_start = np.searchsorted(ordered, self.query_pids, "left")
        self.run_length = np.searchsorted(ordered, self.query_pids, "right") - self.run_start

    @staticmethod
    def _per_image(name: str, values: Any, length: int) -> np.ndarray:
        array = _to_numpy(values)
        if array.shape != (length,):
            raise InputError(
                f"{name} has shape {array.shape}, but there are {length} images with a pid."
            )
        return array

    def without_junk(self, block: Tensor) -> Tensor:
        """Drop the columns of junk images."""
        if len(self.kept) == self.num_gallery:
            return block
        return block[:, torch.from_numpy(self.kept).to(block.device)]

    def pairs(self, start: int, stop: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Matches and ignored entries of queries ``start..stop-1`` as (row, column), rows counted from ``start``."""
        length = self.run_length[start:stop]
        row = np.repeat(np.arange(stop - start), length)
        position = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        column = self.by_identity[np.repeat(self.run_start[start:stop], length) + position]
        ignored = self.query_marks[start + row] == self.gallery_marks[column]
        return (
            (torch.from_numpy(row[~ignored]), torch.from_numpy(column[~ignored])),
            (torch.from_numpy(row[ignored]), torch.from_numpy(column[ignored])),
        )

    def no_match_message(self) -> str:
        """Why no query can be evaluated, with the numbers a user needs to see what is wrong."""
        shared = len(np.intersect1d(self.query_pids, self.gallery_pids))
        cameras = len(np.union1d(self.query_camids, self.gallery_camids))
        remedy = (
            "every match has the query's camera: set same_camera='keep' if the cameras are unknown or only one"
            if shared
            else "query and gallery must show the same people: check the pids of both"
        )
        return (
            f"none of {self.num_queries} queries has a match among {self.num_gallery} gallery images "
            f"({shared} shared identities, {cameras} cameras); {remedy}."
        )


class _SingleShot:
    """The CUHK03 protocol's galleries: one image per identity, none of the query's camera, drawn ten times.

    All queries of a camera meet the same ten galleries.
    """

    def __init__(self, protocol: _Protocol, seed: int) -> None:
        self.protocol = protocol
        self.shots = {
            camera: [
                self._draw(camera, make_rng(seed, "cuhk03", index, i)) for i in range(_REPEATS)
            ]
            for index, camera in enumerate(np.unique(protocol.query_camids))
        }

    def _draw(self, camera: int, rng: np.random.Generator) -> np.ndarray:
        """Draw one image per identity: int64 (identities,), -1 where an identity has none in other cameras."""
        shuffled = rng.permutation(np.flatnonzero(self.protocol.gallery_camids != camera))
        identity, first = np.unique(self.protocol.gallery_pids[shuffled], return_index=True)
        shot = np.full(self.protocol.num_identities, -1)
        shot[identity] = shuffled[first]
        return shot

    def hits(self, block: Tensor, start: int, rows: np.ndarray, max_rank: int) -> np.ndarray:
        """Histogram of the match's place, mean over the galleries: float64 (max_rank + 1,).

        Args:
            block: (queries, G) distances.
            start: Index of the block's first query.
            rows: Rows of the block to evaluate, each with at least one match.
            max_rank: Places from here on share the last bin.
        """
        total = np.zeros(max_rank + 1)
        cameras = self.protocol.query_camids[start + rows]
        for camera in np.unique(cameras):
            queries = rows[cameras == camera]
            identity = self.protocol.query_pids[start + queries]
            distances = block[torch.from_numpy(queries).to(block.device)]
            for shot in self.shots[camera]:
                match = torch.from_numpy(shot[identity]).to(block.device)[:, None]
                column = torch.from_numpy(shot[shot >= 0]).to(block.device)
                drawn, nearest = distances[:, column], distances.gather(1, match)
                before = (drawn < nearest) | ((drawn == nearest) & (column < match))
                place = before.sum(1).clamp(max=max_rank).cpu().numpy()
                total += np.bincount(place, minlength=max_rank + 1)
        return total / _REPEATS


def _checked_blocks(
    distances: Array | Iterable[tuple[int, Tensor]], num_queries: int, num_gallery: int
) -> Iterator[tuple[int, Tensor]]:
    """Blocks of distances that may be overwritten, with their shapes and values checked."""
    covered = 0
    for start, block in _split_matrix(distances):
        if start != covered or block.dim() != 2 or block.shape[1] != num_gallery:
            raise InputError(
                f"distances {tuple(block.shape)} of query {start} on were given, but the next block belongs to query "
                f"{covered} and {num_gallery} gallery images."
            )
        # NaN wins both extremes, so that one pass finds everything that is not a number.
        if not bool(torch.stack(block.aminmax()).isfinite().all()):
            raise InputError(
                f"the distances of queries {start}.. hold NaN or inf, so they cannot be ranked."
            )
        covered += len(block)
        yield start, block
    if covered != num_queries:
        raise InputError(
            f"distances of {covered} queries were given, but there are {num_queries} query pids."
        )


def _split_matrix(distances: Array | Iterable[tuple[int, Tensor]]) -> Iterator[tuple[int, Tensor]]:
    if not isinstance(distances, (Tensor, np.ndarray)):
        yield from distances
        return
    matrix = torch.as_tensor(distances).detach()
    if not matrix.dtype.is_floating_point or matrix.element_size() < 4:
        matrix = matrix.float()
    rows = max(_RANK_ENTRIES // max(matrix.shape[-1], 1), 1)
    for start in range(0, len(matrix), rows):
        yield start, matrix[start : start + rows].clone()


def _to_numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
