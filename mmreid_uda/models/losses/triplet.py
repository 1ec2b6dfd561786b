"""The batch-hard triplet loss with a margin."""

from __future__ import annotations

from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils.values import Positive

from .softmax_triplet import hardest_pairs, pairwise_distances

__all__ = ["HardTripletLoss"]


@MODELS.register_module()
class HardTripletLoss(nn.Module):
    """``mean_i [d(f_i, p_i) - d(f_i, n_i) + m]_+`` with the hardest positive and negative of the batch, in float32.

    Source: Hermans et al., "In defense of the triplet loss for person re-identification", 2017.

    Args:
        margin: m > 0, in units of the distance. Defaults to 1.2, as MGN and PTL have it for features that are not
            normalised.

    Raises:
        InputError: If ``margin`` is not positive; at a call, if the batch has a single class.
    """

    def __init__(self, margin: Positive = 1.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            features: (B, D), not normalised.
            labels: int64 (B,).

        Returns:
            A scalar, float32.
        """
        distances = pairwise_distances(features)
        positives, negatives = hardest_pairs(distances.detach(), labels)
        gaps = distances.gather(1, positives[:, None]) - distances.gather(1, negatives[:, None])
        return (gaps + self.margin).clamp(min=0).mean()
