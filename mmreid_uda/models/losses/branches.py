"""Means of terms: over the branches of a network, over several teachers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

__all__ = ["mean_of", "mean_over_branches"]


def mean_of(terms: Iterable[Tensor]) -> Tensor:
    """Mean of scalars, such as one loss against several teachers.

    Args:
        terms: Scalars, at least one.

    Returns:
        A scalar.
    """
    return torch.stack(list(terms)).mean()


def mean_over_branches(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a loss of (B, ...) tensors also take (branches, B, ...), of which it is the mean over the branches.

    Tensors of three dimensions are taken apart, side by side; labels, of one dimension, serve every branch.

    Args:
        loss: Maps tensors (B, ...) and labels (B,) to a scalar.

    Returns:
        The loss of both shapes, a scalar.
    """

    @wraps(loss)
    def over_branches(*tensors: Tensor, **options: Any) -> Tensor:
        if tensors[0].dim() < 3:
            return loss(*tensors, **options)
        count = len(tensors[0])
        rows = zip(*(tensor if tensor.dim() == 3 else [tensor] * count for tensor in tensors))
        return mean_of(loss(*row, **options) for row in rows)

    return over_branches
