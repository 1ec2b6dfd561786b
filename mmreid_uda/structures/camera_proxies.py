"""What a cluster is for each of its cameras: the numbers of its proxies."""

from __future__ import annotations

import numpy as np

__all__ = ["split_by_camera"]


def split_by_camera(
    labels: np.ndarray, cameras: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the pairs of cluster and camera that occur: cluster by cluster, cameras ascending within.

    Images of unknown camera are one more camera of their cluster.

    Args:
        labels: int64 (N,), -1 = outlier.
        cameras: int64 (N,), -1 = unknown.

    Returns:
        int64 (N,) proxy of each image, -1 = outlier; int64 (P,) cluster and int64 (P,) camera of each proxy.
    """
    kept = labels >= 0
    pairs, numbers = np.unique(
        np.stack([labels[kept], cameras[kept]], 1), axis=0, return_inverse=True
    )
    proxies = np.full(len(labels), -1)
    proxies[kept] = numbers.reshape(-1)
    return proxies, pairs[:, 0], pairs[:, 1]
