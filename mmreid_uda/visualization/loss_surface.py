"""The loss around a trained network, along two random directions that fit its filters.

Source: Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from mmreid_uda.utils import make_rng

__all__ = ["filter_normalized_direction", "loss_surface"]


def filter_normalized_direction(model: nn.Module, seed: int, number: int) -> list[Tensor]:
    """Draw a Gaussian direction and give each of its filters the norm of the network's own filter.

    A filter is what makes one output: of a convolution an entry of the weight's first dimension, of any other weight a
    row, its last dimension (a classifier of several branches has (branches, classes, D)). Vectors (biases, the scales
    of batch normalisation) and what is not trained (teachers, frozen layers) do not move: their direction is zero.

    Args:
        model: The network.
        seed: Seed of the run.
        number: Number of the direction, 0 or 1.

    Returns:
        One tensor per parameter, in their order, on the same device.
    """
    rng = make_rng(seed, number, "loss surface")
    convolutions = {id(layer.weight) for layer in model.modules() if isinstance(layer, _ConvNd)}
    direction = []
    for parameter in model.parameters():
        if parameter.dim() < 2 or not parameter.requires_grad:
            direction.append(torch.zeros_like(parameter))
            continue
        draw = torch.from_numpy(rng.standard_normal(parameter.shape, dtype=np.float32)).to(
            parameter
        )
        last = 1 if id(parameter) in convolutions else -1
        own, drawn = (
            tensor.flatten(last).norm(dim=-1, keepdim=True) for tensor in (parameter.detach(), draw)
        )
        scale = (own / drawn.clamp(min=1e-10)).expand_as(draw.flatten(last))
        direction.append(draw * scale.view_as(draw))
    return direction


@torch.no_grad()
def loss_surface(
    model: nn.Module,
    loss: Callable[[], float],
    directions: Sequence[list[Tensor]],
    steps: Sequence[float],
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Evaluate a loss at ``θ + a δ + b η`` for all a, b of ``steps``; the network is as it was afterwards.

    Args:
        model: The network with parameters θ. Its buffers are put back before every evaluation.
        loss: Evaluates the network as it stands.
        directions: δ and η, see :func:`filter_normalized_direction`.
        steps: The values of a and of b.
        progress: Called with the evaluations done and their number.

    Returns:
        float64 (len(steps), len(steps)): row a, column b.
    """
    first, second = directions
    surface = np.empty((len(steps), len(steps)))
    with _kept(model) as restore:
        for row, a in enumerate(steps):
            for column, b in enumerate(steps):
                restore()
                for parameter, one, other in zip(model.parameters(), first, second):
                    parameter.add_(a * one + b * other)
                surface[row, column] = loss()
                if progress is not None:
                    progress(row * len(steps) + column + 1, surface.size)
    return surface


@contextmanager
def _kept(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Give a function that puts parameters and buffers back, and call it at the end of the block, too.

    Buffers that a loss replaces (memories, latent states) come back in their old shape.
    """
    parameters = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    buffers = [
        (module, name, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]

    def restore() -> None:
        for parameter, kept in parameters:
            parameter.data.copy_(kept)
        for module, name, kept in buffers:
            module._buffers[name] = kept.clone()

    try:
        yield restore
    finally:
        restore()
