"""Lloyd's iterations on the device of the features, whose rows all ranks share."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils.dist import HeldByAll
from mmreid_uda.utils.row_shares import ALONE, RowShares

__all__ = ["Clusters", "LloydRanks", "lloyd", "lloyd_of_sklearn"]

# Rows of a block: fewer where its distances to the centres would be more than these.
_ROWS, _DISTANCES = 8192, 1 << 26
# Bits of a sum of entries that are whole numbers, beside the sign.
_BITS = 62


@dataclass(frozen=True)
class Clusters:
    """Where Lloyd's iterations have ended.

    Args:
        labels: int (N,), the nearest centre of each row.
        inertia: Sum of squared distances to it.
        iterations: Times that centres were moved.
    """

    labels: np.ndarray
    inertia: float
    iterations: int


def lloyd(
    rows: Tensor,
    start: np.ndarray,
    max_iterations: int = 300,
    tolerance: float = 1e-4,
    shares: RowShares = ALONE,
) -> Clusters:
    """Move every centre to the mean of the rows it is nearest to, until that changes nothing.

    The rules are those of scikit-learn: it ends as well when the squared ways of all centres sum up to no more than
    ``tolerance`` times the variance of an entry, and a cluster that has lost all its rows gets the row that is
    farthest from its centre. Of equally near centres the first counts.

    Entries are added up as whole numbers, so finely that float32 has nothing finer: a sum is the same in any order,
    and so is the result on one process and on several, and from one call to the next on a GPU.

    Args:
        rows: float32 (N, D), the same on every process.
        start: int64 (K,), the rows that are the first centres.
        max_iterations: Most times that centres move.
        tolerance: See above.
        shares: Who compares which rows with the centres.

    Returns:
        The clusters, the same on every process.

    Raises:
        InputError: Of another process that shares.
    """
    (num, dim), num_clusters = rows.shape, len(start)
    size = max(1, min(_ROWS, _DISTANCES // num_clusters))
    first, behind = (min(num, size * block) for block in shares.own(-(-num // size)))

    def begin() -> tuple[float, float, Tensor, Tensor]:
        centers = rows[torch.from_numpy(start).to(rows.device)]
        labels = torch.full((behind - first,), -1, device=rows.device)
        return _scale(rows, size), tolerance * _variance(rows, size), centers, labels

    scale, enough, centers, labels = shares.each(begin)

    def assign() -> Tensor:
        """Label the rows of this process; sums of the entries of each cluster, its rows, and new labels in the end."""
        sums = torch.zeros(num_clusters + 1, dim + 1, dtype=torch.int64, device=rows.device)
        halves = torch.einsum("kd,kd->k", centers, centers) / 2
        for block, own in zip(rows[first:behind].split(size), labels.split(size)):
            nearest = torch.addmm(halves, block, centers.T, alpha=-1).argmin(1)
            sums[-1, -1] += (own != nearest).sum()
            own.copy_(nearest)
            sums[:-1, :dim].index_add_(0, nearest, _whole(block, scale))
            sums[:-1, dim] += torch.bincount(nearest, minlength=num_clusters)
        return sums

    def every() -> tuple[Tensor, Tensor]:
        """Labels of all rows, and the squared distances to their centres."""

        def find() -> list[np.ndarray]:
            parts = zip(rows[first:behind].split(size), labels.split(size))
            far = [(block - centers[own]).square().sum(1) for block, own in parts]
            return [part.cpu().numpy() for part in (labels, torch.cat(far))]

        found, distances = map(torch.from_numpy, shares.joined(find))
        return found, distances

    iterations, ended = 0, False
    while True:
        sums = shares.each(assign)
        # Whether centres have come to rest is decided by the first process alone, were the others to round otherwise.
        sums[-1, 0] = int(ended and shares.rank == 0)
        shares.add(sums)
        ended, changed = bool(sums[-1, 0]), bool(sums[-1, -1])
        if ended or not changed or iterations == max_iterations:
            break
        iterations += 1
        totals, counts = sums[:-1, :dim], sums[:-1, dim]
        if not bool(counts.all()):
            _revive(totals, counts, rows, *every(), scale)
        means = (totals.double() / scale / counts.clamp(min=1).unsqueeze(1)).float()
        moved = torch.where(counts.unsqueeze(1) > 0, means, centers)
        ended = float((moved - centers).square().sum(dtype=torch.float64)) <= enough
        centers = moved
    found, distances = every()
    # scikit-learn counts the iteration that has moved nothing, too.
    counted = iterations + int(not ended and not changed)
    return Clusters(found.numpy(), float(distances.sum(dtype=torch.float64)), counted)


def lloyd_of_sklearn(
    features: np.ndarray, start: np.ndarray, max_iterations: int = 300
) -> Clusters:
    """The same by scikit-learn, on a CPU.

    Args:
        features: float32 (N, D).
        start: As in :func:`lloyd`.
        max_iterations: As there.

    Returns:
        As there, but for the order of sums.
    """
    from sklearn import cluster
    from sklearn.exceptions import ConvergenceWarning

    run = cluster.KMeans(
        len(start), init=features[start], n_init=1, max_iter=max_iterations, random_state=0
    )
    # Fewer distinct images than K, be it by copies, give fewer clusters: no news to the caller.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        run.fit(features)
    return Clusters(run.labels_, float(run.inertia_), int(run.n_iter_))


class LloydRanks(HeldByAll):
    """The features on every rank, of which each compares its share with the centres; all ranks create it together.

    Args:
        rows: float32 (N, D), the same on every rank.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self._rows = rows

    def __call__(self, start: np.ndarray, max_iterations: int) -> Clusters:
        """Cluster, on rank 0 while the others wait.

        Args:
            start: As in :func:`lloyd`.
            max_iterations: As there.

        Returns:
            As there.
        """
        return self.on_all_ranks("_run", start, max_iterations)

    def _run(self, start: np.ndarray, max_iterations: int, *, together: bool) -> Clusters:
        return lloyd(self._rows, start, max_iterations, shares=RowShares(together))


def _scale(rows: Tensor, size: int) -> float:
    """The power of two by which entries become whole numbers, the finest of which N fit into an int64."""
    largest = max(float(block.abs().max()) for block in rows.split(size))
    return 2.0 ** (_BITS - math.frexp(largest)[1] - len(rows).bit_length())


def _whole(rows: Tensor, scale: float) -> Tensor:
    return (rows.double() * scale).round_().long()


def _variance(rows: Tensor, size: int) -> float:
    """The mean variance of the entries."""
    mean = torch.stack([block.sum(0, dtype=torch.float64) for block in rows.split(size)]).sum(0)
    mean /= len(rows)
    squares = [float((block - mean).square_().sum()) for block in rows.split(size)]
    return sum(squares) / rows.numel()


def _revive(
    totals: Tensor, counts: Tensor, rows: Tensor, labels: Tensor, distances: Tensor, scale: float
) -> None:
    """Give each cluster without rows the row farthest from its centre, which leaves its own; changed in place."""
    empty = (counts == 0).nonzero().squeeze(1)
    far = distances.sort(descending=True, stable=True).indices[: len(empty)]
    if float(distances[far[0]]) == 0:
        return
    left, far = labels[far].to(rows.device), far.to(rows.device)
    entries = _whole(rows[far], scale)
    ones = torch.ones_like(left)
    totals.index_add_(0, left, -entries)
    counts.index_add_(0, left, -ones)
    totals[empty], counts[empty] = entries, ones
