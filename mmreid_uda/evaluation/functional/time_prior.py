"""How long people take from one camera to another, learned from labels, and used to rank a gallery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor

from mmreid_uda.checkpoint import find_labels
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import open_arrays
from mmreid_uda.utils.values import Count, Positive, checked

__all__ = ["TimePrior", "TimePriorOptions", "joint_score"]

# Of the Gaussian, beyond which it counts as zero.
_DEVIATIONS = 3
# In the place of an empty sum.
_TINY = 1e-7

Bandwidth = Annotated[float, Gt(0)]


class TimePriorOptions(TypedDict, total=False):
    """What a config or a command line may set of :meth:`TimePrior.of_run`."""

    labels: str
    bin_seconds: Positive
    num_bins: Count
    bandwidth: Bandwidth
    period: Positive | None


def joint_score(similarity: Any, probability: Any) -> Any:
    """``S = 1 / (1 + exp(-5 s)) · 1 / (1 + 2 exp(-5 p))``, by which a gallery is ranked, largest first.

    Args:
        similarity: s, cosines in -1..1, array or tensor of any shape.
        probability: p, of the time between both images, in 0..1, of the same shape.

    Returns:
        S in 0..1, of the same shape.

    Source: Wang et al., "Spatial-Temporal Person Re-identification", AAAI 2019, Eq. 4-5, with the released constants.
    """
    exp = torch.exp if isinstance(similarity, Tensor) else np.exp
    return 1 / (1 + exp(-5 * similarity)) / (1 + 2 * exp(-5 * probability))


class TimePrior:
    """For each pair of cameras a smoothed histogram of how long the same subject takes from one to the other.

    A subject counts once for each pair of cameras, with the mean of its times in either; which camera was the later one
    is told apart. The histogram of a pair is divided by its sum, smoothed by a Gaussian that is cut off at three
    deviations, and divided by its sum again.

    Only labels of the *training* images are needed. The released code takes annotated identities; here pseudo-labels
    serve, of which clusters seen by at least two cameras say something. Figures that use such a prior are no longer
    those of looks alone, and are reported under names of their own.

    Args:
        labels: int64 (N,), -1 = outlier.
        cameras: (N,), names (texts) or numbers; -1 or '' = unknown.
        times: float64 (N,) in seconds, on one clock; NaN = unknown.
        bin_seconds: Width of a bin. Defaults to 4 seconds: the 100 frames of Market-1501 at 25 a second.
        num_bins: Bins of a histogram; longer times have no probability. Defaults to 5000 (Market-1501; the released
            code has 3000 for DukeMTMC-reID).
        bandwidth: Standard deviation of the Gaussian, in bins. Defaults to 50.
        period: Seconds after which the count of the clock begins anew: times are taken modulo it. Defaults to None. The
            released code ignores the sequence of Market-1501's file names, which here lie a day apart: 86400 repeats
            it.

    Raises:
        InputError: No subject was seen by two cameras at known times that the histogram reaches.

    Source: Wang et al., "Spatial-Temporal Person Re-identification", AAAI 2019; released code.
    """

    @checked
    def __init__(
        self,
        labels: np.ndarray,
        cameras: np.ndarray,
        times: np.ndarray,
        bin_seconds: Positive = 4.0,
        num_bins: Count = 5000,
        bandwidth: Bandwidth = 50.0,
        period: Positive | None = None,
    ) -> None:
        self.bin_seconds, self.num_bins, self.period = bin_seconds, num_bins, period
        names = _names(cameras)
        use = (np.asarray(labels) >= 0) & (names != "") & np.isfinite(times)
        self.cameras, numbers = np.unique(names[use], return_inverse=True)
        later, earlier, bins = self._journeys(np.asarray(labels)[use], numbers, times[use])
        if not len(bins):
            raise InputError(
                f"found no cluster with images of two cameras at known times up to {num_bins * bin_seconds:g} seconds "
                f"apart among {len(names)} images ({int(use.sum())} in clusters, with camera and time), expected some "
                "to learn from how long the way between cameras takes: give labels of a run whose data set reads "
                "cameras and times (docs/data.md), or a larger bin_seconds."
            )
        pairs, of_pair = np.unique(later * len(self.cameras) + earlier, return_inverse=True)
        # Pairs of cameras that nobody was seen by have the last row, of zeros.
        self._row = np.full((len(self.cameras) + 1,) * 2, len(pairs))
        self._row[pairs // len(self.cameras), pairs % len(self.cameras)] = np.arange(len(pairs))
        counts = np.zeros((len(pairs) + 1, num_bins))
        np.add.at(counts, (of_pair, bins), 1)
        self.num_journeys = len(bins)
        self.density = np.stack([smoothed(one, bandwidth) for one in counts])

    @classmethod
    def of_run(cls, labels: str | Path, **options: Any) -> TimePrior:
        """Learn from the pseudo-labels that a run has saved.

        Args:
            labels: ``WORK_DIR/pseudo_labels/epoch_<n>.npz``, or the folder of the run, of which the last one counts.
            **options: As for the class, from ``bin_seconds`` on.

        Returns:
            The prior.

        Raises:
            InputError: There is no such file, it lacks cameras or times, or as for the class.
        """
        file = find_labels(labels)
        expected = "expected the pseudo-labels of a run whose data set reads cameras and times"
        with open_arrays(file, "gives no time prior", expected) as arrays:
            known = [arrays[name] for name in ("labels", "cameras", "times")]
            kinds = [f"{one.dtype.kind}{one.ndim}" for one in known]
            if len({len(one) for one in known}) > 1 or kinds not in (
                ["i1", "U1", "f1"],
                ["i1", "i1", "f1"],
            ):
                raise ValueError(
                    f"labels, cameras and times of shapes {[one.shape for one in known]}"
                )
        return cls(*known, **options)

    def _journeys(
        self, labels: np.ndarray, cameras: np.ndarray, times: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Later camera, earlier camera and bin, each int64 (M,): one for each subject and pair of its cameras."""
        if self.period is not None:
            times = times % self.period
        # One row for each camera that has seen a subject; those of a subject stand together.
        visits, of_image = np.unique(np.stack([labels, cameras], 1), axis=0, return_inverse=True)
        of_image = of_image.reshape(-1)
        # Relative to the first time: seconds since 1970 would lose the sixth digit in a sum.
        origin = times.min() if len(times) else 0.0
        sums = np.bincount(of_image, times - origin, minlength=len(visits))
        means = sums / np.bincount(of_image, minlength=len(visits))
        _, first, sizes = np.unique(visits[:, 0], return_index=True, return_counts=True)
        partners = np.repeat(first + sizes, sizes) - np.arange(len(visits)) - 1
        one = np.repeat(np.arange(len(visits)), partners)
        other = np.arange(len(one)) - np.repeat(np.cumsum(partners) - partners, partners) + one + 1
        gap = means[one] - means[other]
        first_is_later = gap > 0
        later = np.where(first_is_later, visits[one, 1], visits[other, 1])
        earlier = np.where(first_is_later, visits[other, 1], visits[one, 1])
        bins = (np.abs(gap) // self.bin_seconds).astype(np.int64)
        near = bins < self.num_bins
        return later[near], earlier[near], bins[near]

    def probability(
        self,
        query_cameras: np.ndarray,
        query_times: np.ndarray,
        gallery_cameras: np.ndarray,
        gallery_times: np.ndarray,
    ) -> np.ndarray:
        """Probability of the time between queries and gallery images, for each pair of them.

        Args:
            query_cameras: (Q,), names or numbers as in the labels.
            query_times: float64 (Q,) in seconds, NaN = unknown.
            gallery_cameras: (G,).
            gallery_times: float64 (G,).

        Returns:
            float64 (Q, G) in 0..1; 0 where a camera or time is unknown, both cameras are the same, nobody was seen by
            the pair, or the time is longer than the histogram.
        """
        sides = [
            (self._numbers(cameras)[index], self._clock(times)[index])
            for cameras, times, index in (
                (query_cameras, query_times, np.s_[:, None]),
                (gallery_cameras, gallery_times, np.s_[None, :]),
            )
        ]
        (query, when), (gallery, other) = sides
        gap = when - other
        with np.errstate(invalid="ignore"):
            bins = np.floor(np.abs(gap) / self.bin_seconds)
            usable = bins < self.num_bins  # False for NaN
            row = np.where(gap > 0, self._row[query, gallery], self._row[gallery, query])
        found = self.density[row, np.where(usable, bins, 0).astype(np.int64)]
        return np.where(usable, found, 0.0)

    def distances(
        self,
        blocks: Iterable[tuple[int, Tensor]],
        query_cameras: np.ndarray,
        query_times: np.ndarray,
        gallery_cameras: np.ndarray,
        gallery_times: np.ndarray,
    ) -> Iterator[tuple[int, Tensor]]:
        """Turn distances of looks into distances of looks and times, block by block.

        Args:
            blocks: Of :func:`~mmreid_uda.evaluation.functional.distance_blocks`, squared, of unit rows.
            query_cameras: As for :meth:`probability`, as are the next three.
            query_times: (Q,).
            gallery_cameras: (G,).
            gallery_times: (G,).

        Yields:
            ``(start, 1 - S)``, float64 (rows, G), see :func:`joint_score`.

        Raises:
            InputError: No camera of the queries, or none of the gallery, is one of the prior's.
        """
        for side, cameras in (("queries", query_cameras), ("gallery", gallery_cameras)):
            self.require_cameras(cameras, side)
        for start, block in blocks:
            part = slice(start, start + len(block))
            probability = self.probability(
                query_cameras[part], query_times[part], gallery_cameras, gallery_times
            )
            similarity = 1 - block.double() / 2
            yield (
                start,
                1 - joint_score(similarity, torch.from_numpy(probability).to(block.device)),
            )

    def require_cameras(self, cameras: np.ndarray, side: str) -> None:
        """Refuse images of which no camera is known to the prior.

        Args:
            cameras: (N,), names or numbers.
            side: What they are, for the sentence.

        Raises:
            InputError: None is.
        """
        if (self._numbers(cameras) == len(self.cameras)).all():
            others = sorted(set(_names(cameras)) - {""})
            raise InputError(
                f"found the cameras {', '.join(others[:5]) or '(none known)'} in the {side} and "
                f"{', '.join(self.cameras[:5])} in the labels of the time prior, expected some in common: take the "
                "labels of a run on the same cameras."
            )

    def _numbers(self, cameras: np.ndarray) -> np.ndarray:
        """Positions among the prior's cameras; behind the last one for all others."""
        names = _names(cameras)
        place = np.searchsorted(self.cameras, names).clip(max=len(self.cameras) - 1)
        return np.where(self.cameras[place] == names, place, len(self.cameras))

    def _clock(self, times: np.ndarray) -> np.ndarray:
        times = np.asarray(times, np.float64)
        return times if self.period is None else times % self.period


def smoothed(counts: np.ndarray, bandwidth: float) -> np.ndarray:
    """Density of a histogram: divided by its sum, smoothed by a truncated Gaussian, divided by its sum again.

    Args:
        counts: float64 (bins,), at least 0.
        bandwidth: Standard deviation in bins.

    Returns:
        float64 (bins,), sum 1 but for a tiny number, or 0 for an empty histogram.
    """
    reach = int(_DEVIATIONS * bandwidth)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-(offsets**2) / (2 * bandwidth**2)) / (bandwidth * np.sqrt(2 * np.pi))
    density = np.convolve(counts / (counts.sum() + _TINY), kernel)[reach : reach + len(counts)]
    return density / (density.sum() + _TINY)


def _names(cameras: np.ndarray) -> np.ndarray:
    """Cameras as texts (N,), '' = unknown."""
    cameras = np.asarray(cameras)
    if cameras.dtype.kind in "iu":
        return np.where(cameras < 0, "", cameras.astype(str))
    return cameras.astype(str)
