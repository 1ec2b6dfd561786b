"""Ranking and re-ranking on a device beside the CPU and beside dense matrices in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmreid_uda.evaluation import evaluate_rank, rerank

from .clustering import WHOLE, people
from .dense import dense_ranking, dense_reranking
from .findings import Findings
from .machine import ON_CPU, float32_products, require, timed

__all__ = ["check_ranking", "check_reranking"]

FIGURE, PRECISION, FIRST = 1e-4, 1e-2, 1e-3
"""Largest difference of mAP, of the average precision of a query, and of rank 1, all 0..1: two images whose distances
are equal but for rounding change places."""

DISTANCE, SHARE = 1e-4, 1e-3
"""Re-ranked distances are equal up to the first, but for this share: a tie decided otherwise changes neighbourhoods."""

_SAMPLE, _WARM_UP = 512, 64


def check_ranking(device: str, num: int, dim: int = 2048) -> Findings:
    """Rank a gallery on a device: mAP and rank 1 must be those of the CPU and of a sort of all distances.

    Args:
        device: ``'cuda'`` or ``'cpu'``.
        num: Images; every fifth is a query.
        dim: D.
    """
    findings, query, gallery, labels, ours = _begin(device, num, dim)
    few = min(len(query), WHOLE if num <= WHOLE else _SAMPLE)
    some = (labels[0][:few], labels[1], labels[2][:few], labels[3])
    with float32_products():
        evaluate_rank(ours[0][:_WARM_UP], ours[1], *_first(labels, _WARM_UP))
        found = timed(findings, device, lambda: evaluate_rank(*ours, *labels))
        expected = timed(
            findings,
            "cpu",
            lambda: evaluate_rank(query[:few], gallery, *some),
            seconds=f"seconds of {few} queries on the CPU",
        )
        apart = np.abs(found.ap[:few] - expected.ap)
        findings.at_most("average precision", float(np.nanmax(apart)), PRECISION)
        findings.at_most("mean average precision", float(np.nanmean(apart)), FIGURE)
        if num > WHOLE:
            return findings
        findings.at_most("rank 1", abs(float(found.cmc[0] - expected.cmc[0])), FIRST)
        on_device = [torch.from_numpy(array).to(device) for array in labels]
        mean, first = timed(
            findings,
            device,
            lambda: dense_ranking(2 - 2 * ours[0] @ ours[1].T, *zip(on_device[:2], on_device[2:])),
            "dense",
        )
    findings.at_most("mAP, dense", abs(mean - found.mAP), FIGURE)
    findings.at_most("rank 1, dense", abs(first - float(found.cmc[0])), FIRST)
    return findings


def check_reranking(device: str, num: int, dim: int = 2048) -> Findings:
    """Re-rank a gallery on a device: distances must be those of the CPU and of dense matrices.

    Arguments are those of :func:`check_ranking`.
    """
    findings, query, gallery, _, ours = _begin(device, num, dim)
    keep = num <= WHOLE

    def work(features: Any) -> list[torch.Tensor]:
        blocks = rerank(*features, reuse_memory=not keep)
        return [block for _, block in blocks if keep]

    with float32_products():
        list(rerank(ours[0][:_WARM_UP], ours[1][:_WARM_UP]))
        found = timed(findings, device, lambda: work(ours))
        if not keep:
            return findings
        distances = torch.cat(found).cpu()
        expected = timed(findings, "cpu", lambda: work((query, gallery)), seconds=ON_CPU)
        beyond = (distances - torch.cat(expected)).abs() > DISTANCE
        findings.at_most("share of distances apart", beyond.double().mean().item(), SHARE)
        dense = timed(findings, device, lambda: dense_reranking(ours[0], ours[1]), "dense")
    beyond = (distances - dense.cpu()).abs() > DISTANCE
    findings.at_most("share of distances apart, dense", beyond.double().mean().item(), SHARE)
    return findings


def _begin(
    device: str, num: int, dim: int
) -> tuple[Findings, np.ndarray, np.ndarray, tuple[np.ndarray, ...], list[torch.Tensor]]:
    """Empty findings; queries, gallery, their labels (pids of both, camids of both), and both on a device."""
    require(device)
    features, pids, camids = people(num, dim)
    cut = num // 5
    labels = pids[:cut], pids[cut:], camids[:cut], camids[cut:]
    on_device = [torch.from_numpy(rows).to(device) for rows in (features[:cut], features[cut:])]
    return Findings(), features[:cut], features[cut:], labels, on_device


def _first(labels: tuple[np.ndarray, ...], count: int) -> tuple[np.ndarray, ...]:
    """Labels of the first queries and of the whole gallery."""
    return labels[0][:count], labels[1], labels[2][:count], labels[3]
