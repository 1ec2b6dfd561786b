"""Cross-entropy against a smoothed label, and against a teacher's softmax, with and without temperature."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.utils import full_precision

from .branches import mean_over_branches

__all__ = ["cross_entropy", "distillation", "soft_cross_entropy"]


@mean_over_branches
@full_precision
def cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float) -> Tensor:
    """CE: cross-entropy with ``y = (1 - eps) · onehot + eps / K`` (Szegedy et al., "Rethinking Inception", CVPR 2016).

    ``L = -mean_i sum_c y_ic log softmax(z_i)_c``, in float32 whatever the precision of the logits is.

    Args:
        logits: z, (B, K) or (branches, B, K).
        labels: int64 (B,) in ``0..K-1``.
        label_smoothing: eps, 0 <= eps < 1, the share of the uniform distribution; 0 is plain cross-entropy.

    Returns:
        A scalar, float32.
    """
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


@mean_over_branches
@full_precision
def soft_cross_entropy(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """SCE: cross-entropy against a teacher (MMT, Ge et al., ICLR 2020).

    ``L = -mean_i sum_c softmax(t_i)_c log softmax(z_i)_c``, without temperature, in float32. No gradient flows into the
    teacher.

    Args:
        logits: The student's z, (B, K) or (branches, B, K).
        teacher_logits: t, of the same shape.

    Returns:
        A scalar, float32.
    """
    return F.cross_entropy(logits, teacher_logits.detach().softmax(1))


@full_precision
def distillation(logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """KD: ``T² KL(softmax(t / T) || softmax(z / T))``, in float32; no gradient flows into the teacher.

    T² keeps the gradient's size as T grows. Source: Hinton et al., "Distilling the knowledge in a neural network",
    2015.

    Args:
        logits: The student's z, (..., K).
        teacher_logits: t, (..., K).
        temperature: T > 0.

    Returns:
        A scalar, float32: the mean over all leading dimensions.
    """
    z = F.log_softmax(logits / temperature, dim=-1)
    t = F.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    return temperature**2 * (t.exp() * (t - z)).sum(-1).mean()
