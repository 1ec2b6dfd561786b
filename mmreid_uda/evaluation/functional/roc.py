"""Verification: are two images of the same person? The ROC of all pairs of queries and gallery, counted exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils import InputError, in_threads, num_threads

from .match_ranks import runs_compiled
from .protocol import Protocol

__all__ = ["FALSE_POSITIVE_RATES", "PairCounter", "PairCounts", "VerificationResult", "read_counts"]

FALSE_POSITIVE_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Where papers sample the ROC."""

# A distance is known by the upper bits of its float32: the exponent and 18 binary digits. Bins cover 2^-24 to 2^16;
# memory of bins that are never used is never touched.
_DROPPED_BITS = 5
_EXPONENTS = (127 - 24, 127 + 16)
_FIRST_KEY = _EXPONENTS[0] << (23 - _DROPPED_BITS)
_NUM_BINS = (_EXPONENTS[1] - _EXPONENTS[0]) << (23 - _DROPPED_BITS)
# Entries counted at once without kernels.
_ENTRIES = 2**21


@dataclass(frozen=True)
class VerificationResult:
    """How well a threshold on the distance tells pairs of one person from pairs of two.

    Args:
        tpr: True positive rates in ``[0, 1]`` at :data:`FALSE_POSITIVE_RATES`: the largest that a threshold reaches
            without more false positives (nothing is interpolated).
        auc: Area under the ROC: the probability that a pair of one person is nearer than a pair of two, ties half.
        eer: Equal error rate, where as large a share of the negatives is accepted as of the positives refused, by
            linear interpolation between the two thresholds around.
        num_positives: Pairs of one person.
        num_negatives: Pairs of two.
    """

    tpr: tuple[float, ...]
    auc: float
    eer: float
    num_positives: int
    num_negatives: int

    def summary(self) -> dict[str, float]:
        """The figures of verification for a table.

        Returns:
            In percent: ``TPR@FPR=0.1`` and so on, ``AUC``, ``EER``.
        """
        rates = {f"TPR@FPR={fpr:g}": tpr for fpr, tpr in zip(FALSE_POSITIVE_RATES, self.tpr)}
        return {
            key: 100 * rate for key, rate in {**rates, "AUC": self.auc, "EER": self.eer}.items()
        }


