"""Cross-entropy against a smoothed label, and against a teacher's softmax."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import full_precision
from mmreid_uda.utils.values import FractionBelowOne

__all__ = ["LabelSmoothCrossEntropy", "SoftCrossEntropy"]


@MODELS.register_module()
class LabelSmoothCrossEntropy(nn.Module):
    """Cross-entropy with ``y = (1 - eps) · onehot + eps / K`` (Szegedy et al., "Rethinking Inception", CVPR 2016).

    ``L = -mean_i sum_c y_ic log softmax(z_i)_c``, in float32 whatever the precision of the logits is.

    Args:
        epsilon: eps in 0..1, the share of the uniform distribution. Defaults to 0.1; 0 is plain cross-entropy.

    Raises:
        InputError: If ``epsilon`` is outside ``0 <= epsilon < 1``.
    """

    def __init__(self, epsilon: FractionBelowOne = 0.1) -> None:
        super().__init__()
        self.epsilon = epsilon

    @full_precision
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: (B, K).
            labels: int64 (B,) in ``0..K-1``.

        Returns:
            A scalar, float32.
        """
        return F.cross_entropy(logits, labels, label_smoothing=self.epsilon)


@MODELS.register_module()
class SoftCrossEntropy(nn.Module):
    """Cross-entropy against a teacher (MMT, Ge et al., ICLR 2020).

    ``L = -mean_i sum_c softmax(t_i)_c log softmax(z_i)_c``, without temperature, in float32. No gradient flows into the
    teacher.
    """

    @full_precision
    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: The student's, (B, K).
            teacher_logits: (B, K).

        Returns:
            A scalar, float32.
        """
        return F.cross_entropy(logits, teacher_logits.detach().softmax(1))
