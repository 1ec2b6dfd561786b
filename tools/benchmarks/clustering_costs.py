"""What pseudo-labels cost beside the papers' dense algorithm, and whether they are equal."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from clustering_sides import (
    CAMERAS,
    CLUSTERER,
    FLOAT32,
    INT8,
    PLAIN,
    REFERENCE,
    SIDES,
    Run,
    Settings,
    reference_distances,
    reference_encodings,
    reference_labels,
    reference_ranks,
    reference_search,
    search,
)
from measuring import added_memory, fitted_exponent, processor, take_turns
from synthetic_features import IMAGES_PER_ID, NUM_CAMERAS, NUM_SAMPLES, make_features
from torch import Tensor

from mmreid_uda.clustering import dbscan
from mmreid_uda.neighbors import Neighbors, jaccard_distances, jaccard_encodings, unit_rows
from mmreid_uda.utils import (
    InputError,
    check_vectors,
    kernels_available,
    make_rng,
    num_threads,
    without_kernels,
)

_WARM_UP = 256
_FLOOR_BLOCKS = (1024, 2048, 4096)
_ROWS_AT_ONCE = 1024


def load_features(args: argparse.Namespace, num: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw features, or read the first ``num`` of the file, to which cameras are dealt at random.

    Args:
        args: The command line.
        num: N; None for the file's own number, or that of Market-1501.

    Returns:
        float32 (N, D), rows of unit norm, and cameras int32 (N,).
    """
    if not args.features:
        num = num or NUM_SAMPLES
        ids = max(1, num // IMAGES_PER_ID)
        features, _, cameras = make_features(num, ids, NUM_CAMERAS, dim=args.dim, seed=args.seed)
        return features, cameras.astype(np.int32)
    try:
        stored = np.load(args.features, mmap_mode="r")
    except (EOFError, OSError, ValueError) as error:
        raise InputError(
            f"found no array in --features {args.features}, expected a file of numpy.save: {error}"
        ) from error
    shape: tuple[int, ...] = getattr(stored, "shape", ())  # an archive has none
    if len(shape) != 2 or shape[0] < (num or 1):
        raise InputError(
            f"found features of shape {shape} in {args.features}, expected (N, D) with at least {num or 1} rows."
        )
    hint = "give a file of finite features"
    features = unit_rows(check_vectors(stored[:num], f"features of {args.features}", hint))
    cameras = make_rng(args.seed, "cameras").integers(0, NUM_CAMERAS, len(features))
    return features, cameras.astype(np.int32)


def chosen_sides(args: argparse.Namespace) -> list[str]:
    """The sides that mean something on this machine, of those that the command line names."""
    left_out = {REFERENCE} if args.skip_reference else set()
    if args.sides:
        left_out |= {*SIDES} - {FLOAT32, *args.sides}
    if args.gpu:
        left_out |= {INT8, CLUSTERER}  # the search in int8 and the clusterer run on the CPU
    elif not kernels_available():
        left_out |= {INT8, PLAIN}  # float32 is the side without kernels, and there are no others
    return [side for side in SIDES if side not in left_out]


# ---- what is measured


def time_sides(
    features: np.ndarray, settings: Settings, sides: list[str], repetitions: int
) -> dict[str, list[Run]]:
    """Run the sides in turns, each once on a few images before."""
    for side in sides:
        SIDES[side](features[:_WARM_UP], settings)
    return take_turns(
        {side: partial(SIDES[side], features, settings) for side in sides}, repetitions
    )


def medians(runs: list[Run]) -> dict[str, Any]:
    """The runs of one side as figures: medians over the repetitions, of each step and of their sums."""
    return {
        "seconds": statistics.median(run.total for run in runs),
        "knn": statistics.median(run.seconds["knn"] for run in runs),
        "after_knn": statistics.median(run.total - run.seconds["knn"] for run in runs),
        "steps": {
            step: statistics.median(run.seconds[step] for run in runs) for step in runs[0].seconds
        },
        "cpu_seconds": statistics.median(run.cpu_seconds for run in runs),
        "cpu_steps": {
            step: statistics.median(run.cpu[step] for run in runs) for step in runs[0].cpu
        },
        "num_clusters": int(runs[0].labels.max()) + 1,
        "outlier_ratio": float((runs[0].labels < 0).mean()),
    }


def prepare_side(settings: Settings, side: str, features: np.ndarray) -> Callable[[], Run]:
    """In a process of its own: libraries and compiled kernels loaded; the run is left to do."""
    SIDES[side](features[:_WARM_UP], settings)
    return partial(SIDES[side], features, settings)


def product_rate(dim: int, gpu: bool, repetitions: int = 5) -> float:
    """The best rate of products of large float32 blocks, by torch or NumPy, in operations per second."""
    best = 0.0
    for size in _FLOOR_BLOCKS:
        # Two matrices: NumPy would notice the product of one with its own transpose, and compute half of it.
        left, right = torch.ones(2, size, dim, device="cuda" if gpu else "cpu")
        products: list[Callable[[], Any]] = [partial(torch.mm, left, right.T)]
        if not gpu:
            products.append(partial(np.matmul, left.numpy(), right.numpy().T))
        for product in products:
            product()
            for _ in range(repetitions):
                start = time.perf_counter()
                product()
                if gpu:
                    torch.cuda.synchronize()
                best = max(best, 2 * size**2 * dim / (time.perf_counter() - start))
    return best


def check_equality(features: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Compare the dense distances and labels with ours, all from our ranks and similarities.

    Returns:
        ``max_distance_difference`` over all pairs; ``labels_equal``, element for element; both of the worse engine.
    """
    neighbors = search(features, settings)
    encodings = reference_encodings(
        neighbors.indices, settings, known_similarities(features, neighbors)
    )
    expected = reference_distances(encodings)
    del encodings
    expected_labels = reference_labels(expected, settings)
    difference, equal = 0.0, True
    for engine in (nullcontext, without_kernels):
        with engine():
            found = jaccard_encodings(features, neighbors, settings.k1, settings.k2)
            graph = jaccard_distances(found)
            difference = max(difference, largest_difference(graph, expected))
            graph = jaccard_distances(found, settings.eps)
            labels = dbscan(graph, settings.eps, settings.min_samples)
            equal &= np.array_equal(labels, expected_labels)
    return {"max_distance_difference": difference, "labels_equal": equal}


def known_similarities(
    features: np.ndarray, neighbors: Neighbors
) -> Callable[[int, np.ndarray], Tensor]:
    """The similarities of the lists, of the image or else of the other, and products for other pairs."""
    lists = [
        dict(zip(indices.tolist(), similarities.tolist()))
        for indices, similarities in zip(neighbors.indices, neighbors.similarities)
    ]

    def similarity(image: int, other: int) -> float:
        if other in lists[image]:
            return lists[image][other]
        if image in lists[other]:
            return lists[other][image]
        return float(features[image] @ features[other])

    return lambda image, others: torch.tensor([[similarity(image, int(one)) for one in others]])


def largest_difference(graph: Any, expected: np.ndarray) -> float:
    """The largest difference of any pair between a sparse graph of distances, absent = 1, and a dense one."""
    largest = 0.0
    for start in range(0, len(expected), _ROWS_AT_ONCE):
        part = graph[start : start + _ROWS_AT_ONCE].tocoo()
        dense = np.ones(part.shape, np.float32)
        dense[part.row, part.col] = part.data
        difference = np.abs(dense - expected[start : start + _ROWS_AT_ONCE]).max()
        largest = max(largest, float(difference))
    return largest


def same_neighbors(found: np.ndarray, expected: np.ndarray) -> float:
    """Share of the images that have the same set of neighbours in both lists."""
    return float((np.sort(found, 1) == np.sort(expected, 1)).all(1).mean())


def measure_growth(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Time our sides at several sizes and fit ``seconds ~ N^exponent``."""
    sides = [side for side in chosen_sides(args) if side in (FLOAT32, INT8, CAMERAS)]
    growth: dict[str, Any] = {"num_samples": sorted(args.growth), "sides": {}}
    rows: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for num in growth["num_samples"]:
        features, cameras = load_features(args, num)
        settings = replace(settings, cameras=cameras)
        runs = time_sides(features, settings, sides, args.repetitions)
        for side in sides:
            rows[side].append(medians(runs[side]))
    for side in sides:
        metrics = {key: [row[key] for row in rows[side]] for key in ("seconds", "knn", "after_knn")}
        exponents = {
            f"exponent_{key}": fitted_exponent(growth["num_samples"], metrics[key])
            for key in ("seconds", "after_knn")
        }
        # Seconds of a core tell of the work, where other processes share the machine.
        cpu = {
            step: [row["cpu_steps"][step] for row in rows[side]]
            for step in rows[side][0]["cpu_steps"]
        }
        cpu["after kNN"] = [
            sum(spent for step, spent in row["cpu_steps"].items() if step != "knn")
            for row in rows[side]
        ]
        cpu_exponents = {
            step: fitted_exponent(growth["num_samples"], spent) for step, spent in cpu.items()
        }
        growth["sides"][side] = metrics | exponents
        growth["sides"][side] |= {"cpu": cpu, "cpu_exponents": cpu_exponents}
    return growth


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time, weigh and compare the sides.

    Returns:
        ``sides``: per side the medians, and ``added_bytes``; the quotients ``speedup`` (float32),
        ``speedup_int8``, ``speedup_without_kernels``, ``speedup_clusterer``, ``speedup_after_knn`` (float32) and
        ``memory_ratio`` (float32), each the reference's figure divided by ours, None where a side was left out;
        ``camera_after_knn`` and ``camera_memory``: what the camera-aware side takes, divided by what float32 takes;
        ``gemm_floor_ratio`` and ``gemm_floor_ratio_int8``: seconds of the whole step divided by the floor; the
        figures of equality; ``growth``; and the circumstances.
    """
    if args.gpu and not torch.cuda.is_available():
        raise InputError("found no CUDA device, expected one for --gpu: leave --gpu out.")
    features, cameras = load_features(args, args.num_samples)
    settings = Settings(args.k1, args.k2, args.eps, args.min_samples, args.gpu, cameras)
    num, dim = features.shape
    rate = product_rate(dim, args.gpu)
    names = chosen_sides(args)
    runs = time_sides(features, settings, names, args.repetitions)
    rate = max(rate, product_rate(dim, args.gpu))
    sides = {side: medians(runs[side]) for side in names}
    for side, row in sides.items():
        row["added_bytes"] = added_memory(
            prepare_side, settings, side, arrays=dict(features=features)
        )
    floor = num**2 * dim / rate

    def quotient(side: str, key: str = "seconds", of: str = REFERENCE) -> float | None:
        above, below = sides.get(of, {}).get(key), sides.get(side, {}).get(key)
        return above / below if above and below else None

    metrics = {
        "num_samples": num,
        "dim": dim,
        **{key: value for key, value in vars(settings).items() if key != "cameras"},
        "features": args.features or f"synthetic, seed {args.seed}",
        "repetitions": args.repetitions,
        "threads": num_threads(),
        "processor": processor(),
        "reference_search": reference_search(args.gpu),
        "sides": sides,
        "speedup": quotient(FLOAT32),
        "speedup_int8": quotient(INT8),
        "speedup_without_kernels": quotient(PLAIN),
        "speedup_clusterer": quotient(CLUSTERER),
        "speedup_after_knn": quotient(FLOAT32, "after_knn"),
        "memory_ratio": quotient(FLOAT32, "added_bytes"),
        "camera_after_knn": quotient(FLOAT32, "after_knn", CAMERAS),
        "camera_memory": quotient(FLOAT32, "added_bytes", CAMERAS),
        "product_rate": rate,
        "gemm_floor_seconds": floor,
        "gemm_floor_ratio": sides[FLOAT32]["seconds"] / floor,
        "gemm_floor_ratio_int8": sides[INT8]["seconds"] / floor if INT8 in sides else None,
        "labels_equal": None,
        "max_distance_difference": None,
        "same_neighbors": {},
        "growth": None,
    }
    ranks = search(features, settings).indices
    if INT8 in sides:
        found = search(features, settings, "int8").indices
        metrics["same_neighbors"][INT8] = same_neighbors(found, ranks)
    if CLUSTERER in sides:
        metrics["clusterer_labels_equal"] = np.array_equal(
            runs[CLUSTERER][0].labels, runs[FLOAT32][0].labels
        )
    if REFERENCE in sides:
        found = reference_ranks(features, settings)
        metrics["same_neighbors"][REFERENCE] = same_neighbors(found, ranks)
        metrics |= check_equality(features, settings)
    del features
    if args.growth:
        metrics["growth"] = measure_growth(args, settings)
    return metrics
