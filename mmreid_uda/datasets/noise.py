"""Label noise injected in a training set, to measure what a method makes of wrong labels."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypedDict

import numpy as np

from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.values import Fraction, Natural, checked

__all__ = ["NOISE_KINDS", "LabelNoise", "NoiseOptions", "precision_recall"]

NOISE_KINDS = ("wrong_id", "outlier", "duplicate")
"""An image of somebody else who is in the set; of somebody who is not; one image under two identities."""


class NoiseOptions(TypedDict, total=False):
    """The key ``noise`` of a training set."""

    wrong_id: Fraction
    outlier: Fraction
    duplicate: Fraction
    seed: Natural


@checked
class LabelNoise:
    """Give images of a training set wrong identities; equal seeds give equal noise.

    Shares are of all images as they were. Outliers come from identities that are dissolved: each of their images gets
    an identity of those that remain. Then images of remaining identities get the identity of another. Last, images
    that are still right are listed a second time, under another identity.

    Args:
        wrong_id: Share of images that get the identity of another person, 0..1.
        outlier: Share of images, at least, of people who have no identity of their own any more, 0..1.
        duplicate: Share of images that are listed twice, 0..1.
        seed: Seed of the draws, independent of the run's.

    Raises:
        InputError: If a share is out of range; at a call, if too few identities are left.

    Example:
        >>> target = dict(name='market1501', noise=dict(wrong_id=0.2, seed=1))
    """

    def __init__(
        self,
        wrong_id: Fraction = 0.0,
        outlier: Fraction = 0.0,
        duplicate: Fraction = 0.0,
        seed: Natural = 0,
    ) -> None:
        self.shares = dict(wrong_id=wrong_id, outlier=outlier, duplicate=duplicate)
        self.seed = seed

    def __call__(self, records: list[dict]) -> list[dict]:
        """Plant the noise.

        Args:
            records: One dict per image, with ``pid``; every image has one. They are not changed.

        Returns:
            Records in the same order, then the duplicates. Wrong ones have another ``pid``, ``noise`` (one of
            :data:`NOISE_KINDS`) and ``clean_pid``, the identity they had.
        """
        total = len(records)
        if any(record["pid"] is None for record in records):
            raise InputError(
                f"found images without identity among {total}, expected one for each to inject noise; remove `noise`."
            )
        records = [dict(record) for record in records]
        rng = make_rng(self.seed, "label noise")
        dissolved = self._dissolved(records, rng)
        remaining = [
            pid
            for pid in dict.fromkeys(record["pid"] for record in records)
            if pid not in dissolved
        ]
        if len(remaining) < 2:
            raise InputError(
                f"found {len(remaining)} identities left by noise.outlier={self.shares['outlier']}, expected at least "
                "2; lower it."
            )
        for record in records:
            if record["pid"] in dissolved:
                record.update(_wrong(record, "outlier", remaining, rng))
        right = [place for place, record in enumerate(records) if "noise" not in record]
        for place in self._draw(right, "wrong_id", total, rng):
            records[place].update(_wrong(records[place], "wrong_id", remaining, rng))
        right = [place for place, record in enumerate(records) if "noise" not in record]
        copies = [
            {**records[place], **_wrong(records[place], "duplicate", remaining, rng)}
            for place in self._draw(right, "duplicate", total, rng)
        ]
        return records + copies

    def _draw(
        self, places: list[int], kind: str, total: int, rng: np.random.Generator
    ) -> list[int]:
        count = min(round(self.shares[kind] * total), len(places))
        return sorted(rng.choice(places, count, replace=False).tolist()) if count else []

    def _dissolved(self, records: list[dict], rng: np.random.Generator) -> set[Any]:
        """Identities, in random order, until they have the share of the images."""
        sizes = list(Counter(record["pid"] for record in records).items())
        wanted, found = self.shares["outlier"] * len(records), 0
        dissolved = set()
        for number in rng.permutation(len(sizes)):
            if found >= wanted:
                break
            pid, size = sizes[number]
            dissolved.add(pid)
            found += size
        return dissolved


def _wrong(
    record: dict, kind: str, identities: list[Any], rng: np.random.Generator
) -> dict[str, Any]:
    """Another identity than the record's, and where it comes from."""
    others = [pid for pid in identities if pid != record["pid"]]
    chosen = others[int(rng.integers(len(others)))]
    return dict(pid=chosen, noise=kind, clean_pid=record["pid"])


def precision_recall(flagged: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """How well a method finds wrong labels.

    Args:
        flagged: bool (N,), labels that it does not believe.
        wrong: bool (N,), labels that are wrong.

    Returns:
        In percent ``precision``, where anything was flagged, and ``recall``, where anything is wrong.
    """
    hits = 100 * float((flagged & wrong).sum())
    counts = dict(precision=int(flagged.sum()), recall=int(wrong.sum()))
    return {name: hits / count for name, count in counts.items() if count}
