"""ISE's progressive linear interpolation: support samples between a cluster and its neighbours."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.utils import InputError, full_precision

__all__ = ["support_samples"]


@full_precision
def support_samples(
    features: Tensor, labels: Tensor, centroids: Tensor, scale: float, num_neighbors: int = 1
) -> Tensor:
    """Extend each feature from its own centroid towards the nearest other ones (ISE, CVPR 2022, Eq. 3-5).

    ``s = L2(x + scale · ½ (c* - c))`` with ``c`` the centroid of the sample's cluster and ``c*`` one of the
    ``num_neighbors`` other centroids most similar to ``x``.

    Args:
        features: (B, D) unit rows; the gradient flows through them alone.
        labels: int64 (B,) in ``0..K-1``.
        centroids: (K, D) unit rows, without gradient.
        scale: lambda_t in 0..1, normally the value of a ``ProgressiveLambdaHook``.
        num_neighbors: k >= 1 supports per sample.

    Returns:
        (B·k, D) unit rows, sample by sample: the k supports of the first sample, nearest cluster first, then those of
        the second, ... (as released; a memory that takes them one by one depends on the order).

    Raises:
        InputError: If there are no ``num_neighbors`` other clusters.
    """
    if num_neighbors >= len(centroids):
        raise InputError(
            f"found {len(centroids)} clusters, expected more than num_neighbors={num_neighbors} so that every sample "
            "has a neighbouring cluster; lower model.num_neighbors or loosen the clustering (eps)."
        )
    similarity = features.detach() @ centroids.t()
    similarity.scatter_(1, labels.unsqueeze(1), float("-inf"))
    neighbors = similarity.topk(num_neighbors, dim=1).indices
    step = centroids[neighbors] - centroids[labels].unsqueeze(1)
    return F.normalize(features.unsqueeze(1) + scale * 0.5 * step, dim=2).flatten(0, 1)
