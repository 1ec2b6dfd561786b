"""What ranking and re-ranking cost beside the field's evaluators, and whether the figures are equal."""

from __future__ import annotations

import argparse
import functools
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from dense_jaccard import (
    average_encodings,
    distances_from_lists,
    expanded_set,
    reciprocal_neighbors,
)
from evaluation_ranks import measure_ranks
from measuring import added_memory, take_turns
from synthetic_features import make_features

from mmreid_uda.evaluation import evaluate_rank, rerank
from mmreid_uda.utils import InputError, kernels_available, num_threads, without_kernels

__all__ = ["measure", "report"]

RANKING, END_TO_END, RERANKING = "ranking", "end to end", "re-ranking"
PYTHON, COMPILED, OFFICIAL, PLAIN, OURS = "python", "compiled", "official", "ours, plain", "ours"
PEER = "torchreid"
MAX_RANK = 50
K1, K2, LAMBDA = 20, 6, 0.3
_TOLERANCE = 1e-6
# Images that warm a side up.
_WARM_UP = 64
# Images per identity, and cameras, about as in Market-1501.
_IMAGES_PER_ID, _CAMERAS = 13, 6


@dataclass(frozen=True)
class Problem:
    """Queries and gallery.

    Args:
        query: float32 (Q, D), rows of unit norm.
        gallery: float32 (G, D).
        labels: pids of queries and gallery, camids of queries and gallery, int64.
        distances: float32 (Q, G), squared; None where a part does not start from them.
    """

    query: np.ndarray
    gallery: np.ndarray
    labels: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    distances: np.ndarray | None = None

    def first_images(self, count: int) -> Problem:
        """A small problem to warm up with."""
        query_pids, gallery_pids, query_camids, gallery_camids = (
            labels[:count] for labels in self.labels
        )
        return Problem(
            self.query[:count],
            self.gallery[:count],
            (query_pids, gallery_pids, query_camids, gallery_camids),
            None if self.distances is None else self.distances[:count, :count].copy(),
        )

    @property
    def num_queries(self) -> int:
        """Q."""
        return len(self.query)


