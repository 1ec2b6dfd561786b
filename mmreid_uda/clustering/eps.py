"""The radius of DBSCAN from the distances themselves: the ρ-rule of MMT and ABMT."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mmreid_uda.utils import InputError

__all__ = ["rho_eps", "stores_share"]


def rho_eps(
    distances: sparse.csr_array | np.ndarray, rho: float, max_distance: float = 1.0
) -> float:
    """Choose eps as the mean of the smallest ρ-share of the non-zero pairwise distances.

    Of ``n`` non-zero distances the ``round(ρ·n)`` smallest are averaged, at least one. A graph stands for all N(N-1)/2
    pairs: those it does not store lie beyond ``max_distance``, or at exactly 1 if that is where it was cut.

    Args:
        distances: A symmetric graph of :func:`jaccard_graph`, or the plain values of all pairs, any shape. A graph with
            source term λ must be cut at ``1 - λ`` or below, where no pair without a common neighbour can lie.
        rho: Share, in (0, 1]; MMT 1.6e-3, ABMT 2e-3.
        max_distance: Where the graph was cut.

    Returns:
        eps.

    Raises:
        InputError: If ρ is out of range, all distances are zero, or the graph was cut so low that the share reaches
            beyond it.
    """
    if not 0 < rho <= 1:
        raise InputError(f"found rho={rho}, expected 0 < rho <= 1: change rho of the clusterer.")
    values, num_nonzero = _nonzero_distances(distances)
    if not num_nonzero:
        raise InputError(
            "found no two images at a distance above 0, so eps='auto' has nothing to average: the features have "
            "collapsed (lower optim_wrapper.optimizer.lr) or there are fewer than 2 images."
        )
    top = _share(num_nonzero, rho)
    beyond = max(0, top - values.size)
    if beyond and max_distance < 1:
        raise InputError(
            f"found {values.size} distances up to {max_distance}, expected the {top} smallest for rho={rho}: "
            "compute the graph with a larger max_distance, or lower rho."
        )
    smallest = np.partition(values, top - 1)[:top] if top < values.size else values
    return float((smallest.sum(dtype=np.float64) + beyond) / top)


def stores_share(graph: sparse.csr_array, rho: float) -> bool:
    """Whether a truncated graph holds all distances that :func:`rho_eps` averages."""
    values, num_nonzero = _nonzero_distances(graph)
    return values.size >= _share(num_nonzero, rho)


def _nonzero_distances(distances: sparse.csr_array | np.ndarray) -> tuple[np.ndarray, int]:
    """The non-zero distances at hand, each pair once, and how many there are with those not stored."""
    if isinstance(distances, np.ndarray):
        values = distances[distances != 0]
        return values, values.size
    pairs = sparse.triu(distances, k=1, format="coo").data
    values = pairs[pairs != 0]
    num_images = distances.shape[0]
    return values, num_images * (num_images - 1) // 2 - (pairs.size - values.size)


def _share(num: int, rho: float) -> int:
    return max(1, int(np.round(rho * num)))
