"""One step of an algorithm on a device and on the CPU: loss, gradients, and the state behind it.

A ReLU has a kink: rounding puts some of a network's hundred thousands of sums on its other side, and behind fifty batch
normalisations of few images their gradients differ by a percent and more, on one machine as between two. Here all are
replaced by softplus. Then a change of the images in their last bit changes a gradient by some parts in a hundred
thousand, and what is beyond is no rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.backends import mkldnn

from mmreid_uda.testing import build_model, random_batch

from .algorithms import read_config
from .findings import Findings
from .machine import float32_products

__all__ = ["Step", "check_deterministic_step", "check_mixed_step", "check_step", "compare_steps"]

LOSS, STATE = 1e-4, 1e-4
"""Largest relative difference of a loss, and largest difference of a tensor of the state, relative to its largest entry
or one."""

GRADIENT, SENSITIVITIES, CHAOS = 1e-3, 20.0, 5e-3
"""The gradient may differ by the first of these shares of its norm, or by so many times what the last bit of the images
changes, and never by more than the third. Two implementations of convolutions on one CPU differ by up to twice the last
bit, 2e-4, in all configs here; their losses and states by 1e-5."""

MIXED_LOSS, MIXED_COSINE = 0.05, 0.75
"""Of a step in bfloat16 beside one in float32: relative difference of the loss, cosine of the gradients."""

_RATE = 1e-4
_LAST_BIT = 2.0**-23


@dataclass
class Step:
    """What a step leaves behind, on the CPU.

    Args:
        losses: Name -> value.
        loss: Their sum.
        gradient: float32 (P,), of all parameters that have one.
        state: Name -> tensor of the whole model after the step: weights, memories, teachers, running statistics.
    """

    losses: dict[str, float]
    loss: float
    gradient: Tensor
    state: dict[str, Tensor]


def check_step(config: str, device: str) -> Findings:
    """Compare a step in float32 on a device with the same step on the CPU.

    Args:
        config: Path in the repository.
        device: ``'cuda'``, or ``'cpu'``: there oneDNN's convolutions are compared with PyTorch's own.
    """
    cfg, findings = read_config(config), Findings()
    model = _smooth(build_model(cfg))
    with float32_products():
        expected = take_step(model, cfg, "cpu")
        nudged = take_step(model, cfg, "cpu", nudge=_LAST_BIT)
        with mkldnn.flags(enabled=device != "cpu"):
            found = take_step(model, cfg, device)
    compare_steps(findings, expected, found, _apart(nudged.gradient, expected.gradient))
    return findings


def check_mixed_step(config: str, device: str) -> Findings:
    """Compare a step in bfloat16 on a device with the same step in float32 on the CPU.

    Args:
        config: Path in the repository.
        device: ``'cuda'`` or ``'cpu'``.
    """
    cfg, findings = read_config(config), Findings()
    model = _smooth(build_model(cfg))
    with float32_products():
        expected, found = take_step(model, cfg, "cpu"), take_step(model, cfg, device, mixed=True)
    findings.at_most("loss, bfloat16", _relative(found.loss, expected.loss), MIXED_LOSS)
    cosine = torch.cosine_similarity(found.gradient, expected.gradient, dim=0).item()
    findings.at_least("cosine of the gradients, bfloat16", cosine, MIXED_COSINE)
    return findings


def check_deterministic_step(config: str, device: str) -> Findings:
    """Take a step twice under ``torch.use_deterministic_algorithms``: it must be possible, and equal to the last bit.

    Args:
        config: Path in the repository.
        device: ``'cuda'`` or ``'cpu'``.
    """
    cfg, findings = read_config(config), Findings()
    model = build_model(cfg)
    with _deterministic():
        first, second = (take_step(model, cfg, device) for _ in range(2))
    equal = first.loss == second.loss and torch.equal(first.gradient, second.gradient)
    equal &= all(torch.equal(second.state[name], tensor) for name, tensor in first.state.items())
    findings.true("twice equal", equal, "the same step twice gave different numbers")
    return findings


def compare_steps(
    findings: Findings, expected: Step, found: Step, sensitivity: float = 0.0
) -> None:
    """Compare two steps whose only difference may be rounding.

    Args:
        findings: Take the figures.
        expected: From the CPU.
        found: From the device.
        sensitivity: What the last bit of the images changes of the gradient, relative to its norm.
    """
    names = expected.losses.keys() | found.losses.keys()
    apart = [
        _relative(found.losses.get(name, float("nan")), expected.losses.get(name, float("nan")))
        for name in names
    ]
    findings.at_most("loss", max(apart, key=lambda value: (value != value, value)), LOSS)
    limit = min(CHAOS, max(GRADIENT, SENSITIVITIES * sensitivity))
    findings.at_most("gradient", _apart(found.gradient, expected.gradient), limit)
    findings.metrics["gradient, last bit of the images"] = sensitivity
    worst, name = largest_difference(expected.state, found.state)
    findings.at_most("state", worst, STATE)
    if worst > STATE:
        findings.reasons[-1] += f", in {name}"


def largest_difference(expected: dict[str, Tensor], found: dict[str, Tensor]) -> tuple[float, str]:
    """The largest difference of two states, relative to a tensor's largest entry or one, and where it is.

    Tensors that one of them lacks, or that have another shape or are not finite, differ infinitely.
    """
    worst, where = 0.0, ""
    for name in sorted(expected.keys() | found.keys()):
        one, other = expected.get(name), found.get(name)
        if one is None or other is None or one.shape != other.shape:
            return float("inf"), name
        if not one.numel():
            continue
        one, other = one.double(), other.double()
        apart = ((one - other).abs().max() / one.abs().max().clamp(min=1)).item()
        if not apart <= worst:
            worst, where = (apart, name) if apart == apart else (float("inf"), name)
    return worst, where


def take_step(
    model: Any, cfg: Config, device: str, mixed: bool = False, nudge: float = 0.0
) -> Step:
    """Copy a model to a device, and let it learn from a random batch.

    Args:
        model: An algorithm on the CPU; it stays as it is.
        cfg: Its config, which says what a batch looks like.
        device: Where the copy computes.
        mixed: Run the forward pass under autocast to bfloat16.
        nudge: Change the images by this relative amount.
    """
    model = _copied(model).to(device)
    inputs, samples = random_batch(cfg)
    generator = torch.Generator().manual_seed(1)

    def place(images: Tensor) -> Tensor:
        noise = torch.randn(images.shape, generator=generator)
        return (images * (1 + nudge * noise)).to(device)

    views = tuple(map(place, inputs)) if isinstance(inputs, tuple) else place(inputs)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=mixed):
        losses = model(views, samples.to(device), mode="loss")
    loss, _ = model.parse_losses(losses)
    loss.backward()
    trained = [weight for weight in model.parameters() if weight.grad is not None]
    gradient = torch.cat([weight.grad.flatten().float().cpu() for weight in trained])
    torch.optim.SGD(trained, lr=_RATE).step()
    if hasattr(model, "update_teachers"):
        model.update_teachers(1)
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    values = {name: value.item() for name, value in losses.items() if "loss" in name}
    return Step(values, loss.item(), gradient, state)


def _smooth(model: Any) -> Any:
    """Replace the activations that have kinks, in place; clipping at six goes with them."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.ReLU, nn.ReLU6, nn.LeakyReLU)):
                setattr(module, name, nn.Softplus())
    return model


def _copied(model: Any) -> Any:
    """A copy of a model that draws nothing: dropout would draw differently on another device."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@contextmanager
def _deterministic() -> Iterator[None]:
    """Refuse operations that may add in any order."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = before


def _apart(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference of two vectors, relative to that of the second."""
    if found.shape != expected.shape:
        return float("inf")
    return ((found - expected).norm() / expected.norm().clamp(min=1e-12)).item()


def _relative(found: float, expected: float) -> float:
    """Difference of two numbers, relative to the second or, if that is small, to one thousandth."""
    return abs(found - expected) / max(abs(expected), 1e-3)
