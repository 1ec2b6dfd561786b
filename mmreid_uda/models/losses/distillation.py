"""What a student learns from the logits of a teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import full_precision
from mmreid_uda.utils.values import Positive

__all__ = ["DistillationLoss"]


@MODELS.register_module()
class DistillationLoss(nn.Module):
    """``T² KL(softmax(t / T) || softmax(z / T))``, the mean over the batch, in float32.

    T² keeps the gradient's size as T grows. Source: Hinton et al., "Distilling the knowledge in a neural network",
    2015.

    Args:
        temperature: T > 0. Defaults to 4.

    Raises:
        InputError: If ``temperature`` is not positive.
    """

    def __init__(self, temperature: Positive = 4.0) -> None:
        super().__init__()
        self.temperature = temperature

    @full_precision
    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Compute the loss; no gradient flows into the teacher.

        Args:
            logits: The student's z, (..., K).
            teacher_logits: t, (..., K).

        Returns:
            A scalar, float32: the mean over all leading dimensions.
        """
        z = F.log_softmax(logits / self.temperature, dim=-1)
        t = F.log_softmax(teacher_logits.detach() / self.temperature, dim=-1)
        return self.temperature**2 * (t.exp() * (t - z)).sum(-1).mean()