PairCounts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Bins with pairs, ascending, and the numbers of pairs of one person and of two in each: int64, (bins,) each."""


class PairCounter:
    """Counts the distances of pairs of one person and of two, a block of queries at a time.

    The counts are exact integers for distances cut to 18 binary digits (a relative 4e-6, above the error of a float32
    product); memory does not grow with the number of pairs. Pairs that take no part in the ranking take no part here.

    Args:
        protocol: Tells positives and ignored pairs; all others are negatives.
    """

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self._positives = np.zeros(_NUM_BINS, np.int64)
        self._negatives = [np.zeros(_NUM_BINS, np.int64)]  # of each thread; their sum counts

    def add(self, block: Tensor, start: int) -> None:
        """Count a block.

        Args:
            block: (rows, kept gallery), finite distances of queries ``start..``; not changed.
            start: Index of the block's first query.

        Raises:
            InputError: A distance is negative.
        """
        block = block.float().contiguous()
        if bool(block.amin() < 0):
            raise InputError(
                f"found negative distances of queries {start}.., expected distances >= 0 for verification: give "
                f"squared distances instead of negated similarities."
            )
        if runs_compiled(block.device):
            self._count_with_kernels(block)
        else:
            self._count_without_kernels(block)
        positives, ignored = (
            _keys(block[torch.from_numpy(row), torch.from_numpy(column)]).cpu().numpy()
            for row, column in self.protocol.pairs(start, start + len(block))
        )
        np.add.at(self._positives, positives, 1)
        np.subtract.at(self._negatives[0], positives, 1)
        np.subtract.at(self._negatives[0], ignored, 1)

    def _count_with_kernels(self, block: Tensor) -> None:
        from . import kernels

        keys, parts = block.view(torch.int32).numpy(), num_threads()
        while len(self._negatives) < parts:
            self._negatives.append(np.zeros(_NUM_BINS, np.int64))

        def count(part: int) -> None:
            first, last = len(block) * part // parts, len(block) * (part + 1) // parts
            kernels.count_keys(first, last, keys, _DROPPED_BITS, _FIRST_KEY, self._negatives[part])

        in_threads(count, range(parts))

    def _count_without_kernels(self, block: Tensor) -> None:
        for rows in block.split(max(_ENTRIES // block.shape[1], 1)):
            keys = _keys(rows.flatten())
            first = int(keys.min())
            counts = torch.bincount(keys - first).cpu().numpy()
            self._negatives[0][first : first + len(counts)] += counts

    def result(self) -> VerificationResult:
        """Read the ROC off the counts.

        Returns:
            The figures of all pairs counted so far.

        Raises:
            InputError: There are no positives, or no negatives.
        """
        return read_counts([self.counts()])

    def num_pairs(self) -> tuple[int, int]:
        """How many pairs were counted so far.

        Returns:
            Those of one person, and of two.
        """
        _, positives, negatives = self.counts()
        return int(positives.sum()), int(negatives.sum())

    def threshold(self, fpr: float) -> tuple[float, float, float]:
        """The largest distance up to which at most a share of the pairs of two persons is accepted.

        Args:
            fpr: That share, 0..1.

        Returns:
            The distance, below which pairs are accepted, and the true and false positive rates measured there.
        """
        used, positives, negatives = self.counts()
        allowed = math.floor(fpr * negatives.sum() * (1 + 1e-12))
        last = int(np.searchsorted(negatives.cumsum(), allowed, "right"))  # bins that are accepted
        keys = np.array([used[last - 1] + 1 if last else 0], np.int32) + np.int32(_FIRST_KEY)
        edge = float((keys << _DROPPED_BITS).view(np.float32)[0])
        return (
            edge,
            float(positives[:last].sum() / max(positives.sum(), 1)),
            float(negatives[:last].sum() / max(negatives.sum(), 1)),
        )

    def counts(self) -> PairCounts:
        """What was counted so far.

        Returns:
            The counts, for :func:`read_counts`.
        """
        negatives = sum(self._negatives[1:], self._negatives[0])
        used = np.flatnonzero(negatives + self._positives)
        return used, self._positives[used], negatives[used]


def read_counts(parts: Sequence[PairCounts]) -> VerificationResult:
    """Read the ROC off what several counters have counted.

    Args:
        parts: Of each counter, such as one on every rank, its :meth:`PairCounter.counts`.

    Returns:
        The figures of all pairs together.

    Raises:
        InputError: There are no positives, or no negatives.
    """
    used, place = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    sums = np.zeros((2, len(used)), np.int64)
    for kind, total in enumerate(sums, 1):
        np.add.at(total, place, np.concatenate([part[kind] for part in parts]))
    result = _read_roc(*sums)
    if not result.num_positives or not result.num_negatives:
        raise InputError(
            f"found {result.num_positives} pairs of one person and {result.num_negatives} pairs of two, expected "
            f"some of both for verification: check the pids, or switch verification off."
        )
    return result


def _keys(distances: Tensor) -> Tensor:
    """Bins of some distances: int64 of the same shape."""
    keys = (distances.view(torch.int32) >> _DROPPED_BITS) - _FIRST_KEY
    return keys.clamp_(0, _NUM_BINS - 1).long()


def _read_roc(positives: np.ndarray, negatives: np.ndarray) -> VerificationResult:
    """Read the figures off the counts of each distance.

    Args:
        positives: int64 (bins,), by ascending distance.
        negatives: int64 (bins,).
    """
    # Accepted up to each bin, beginning with none at all.
    true, false = (np.concatenate([[0], counts.cumsum()]) for counts in (positives, negatives))
    num_positives, num_negatives = int(true[-1]), int(false[-1])
    tpr, fpr = true / max(num_positives, 1), false / max(num_negatives, 1)
    # A little more, so that a tenth of ten negatives is one.
    allowed = [math.floor(rate * num_negatives * (1 + 1e-12)) for rate in FALSE_POSITIVE_RATES]
    pairs_ordered = int(
        (negatives * (2 * true[1:] - positives)).sum()
    )  # twice: tied pairs are half
    pairs = num_positives * num_negatives
    return VerificationResult(
        tpr=tuple(float(tpr[np.searchsorted(false, most, "right") - 1]) for most in allowed),
        auc=pairs_ordered / (2 * pairs) if pairs else math.nan,
        eer=_equal_error_rate(tpr, fpr),
        num_positives=num_positives,
        num_negatives=num_negatives,
    )


def _equal_error_rate(tpr: np.ndarray, fpr: np.ndarray) -> float:
    """Where the line between two points of the ROC meets ``fpr = 1 - tpr``."""
    excess = fpr - (1 - tpr)  # from -1 to 1, ascending
    right = int(np.searchsorted(excess, 0.0))
    if right == 0 or right == len(excess):
        return math.nan
    share = -excess[right - 1] / (excess[right] - excess[right - 1])
    return float(fpr[right - 1] + share * (fpr[right] - fpr[right - 1]))
