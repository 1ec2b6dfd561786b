"""What FAT costs beside the triplet losses: one pass of each over N images, with gradient."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from measuring import added_memory, fitted_exponent
from synthetic_features import make_features
from torch import Tensor
from torch.nn import functional

from mmreid_uda.models.losses import (
    NegativeSet,
    compactness,
    hardest_pairs,
    pairwise_distances,
    point_to_set_hinge,
)
from mmreid_uda.models.memories import class_centroids
from mmreid_uda.utils import InputError, num_threads
from mmreid_uda.visualization import new_figure, write_picture

__all__ = ["draw", "measure", "report"]

SIDES = TRIPLET, BATCH_HARD, FAT = "full triplet", "batch-hard", "FAT"
MARGIN, BATCH = 1.0, 64
# A size is not repeated beyond so many seconds.
_PATIENCE = 10.0


def full_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Mean hinge over all triplets: one anchor after the other, since N³ numbers would not fit; a scalar."""
    distances = pairwise_distances(features)
    leaf = distances.detach().requires_grad_()
    total, count = torch.zeros(()), 0
    for anchor, row in enumerate(leaf):
        same = labels == labels[anchor]
        positives = row[same & (torch.arange(len(row)) != anchor)]
        hinges = functional.relu(positives.unsqueeze(1) - row[~same] + MARGIN)
        hinges.sum().backward()
        total += hinges.detach().sum()
        count += hinges.numel()
    assert leaf.grad is not None
    distances.backward(leaf.grad / count)
    return total / count


def batch_hard(features: Tensor, labels: Tensor) -> Tensor:
    """Mean hinge of every anchor's farthest positive and nearest negative among all N: a scalar."""
    distances = pairwise_distances(features)
    positives, negatives = hardest_pairs(distances.detach(), labels)
    anchors = torch.arange(len(features))
    loss = functional.relu(
        distances[anchors, positives] - distances[anchors, negatives] + MARGIN
    ).mean()
    loss.backward()
    return loss.detach()


def fat(features: Tensor, labels: Tensor, negatives: NegativeSet) -> Tensor:
    """Mean point-to-set hinge and compactness, in shuffled batches as in training: a scalar."""
    num_classes = int(labels.max()) + 1
    with torch.no_grad():
        plain = class_centroids(features, labels, num_classes)
    total = torch.zeros(())
    for batch in torch.randperm(len(features), generator=torch.Generator().manual_seed(0)).split(
        BATCH
    ):
        # A batch's features are the network's output, not a view of all: the gradient is that of the batch.
        points = features.detach()[batch].requires_grad_()
        setting = points, labels[batch], plain
        hinge = point_to_set_hinge(*setting, margin=MARGIN, negatives=negatives)
        loss = hinge + 0.1 * compactness(*setting)
        loss.backward()
        total += loss.detach() * len(batch)
    return total / len(features)


def make_pass(
    side: str, num: int, dim: int, num_ids: int, negatives: NegativeSet
) -> Callable[[], Tensor]:
    """One pass of a side over N images, after a small one has warmed the libraries up."""

    def run(count: int) -> Callable[[], Tensor]:
        features, pids, _ = make_features(count, min(num_ids, count // 4), 6, dim)
        labels = torch.from_numpy(pids)

        def once() -> Tensor:
            points = torch.from_numpy(features).requires_grad_()
            if side == FAT:
                return fat(points, labels, negatives)
            return (full_triplet if side == TRIPLET else batch_hard)(points, labels)

        return once

    run(min(num, 128))()
    return run(num)


def measure_side(side: str, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of CPU time and bytes at every size, and the exponents fitted to them."""
    sizes = sorted(getattr(args, side))
    if min(sizes) < 4 * BATCH or len(sizes) < 2:
        raise InputError(
            f"found the sizes {sizes} for {side}, expected at least two of at least {4 * BATCH} images; change "
            "--sizes-full-triplet, --sizes-batch-hard or --sizes-fat."
        )
    metrics: dict[str, Any] = {"num_samples": sizes, "seconds": [], "added_bytes": []}
    for num in sizes:
        setting = side, num, args.dim, args.num_ids, args.negatives
        work = make_pass(*setting)
        seconds: list[float] = []
        while not seconds or (len(seconds) < args.repetitions and sum(seconds) < _PATIENCE):
            started = time.process_time()
            work()
            seconds.append(time.process_time() - started)
        metrics["seconds"].append(min(seconds))
        if not args.skip_memory:
            metrics["added_bytes"].append(added_memory(make_pass, *setting))
    metrics["exponent_seconds"] = fitted_exponent(sizes, metrics["seconds"])
    if metrics["added_bytes"] and all(metrics["added_bytes"]):
        metrics["exponent_bytes"] = fitted_exponent(sizes, metrics["added_bytes"])
    return metrics


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all sides: ``sides``, with ``num_samples``, ``seconds``, ``added_bytes`` and exponents; circumstances."""
    return {
        "sides": {side: measure_side(side, args) for side in SIDES},
        "dim": args.dim,
        "num_ids": args.num_ids,
        "negatives": args.negatives,
        "repetitions": args.repetitions,
        "threads": num_threads(),
    }


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out as a table."""
    lines = [
        f"one pass with gradient, {metrics['num_ids']} identities, {metrics['dim']}-d, "
        f"{metrics['threads']} threads, best of {metrics['repetitions']}",
        f"{'':14}{'N':>8}{'CPU s':>10}{'added MiB':>12}",
    ]
    for side, row in metrics["sides"].items():
        sizes = row["added_bytes"] or [None] * len(row["seconds"])
        for num, seconds, size in zip(row["num_samples"], row["seconds"], sizes):
            memory = "" if size is None else f"{size / 2**20:.1f}"
            lines.append(f"{side:14}{num:8}{seconds:10.3f}{memory:>12}")
        exponents = f"time ~ N^{row['exponent_seconds']:.2f}"
        if "exponent_bytes" in row:
            exponents += f", memory ~ N^{row['exponent_bytes']:.2f}"
        lines.append(f"{side:14}{exponents}")
    return "\n".join(lines)


def draw(metrics: dict[str, Any], path: str) -> None:
    """Time and memory over N, on logarithmic axes."""
    panels = [("seconds", "exponent_seconds", "CPU seconds per pass", 1)]
    if all("exponent_bytes" in row for row in metrics["sides"].values()):
        panels.append(("added_bytes", "exponent_bytes", "added MiB", 2**20))
    drawing, axes = new_figure(1, len(panels), (5.5 * len(panels), 4))
    for axis, (key, exponent, title, unit) in zip(axes[0], panels):
        for side, row in metrics["sides"].items():
            values = [value / unit for value in row[key]]
            label = f"{side}: N^{row[exponent]:.2f}"
            axis.plot(row["num_samples"], values, marker="o", label=label)
        axis.set(xscale="log", yscale="log", xlabel="N", ylabel=title)
        axis.legend()
    write_picture(path, drawing)