def make_problem(args: argparse.Namespace) -> Problem:
    """Draw the features; the first are the queries."""
    cut, num = args.num_queries, args.num_queries + args.num_gallery
    num_ids = max(num // _IMAGES_PER_ID, 2)
    features, pids, camids = make_features(num, num_ids, _CAMERAS, args.dim, args.seed)
    labels = pids[:cut], pids[cut:], camids[:cut], camids[cut:]
    distances = None
    if RANKING in args.parts and not args.skip_reference:
        distances = squared_distances(features[:cut], features[cut:])
    return Problem(features[:cut], features[cut:], labels, distances)


def squared_distances(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """``2 - 2 cos`` of all pairs, float32 (Q, G), written into one matrix."""
    distances = query @ gallery.T
    distances *= -2
    distances += 2
    return distances


def euclidean_distances(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Distances of all pairs of unit rows, float32 (Q, G)."""
    distances = squared_distances(query, gallery)
    np.maximum(distances, 0, out=distances)
    return np.sqrt(distances, out=distances)


# ---- the field's evaluators


def rank_in_python(
    problem: Problem, kind: Literal["quicksort", "stable"] = "quicksort"
) -> tuple[np.ndarray, float, float]:
    """The papers' evaluator: sort the whole matrix, then loop over the queries.

    Args:
        problem: With distances.
        kind: NumPy's sort; the papers' is not stable, so that equal distances stand in any order.

    Returns:
        CMC (max_rank,), mAP and mINP.
    """
    query_pids, gallery_pids, query_camids, gallery_camids = problem.labels
    assert problem.distances is not None
    order = np.argsort(problem.distances, axis=1, kind=kind)
    matches = (gallery_pids[order] == query_pids[:, np.newaxis]).astype(np.int32)
    curves, precisions, penalties = [], [], []
    for query in range(problem.num_queries):
        own = order[query]
        remove = (gallery_pids[own] == query_pids[query]) & (
            gallery_camids[own] == query_camids[query]
        )
        hits = matches[query][~remove]
        if not np.any(hits):
            continue
        found = hits.cumsum()
        last = np.max(np.where(hits == 1)[0])
        penalties.append(found[last] / (last + 1.0))
        curve = np.minimum(found, 1)[:MAX_RANK]
        curves.append(np.pad(curve, (0, MAX_RANK - len(curve)), mode="edge"))
        precision = found / (np.arange(len(found)) + 1.0)
        precisions.append((precision * hits).sum() / hits.sum())
    return np.mean(curves, axis=0), float(np.mean(precisions)), float(np.mean(penalties))


def rank_compiled(problem: Problem) -> tuple[np.ndarray, float, float]:
    """The field's Cython evaluator: NumPy sorts the whole matrix, one thread scans it.

    Returns: as :func:`rank_in_python`.
    """
    query_pids, gallery_pids, query_camids, gallery_camids = problem.labels
    assert problem.distances is not None
    order = np.argsort(problem.distances, axis=1)
    matches = (gallery_pids[order] == query_pids[:, np.newaxis]).astype(np.int64)
    return _scanner()(order, matches, query_pids, gallery_pids, query_camids, gallery_camids)


@functools.cache
def _scanner() -> Callable[..., tuple[np.ndarray, float, float]]:
    """Compile the scan over the sorted matrix."""
    from numba import njit

    @njit
    def scan(  # type: ignore[no-untyped-def]
        order, matches, query_pids, gallery_pids, query_camids, gallery_camids
    ):
        num_queries, num_gallery = order.shape
        curves = np.zeros((num_queries, MAX_RANK), np.float32)
        precisions, penalties = np.zeros(num_queries), np.zeros(num_queries)
        hits = np.zeros(num_gallery, np.int64)
        num_valid = 0
        for query in range(num_queries):
            kept, found = 0, 0
            for place in range(num_gallery):
                image = order[query, place]
                if (
                    gallery_pids[image] != query_pids[query]
                    or gallery_camids[image] != query_camids[query]
                ):
                    hits[kept] = matches[query, place]
                    found += hits[kept]
                    kept += 1
            if found == 0:
                continue
            found, last, precision = 0, 0, 0.0
            for place in range(kept):
                if hits[place]:
                    found += 1
                    last = place
                    precision += found / (place + 1.0)
                if place < MAX_RANK:
                    curves[num_valid, place] = min(found, 1)
            for place in range(kept, MAX_RANK):
                curves[num_valid, place] = 1
            precisions[num_valid] = precision / found
            penalties[num_valid] = found / (last + 1.0)
            num_valid += 1
        curve = np.zeros(MAX_RANK)
        for query in range(num_valid):
            curve += curves[query]
        return curve / num_valid, precisions[:num_valid].mean(), penalties[:num_valid].mean()

    return scan


def rank_features_compiled(problem: Problem) -> tuple[np.ndarray, float, float]:
    """Distances of all pairs as one matrix, then the field's evaluator."""
    distances = squared_distances(problem.query, problem.gallery)
    return rank_compiled(replace(problem, distances=distances))


def rank_by_peer(problem: Problem) -> tuple[np.ndarray, float]:
    """Torchreid's evaluator, which NumPy's sort is part of: CMC (max_rank,) and mAP."""
    import rank_cy

    curve, mean = rank_cy.evaluate_cy(problem.distances, *problem.labels, MAX_RANK, False)
    return np.asarray(curve), float(mean)


def rank_features_by_peer(problem: Problem) -> tuple[np.ndarray, float]:
    """Distances of all pairs as one matrix, then torchreid's evaluator."""
    return rank_by_peer(
        replace(problem, distances=squared_distances(problem.query, problem.gallery))
    )


def rerank_officially(problem: Problem) -> np.ndarray:
    """The official dense function (Zhong et al., CVPR 2017) and the three matrices that it asks for: float32 (Q, G)."""
    num_queries, query, gallery = problem.num_queries, problem.query, problem.gallery
    across = euclidean_distances(query, gallery)
    distances = np.concatenate(
        [
            np.concatenate([euclidean_distances(query, query), across], axis=1),
            np.concatenate([across.T, euclidean_distances(gallery, gallery)], axis=1),
        ],
        axis=0,
    )
    num = len(distances)
    distances = np.power(distances, 2).astype(np.float32)
    distances = np.transpose(1.0 * distances / np.max(distances, axis=0))
    encodings = np.zeros_like(distances).astype(np.float32)
    ranks = np.argsort(distances).astype(np.int32)
    half_set = functools.partial(reciprocal_neighbors, ranks, k=int(np.around(K1 / 2)))
    for i in range(num):
        members = reciprocal_neighbors(ranks, i, K1)
        expanded = expanded_set(members, half_set)
        weights = np.exp(-distances[i, expanded])
        encodings[i, expanded] = 1.0 * weights / np.sum(weights)
    distances = distances[:num_queries]
    encodings = average_encodings(encodings, ranks, K2)
    del ranks, half_set
    jaccard = distances_from_lists(encodings, num_queries)
    final = jaccard * (1 - LAMBDA) + distances * LAMBDA
    return final[:num_queries, num_queries:]


# ---- ours


def rank_ours(problem: Problem, from_features: bool = False) -> tuple[np.ndarray, float, float]:
    """Ours, from distances or from features: CMC, mAP and mINP."""
    if from_features:
        result = evaluate_rank(problem.query, problem.gallery, *problem.labels, max_rank=MAX_RANK)
    else:
        result = evaluate_rank(
            None, None, *problem.labels, max_rank=MAX_RANK, distances=problem.distances
        )
    return result.cmc, result.mAP, result.mINP


def rerank_ours(problem: Problem) -> int:
    """Ours, block by block as the evaluation takes it; returns the number of queries."""
    blocks = rerank(problem.query, problem.gallery, K1, K2, LAMBDA, reuse_memory=True)
    return sum(len(block) for _, block in blocks)


rank_features_ours = functools.partial(rank_ours, from_features=True)

SIDES: dict[str, dict[str, Callable[[Problem], Any]]] = {
    RANKING: {
        PYTHON: rank_in_python,
        COMPILED: rank_compiled,
        PEER: rank_by_peer,
        PLAIN: without_kernels()(rank_ours),
        OURS: rank_ours,
    },
    END_TO_END: {
        COMPILED: rank_features_compiled,
        PEER: rank_features_by_peer,
        PLAIN: without_kernels()(rank_features_ours),
        OURS: rank_features_ours,
    },
    RERANKING: {
        OFFICIAL: rerank_officially,
        PLAIN: without_kernels()(rerank_ours),
        OURS: rerank_ours,
    },
}
REFERENCES = {RANKING: COMPILED, END_TO_END: COMPILED, RERANKING: OFFICIAL}
"""Whom our side is compared with."""


# ---- measurement


def sides_of(part: str, skip_reference: bool, peer: Path | None) -> list[str]:
    """The sides of a part that can and shall run."""
    wanted = [OURS] if skip_reference else list(SIDES[part])
    missing = {COMPILED} if not kernels_available() else set()
    return [side for side in wanted if side not in missing and (peer or side != PEER)]


def check_peer(folder: Path) -> None:
    """Let this process, and those that it starts, find torchreid's evaluator.

    Raises:
        InputError: It is not there.
    """
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module("rank_cy")
    except ImportError as error:
        raise InputError(
            f"found no module rank_cy for this Python in {str(folder)!r} ({error}), expected torchreid's compiled "
            "evaluator: see the head of benchmark_evaluation.py, or leave --peer out."
        ) from error


def time_part(part: str, problem: Problem, sides: list[str], repetitions: int) -> dict[str, Any]:
    """Let the sides of a part take turns: medians of wall and CPU seconds per side."""
    for side in sides:
        SIDES[part][side](problem.first_images(_WARM_UP))
    turns = {side: functools.partial(time_side, part, side, problem) for side in sides}
    return {
        side: {
            "seconds": statistics.median(wall for wall, _ in times),
            "cpu_seconds": statistics.median(cpu for _, cpu in times),
        }
        for side, times in take_turns(turns, repetitions).items()
    }


def time_side(part: str, side: str, problem: Problem) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    SIDES[part][side](problem)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_memory(part: str, problem: Problem, sides: list[str]) -> dict[str, int | None]:
    """Bytes that each side needs above its inputs, in a process of its own."""
    query, gallery = problem.query, problem.gallery
    if part == RANKING:  # starts from distances: of the features only the lengths are needed
        query, gallery = np.zeros((len(query), 1)), np.zeros((len(gallery), 1))
    arrays = dict(query=query, gallery=gallery)
    arrays |= {f"labels{number}": labels for number, labels in enumerate(problem.labels)}
    if part == RANKING and problem.distances is not None:
        arrays["distances"] = problem.distances
    return {side: added_memory(prepare_side, part, side, arrays=arrays) for side in sides}


def prepare_side(
    part: str,
    side: str,
    query: np.ndarray,
    gallery: np.ndarray,
    distances: np.ndarray | None = None,
    **labels: np.ndarray,
) -> Callable[[], Any]:
    """In the process of its own: put the problem together and warm up."""
    problem = Problem(query, gallery, tuple(labels.values()), distances)  # type: ignore[arg-type]
    SIDES[part][side](problem.first_images(_WARM_UP))
    return lambda: SIDES[part][side](problem)


def check_ranking(problem: Problem) -> dict[str, float]:
    """Largest difference between our figures and those of a stable sort, averaged in float64."""
    expected, found = rank_in_python(problem, kind="stable"), rank_ours(problem)
    return {
        name: float(np.max(np.abs(np.asarray(found[place]) - np.asarray(expected[place]))))
        for place, name in enumerate(("cmc", "mAP", "mINP"))
    }


def check_reranking(problem: Problem) -> dict[str, float]:
    """Compare our re-ranked distances with the official ones.

    Two neighbours whose distances differ in the last bit may change places between the two, and with them the
    neighbourhoods that hold just one of them: hence the largest difference and the share of differing entries.
    """
    expected, largest, differing = rerank_officially(problem), 0.0, 0
    for start, block in rerank(problem.query, problem.gallery, K1, K2, LAMBDA):
        difference = np.abs(block.numpy() - expected[start : start + len(block)])
        largest = max(largest, float(difference.max()))
        differing += int((difference > _TOLERANCE).sum())
    return {"distance": largest, "share beyond 1e-6": differing / expected.size}


def measure_part(part: str, problem: Problem, args: argparse.Namespace) -> dict[str, Any]:
    """Time, memory and equality of one part."""
    sides = sides_of(part, args.skip_reference, args.peer)
    rows = time_part(part, problem, sides, args.repetitions)
    if not args.skip_memory:
        for side, size in measure_memory(part, problem, sides).items():
            rows[side]["added_bytes"] = size
    metrics: dict[str, Any] = {"rows": rows}
    reference = REFERENCES[part]
    if reference in rows:
        for name, key in (("speedup", "seconds"), ("cpu_speedup", "cpu_seconds")):
            metrics[name] = rows[reference][key] / rows[OURS][key]
        theirs, own = (rows[side].get("added_bytes") for side in (reference, OURS))
        metrics["memory_ratio"] = None if theirs is None else theirs / max(own, 1)
    if part == RANKING:
        metrics["difference"] = check_ranking(problem)
        if PEER in rows:
            (curve, mean), ours = rank_by_peer(problem), rank_ours(problem)
            metrics["difference from torchreid"] = {
                "cmc": float(np.abs(curve - ours[0]).max()),
                "mAP": abs(mean - ours[1]),
            }
    elif part == RERANKING and not args.skip_reference:
        metrics["difference"] = check_reranking(problem)
    return metrics


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all parts.

    Returns:
        ``parts``: per part, ``rows`` of seconds, CPU seconds and bytes per side, the quotients ``speedup``,
        ``cpu_speedup`` and ``memory_ratio`` of the reference and ours, and the largest ``difference`` between
        their results; ``over_ranks`` of :func:`measure_ranks`; and the circumstances.
    """
    if args.peer is not None:
        check_peer(args.peer)
    problem = make_problem(args)
    parts = [part for part in args.parts if part != RANKING or problem.distances is not None]
    return {
        "parts": {part: measure_part(part, problem, args) for part in parts},
        "over_ranks": measure_ranks(
            (problem.query, problem.gallery, *problem.labels), parts, args.ranks, args.repetitions
        ),
        "num_queries": args.num_queries,
        "num_gallery": args.num_gallery,
        "dim": args.dim,
        "repetitions": args.repetitions,
        "threads": num_threads(),
        "kernels": kernels_available(),
    }


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out as a table."""
    lines = [
        f"{metrics['num_queries']} queries × {metrics['num_gallery']} gallery images, {metrics['dim']}-d, "
        f"{metrics['threads']} threads, median of {metrics['repetitions']}",
        f"{'':12}{'':14}{'seconds':>10}{'CPU s':>10}{'added MiB':>12}",
    ]
    for part, measured in metrics["parts"].items():
        for side, row in measured["rows"].items():
            size = row.get("added_bytes")
            memory = "" if size is None else f"{size / 2**20:.0f}"
            lines.append(
                f"{part:12}{side:14}{row['seconds']:10.3f}{row['cpu_seconds']:10.3f}{memory:>12}"
            )
        if "speedup" in measured:
            ratio = measured["memory_ratio"]
            memory = "" if ratio is None else f", memory 1/{ratio:.1f}"
            lines.append(
                f"{part:12}{measured['speedup']:.1f}× the speed of '{REFERENCES[part]}' "
                f"({measured['cpu_speedup']:.1f}× by CPU time){memory}"
            )
        if "difference" in measured:
            lines.append(f"{part:12}largest difference: {measured['difference']}")
        if "difference from torchreid" in measured:
            lines.append(f"{part:12}from torchreid: {measured['difference from torchreid']}")
    for part, by_ranks in metrics["over_ranks"].items():
        for ranks, row in by_ranks.items():
            each = " + ".join(f"{seconds:.3f}" for seconds in row["cpu_seconds"])
            lines.append(f"{part:12}{f'{ranks} ranks':14}{row['seconds']:10.3f}{'':4}CPU s {each}")
    return "\n".join(lines)
