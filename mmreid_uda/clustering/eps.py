"""The radius of DBSCAN from the distances themselves: the ρ-rule of MMT and ABMT."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import sparse

from mmreid_uda.neighbors.jaccard import NEAR_ZERO
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import PositiveFraction, checked

__all__ = ["RHO_REACH", "NearZero", "rho_eps", "stores_share"]

RHO_REACH = 0.7
"""The ρ-rule needs distances somewhat above eps; a graph cut here nearly always has them, and is small."""

NearZero = Literal["count", "drop"]
"""What the ρ-rule does with pairs at distance 0, up to rounding."""


@checked
def rho_eps(
    distances: sparse.csr_array | np.ndarray,
    rho: PositiveFraction,
    max_distance: float = 1.0,
    near_zero: NearZero = "drop",
) -> float:
    """Choose eps as the mean of the smallest ρ-share of the pairwise distances.

    Of ``n`` distances the ``round(ρ·n)`` smallest are averaged, at least one. A graph stands for all N(N-1)/2 pairs:
    those it does not store lie beyond ``max_distance``, or at exactly 1 if that is where it was cut.

    Pairs with equal neighbourhoods are at distance 0. The released code drops exact zeros, but computes in float32,
    where rounding leaves some of these pairs at 1e-7 or so, which count: its radius lies between those of the two
    choices here.

    Args:
        distances: A symmetric graph of :func:`jaccard_graph`, or the plain values of all pairs, any shape. A graph with
            source term λ must be cut at ``1 - λ`` or below, where no pair without a common neighbour can lie.
        rho: Share, in (0, 1]; MMT 1.6e-3, ABMT 2e-3.
        max_distance: Where the graph was cut.
        near_zero: ``'drop'`` (default) leaves pairs nearer than 1e-6 out, ``'count'`` lets them count as 0 (the
            published recipes of MMT and ABMT).

    Returns:
        eps, at least 1e-6.

    Raises:
        InputError: If ρ is out of range, all distances that count are zero, or the graph was cut so low that the share
            reaches beyond it.
    """
    values, num = _distances(distances, near_zero)
    if not num or (len(values) == num and not values.any()):
        raise InputError(
            "found no two images at a distance above 0, so eps='rho' has nothing to average: the features have "
            "collapsed (lower optim_wrapper.optimizer.lr) or there are fewer than 2 images."
        )
    top = _share(num, rho)
    beyond = max(0, top - values.size)
    if beyond and max_distance < 1:
        raise InputError(
            f"found {values.size} distances up to {max_distance}, expected the {top} smallest for rho={rho}: "
            "compute the graph with a larger max_distance, or lower rho."
        )
    smallest = np.partition(values, top - 1)[:top] if top < values.size else values
    return max(NEAR_ZERO, float((smallest.sum(dtype=np.float64) + beyond) / top))


def stores_share(graph: sparse.csr_array, rho: float, near_zero: NearZero = "drop") -> bool:
    """Whether a truncated graph holds all distances that :func:`rho_eps` averages.

    Args:
        graph: float32 (N, N), sparse; what is not stored is farther than the graph was cut at.
        rho: Share of the pairs, in (0, 1].
        near_zero: As for :func:`rho_eps`.

    Returns:
        False where :func:`rho_eps` would lack distances.
    """
    values, num = _distances(graph, near_zero)
    return values.size >= _share(num, rho)


def _distances(
    distances: sparse.csr_array | np.ndarray, near_zero: NearZero
) -> tuple[np.ndarray, int]:
    """The distances at hand that count, each pair once, and how many there are with those not stored."""
    if isinstance(distances, np.ndarray):
        pairs, num = distances.ravel(), distances.size
    else:
        pairs = sparse.triu(distances, k=1, format="coo").data
        num = distances.shape[0] * (distances.shape[0] - 1) // 2
    zero = pairs < NEAR_ZERO
    if near_zero == "count":
        return np.where(zero, 0, pairs), num
    return pairs[~zero], num - int(zero.sum())


def _share(num: int, rho: float) -> int:
    return max(1, int(np.round(rho * num)))
