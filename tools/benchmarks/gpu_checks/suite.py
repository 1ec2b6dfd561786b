"""Which checks there are, for which device, in the order of their worth."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from synthetic_features import NUM_SAMPLES

from .algorithms import ALGORITHMS, STEPS_ALONE, config_name
from .clustering import check_jaccard_dbscan, check_kmeans, check_neighbors
from .findings import Findings
from .machine import REPOSITORY
from .plan import Check, Part
from .ranking import check_ranking, check_reranking
from .ranks import check_ranks
from .speed import (
    MODES,
    check_extraction,
    check_iteration,
    check_products,
    check_profile,
    check_speed,
)
from .steps import check_deterministic_step, check_mixed_step, check_step
from .training import check_repetition, check_training

__all__ = ["CUBLAS", "MEAN_TEACHERS", "NUM_IMAGES", "make_parts"]

NUM_IMAGES = (NUM_SAMPLES, 131_072)
"""Training images of Market-1501, and ten times as many: about those of the largest sets."""

CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Without it cuBLAS may add in another order from one call to the next."""

MEAN_TEACHERS = (
    "configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py",
    "configs/mmt/mmt-dbscan_r50_duke2market.py",
)
"""Whose iterations are timed: a small one for a trial, and as released."""

_FIRST = 3
# Encoders that are measured beside ResNet-50, if there are any.
_SMALL_VIT = re.compile(r"vit[-_]?(small|s(?![a-z]))")
# A processor takes longer than the guesses, which are for a GPU.
_SLOWER = 4.0


def make_parts(device: str, data_root: str, quick: bool = False) -> list[Part]:
    """All parts of a report.

    Args:
        device: ``'cuda'`` or ``'cpu'``.
        data_root: Folder for rendered people.
        quick: Of each the least: one iteration an epoch, 2,000 images, small batches, fewer trainings.
    """
    environment: dict[str, str | None] = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    several = max(1, min(6, (os.cpu_count() or 1) // 2))
    slower = _SLOWER if device == "cpu" else 1.0

    def part(
        name: str,
        share: float,
        checks: Sequence[Check],
        workers: int = 1,
        variables: dict[str, str | None] | None = None,
    ) -> Part:
        own = variables if device == "cuda" else None
        return Part(name, share, checks, workers, {**environment, **(own or {})})

    def check(
        function: Callable[..., Findings], name: str, expected: float, **arguments: Any
    ) -> Check:
        return Check(name, function, {"device": device, **arguments}, slower * expected)

    def trainings(configs: Sequence[str]) -> list[Check]:
        # Of a trial, every method in one of the two: in float32 the first, the next mixed, and so on.
        return [
            check(
                check_training,
                f"{config_name(config)}, {'--amp' if mixed else 'float32'}",
                20.0,
                config=config,
                mixed=mixed,
                **brief,
            )
            for number, config in enumerate(configs)
            for mixed in ((number % 2 == 1,) if quick else (False, True))
        ]

    def arrays(num: int) -> list[Check]:
        size = {"num": num, **({"dim": 256} if quick else {})}
        guess = 5.0 if num <= min(NUM_IMAGES) else 25.0
        return [
            check(check_neighbors, f"neighbours, N = {num}", guess, **size),
            check(check_jaccard_dbscan, f"Jaccard, DBSCAN, N = {num}", 2 * guess, **size),
            check(check_ranking, f"ranking, N = {num}", guess, **size),
            check(check_reranking, f"re-ranking, N = {num}", 2 * guess, **size),
            check(
                check_kmeans,
                f"k-means, N = {num}",
                3 * guess,
                num_clusters=100 if quick else 500,
                **size,
            ),
        ]

    brief: dict[str, Any] = {"data_root": data_root, "iterations": 1 if quick else 4}
    first = ALGORITHMS[:_FIRST]
    step_configs = ALGORITHMS if quick else (*ALGORITHMS, *STEPS_ALONE)
    # As of trainings: of a trial every method in one of the two.
    steps = [
        check(function, f"{config_name(config)}, {name}", 3.0, config=config)
        for turn, (function, name) in enumerate(
            ((check_step, "float32"), (check_mixed_step, "bfloat16"))
        )
        for number, config in enumerate(step_configs)
        if not quick or number % 2 == turn
    ]
    exact_steps = [
        check(check_deterministic_step, config_name(config), 2.0, config=config)
        for config in (first if quick else step_configs)
    ]
    repetitions = [
        check(check_repetition, config_name(config), 20.0, config=config, **brief)
        for config in first[: 1 if quick else _FIRST]
    ]
    ranks = [
        check(
            check_ranks,
            f"{config_name(config)}, {backend}",
            25.0,
            config=config,
            data_root=data_root,
            backend=backend,
        )
        for backend in (("gloo",) if device == "cpu" else ("gloo", "nccl"))
        for config in first[: 1 if quick else 2]
    ]
    parts = [
        part("One step: device = CPU", 15, steps, several),
        part("Short trainings", 20, trainings(first), several),
        part("Clustering and ranking", 15, arrays(2000 if quick else NUM_IMAGES[0])),
        part("Speed", 25, _speed(check, quick)),
        part("Deterministic steps", 5, exact_steps, several, {**CUBLAS}),
        # The tool sets the variable by itself.
        part("Deterministic trainings", 8, repetitions, several, dict.fromkeys(CUBLAS)),
        part("Two processes", 5, ranks),
    ]
    if not quick:
        parts += [
            part("Short trainings of the others", 12, trainings(ALGORITHMS[_FIRST:]), several),
            part("Clustering and ranking at size", 10, arrays(NUM_IMAGES[1])),
        ]
    return parts


def _speed(check: Callable[..., Check], quick: bool) -> list[Check]:
    """Products, trainings and extractions in all modes; what has to be compiled last."""
    size: dict[str, Any] = {"size": 4, "image": (64, 32)} if quick else {}
    timed = {**size, "seconds": 0.0} if quick else {}
    networks: dict[str, str | None] = {"ResNet-50": None}
    encoders = sorted((REPOSITORY / "configs" / "_base_" / "encoders").glob("vit*.py"))
    transformers = [path for path in encoders if _SMALL_VIT.match(path.stem)]
    for path in transformers[:1] if quick else transformers:
        networks[path.stem] = str(path.relative_to(REPOSITORY))
    modes = MODES[:2] if quick else MODES
    checks = [check(check_products, "products", 3.0, **({"size": 512} if quick else {}))]
    later: list[Check] = []
    for network, encoder in networks.items():
        for mode in modes:
            for function, name in ((check_speed, "training"), (check_extraction, "extraction")):
                compiled = "compiled" in mode
                made = check(
                    function,
                    f"{network}, {name}, {mode}",
                    60.0 if compiled else 10.0,
                    mode=mode,
                    encoder=encoder,
                    **timed,
                )
                (later if compiled else checks).append(made)
    kind = "mbv2" if quick else "r50"
    [config] = (path for path in MEAN_TEACHERS if kind in path)
    small = {"input_size": (64, 32), "global_batch_size": 8}
    iteration = check(
        check_iteration,
        f"{config_name(config)}, iteration",
        15.0,
        config=config,
        **({"repetitions": 1, "options": small} if quick else {}),
    )
    profile = check(check_profile, "profile, bfloat16", 10.0, mode=MODES[1], **size)
    return [*checks, profile, iteration, *later]
