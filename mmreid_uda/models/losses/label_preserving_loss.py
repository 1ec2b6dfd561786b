"""ISE's label-preserving loss: a support sample must stay with the class it was made from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import full_precision
from mmreid_uda.utils.values import Positive

__all__ = ["LabelPreservingLoss"]

_TINY = 1e-6


@MODELS.register_module()
class LabelPreservingLoss(nn.Module):
    """The least similar own support against the most similar support of every other class (ISE, CVPR 2022, Eq. 8).

    With ``e_ij = exp(<x_i, s_j> / tau)``::

        pos_i  = min  {e_ij : y_j = y_i}
        neg_ic = max  {e_ij : y_j = c},  c != y_i
        L      = mean_i -ln( pos_i / (pos_i + sum_c neg_ic) )

    (1e-6 is added to the denominator and to the fraction, as released). The released code finds the maxima by reshaping
    to blocks of equal size and falls back to another formula when a class is incomplete; here the classes are read off
    the labels, so any batch has the loss of the formula.

    Args:
        temperature: tau > 0. Defaults to 0.6.
        positive_in_denominator: False gives the poster's form, whose denominator has the negatives only.
    """

    def __init__(self, temperature: Positive = 0.6, positive_in_denominator: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.positive_in_denominator = positive_in_denominator

    @full_precision
    def forward(
        self, features: Tensor, labels: Tensor, supports: Tensor, support_labels: Tensor
    ) -> Tensor:
        """Compute the loss.

        Args:
            features: (B, D) unit rows.
            labels: int64 (B,).
            supports: (S, D) unit rows.
            support_labels: int64 (S,); every label of ``labels`` occurs here.

        Returns:
            A scalar, float32.
        """
        similarity = torch.exp(features @ supports.t() / self.temperature)
        own = labels.unsqueeze(1) == support_labels
        positive = similarity.masked_fill(~own, float("inf")).amin(1)
        # The largest similarity of each class stands in the column of its first support, and zero in those of the rest:
        # how many classes there are is not asked, which a GPU would have to be waited for.
        first = (support_labels.unsqueeze(1) == support_labels).int().argmax(1)
        largest = torch.zeros_like(similarity).scatter_reduce(
            1, first.expand_as(similarity), similarity, "amax", include_self=False
        )
        negative = largest.masked_fill(own, 0).sum(1)
        denominator = negative + positive if self.positive_in_denominator else negative
        return -torch.log(positive / (denominator + _TINY) + _TINY).mean()
