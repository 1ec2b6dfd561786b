"""Sizes that a network does not tell: found by a blank image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["probe"]

_T = TypeVar("_T")


def probe(module: nn.Module, run: Callable[[Tensor], _T], height: int = 64, width: int = 64) -> _T:
    """Show a network that is being built a blank image; its running statistics stay as they are.

    Args:
        module: The network; in training mode afterwards.
        run: What is done with the image, float32 (1, 3, height, width).
        height: Of the image. Defaults to 64.
        width: Of the image. Defaults to 64.

    Returns:
        What ``run`` returns.
    """
    module.eval()
    try:
        with torch.no_grad():
            return run(torch.zeros(1, 3, height, width))
    finally:
        module.train()
