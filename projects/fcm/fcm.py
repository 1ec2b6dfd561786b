"""FCM: features are averaged with their nearest neighbours before they are clustered.

Source: Li et al., "Catalyst for Clustering-based Unsupervised Object Re-Identification: Feature Calibration",
AAAI 2024, released code.

Two images of a person are often farther apart than one of them is from a stranger, by chance of pose and crop. A mean
of neighbours varies less. What is averaged are only the features of the clustering step; images are trained as ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.models.algorithms import ClusterContrast
from mmreid_uda.neighbors import find_neighbors, unit_rows
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import Extract, TrainingImages
from mmreid_uda.utils.dist import run_on_rank0
from mmreid_uda.utils.values import Count, Natural, NonNegative, Positive, checked

# Rows averaged together: half a GiB of 64 neighbours with 2,048 numbers each.
_ROWS = 1024


@checked
def calibrate(
    features: Tensor,
    num_neighbors: Count = 16,
    temperature: Positive = 1.0,
    own_weight: NonNegative = 1.0,
    layers: Natural = 1,
) -> Tensor:
    """``f_i <- L2(w f_i + sum_j softmax_j(<f_i, f_j> / T) f_j)`` over the k nearest j of i, itself included.

    All ranks call this together with the same features, and share the search.

    Args:
        features: float (N, D), no zero rows; they are scaled to unit norm.
        num_neighbors: k; all images, if there are fewer.
        temperature: T > 0. At 1 the neighbours weigh nearly the same, near 0 the image itself is all.
        own_weight: w, at least 0: what the image has beside its part in the mean.
        layers: How often; 0 changes nothing but the norm.

    Returns:
        float32 (N, D), unit rows.
    """
    rows = unit_rows(features.float())
    for _ in range(layers):
        indices, similarities = _nearest(rows, min(num_neighbors, len(rows)))
        shares = (similarities / temperature).softmax(1).unsqueeze(1)
        means = [
            (weights @ rows[places]).squeeze(1)
            for places, weights in zip(indices.split(_ROWS), shares.split(_ROWS))
        ]
        rows = F.normalize(own_weight * rows + torch.cat(means), dim=1)
    return rows


def _nearest(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Neighbours and similarities (N, k), the same on every rank."""
    found = find_neighbors(rows, k, over_ranks=True)

    def arrays() -> tuple[np.ndarray, np.ndarray]:
        assert found is not None  # rank 0 has them
        return found.indices, found.similarities

    indices, similarities = map(torch.from_numpy, run_on_rank0(arrays))
    return indices.to(rows.device), similarities.to(rows.device)


@MODELS.register_module()
class FCM(ClusterContrast):
    """Cluster-Contrast whose clusters and centroids are those of calibrated features, see :func:`calibrate`.

    Args:
        *args: As for :class:`ClusterContrast`.
        num_neighbors: k, as for :func:`calibrate`. Defaults to 16.
        temperature: T. Defaults to 1.
        own_weight: w. Defaults to 1.
        layers: How often features are averaged; 0 is Cluster-Contrast. Defaults to 1.
        **kwargs: As for :class:`ClusterContrast`.
    """

    def __init__(
        self,
        *args: Any,
        num_neighbors: Count = 16,
        temperature: Positive = 1.0,
        own_weight: NonNegative = 1.0,
        layers: Natural = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.calibration = dict(
            num_neighbors=num_neighbors,
            temperature=temperature,
            own_weight=own_weight,
            layers=layers,
        )

    def cluster_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """The calibrated ones: both the distances and the memory come from them."""
        return calibrate(super().cluster_features(extract, images), **self.calibration)
