"""The machine: its card, its clock, its memory, and float32 products that are float32."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from mmreid_uda.utils import kernels_available
from mmreid_uda.version import __version__

from .findings import Findings, NotHere

__all__ = [
    "ON_CPU",
    "REPOSITORY",
    "describe",
    "float32_products",
    "measured",
    "peak_rate",
    "require",
    "share_threads",
    "synchronize",
    "timed",
]

T = TypeVar("T")

ON_CPU = "seconds on the CPU"
"""Name of what the same work takes on the CPU."""

REPOSITORY = Path(__file__).resolve().parents[3]

# Dense TFLOP/s of the makers' data sheets (no sparsity), matched against the start of the card's name, longest first.
_PEAKS: dict[str, dict[str, float]] = {
    "NVIDIA H100 PCIe": {"bfloat16": 756, "tf32": 378, "float32": 51},
    "NVIDIA H100": {"bfloat16": 989, "tf32": 495, "float32": 67},
    "NVIDIA H200": {"bfloat16": 989, "tf32": 495, "float32": 67},
    "NVIDIA A100": {"bfloat16": 312, "tf32": 156, "float32": 19.5},
    "NVIDIA A40": {"bfloat16": 149.7, "tf32": 74.8, "float32": 37.4},
    "NVIDIA A30": {"bfloat16": 165, "tf32": 82, "float32": 10.3},
    "NVIDIA A10": {"bfloat16": 125, "tf32": 62.5, "float32": 31.2},
    "NVIDIA GeForce RTX 4090": {"bfloat16": 165.2, "tf32": 82.6, "float32": 82.6},
    "NVIDIA GeForce RTX 3090": {"bfloat16": 71, "tf32": 35.6, "float32": 35.6},
}


def describe(device: str) -> dict[str, Any]:
    """The circumstances of a run: versions, processor, and the card where there is one."""
    facts: dict[str, Any] = {
        "mmreid_uda": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processors": os.cpu_count(),
        "compiled kernels": kernels_available(),
        "device": device,
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        facts |= {
            "card": card.name,
            "cards": torch.cuda.device_count(),
            "card memory GiB": round(card.total_memory / 2**30, 1),
            "compute capability": f"{card.major}.{card.minor}",
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
        }
    return facts


def peak_rate(dtype: str, name: str | None = None) -> float | None:
    """FLOP/s that the data sheet of a card promises.

    Args:
        dtype: ``'bfloat16'``, ``'tf32'`` or ``'float32'``.
        name: Name of the card; None asks for it.

    Returns:
        The rate, or None for a card that is not in the table, and for a CPU.
    """
    if name is None:
        name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    # An A100 is no A10: what follows the name must not go on with a digit.
    known = [
        card
        for card in _PEAKS
        if name.startswith(card) and not name.removeprefix(card)[:1].isdigit()
    ]
    return _PEAKS[max(known, key=len)][dtype] * 1e12 if known else None


def require(device: str, alone: bool = False) -> None:
    """Make sure that a device is there.

    Args:
        device: ``'cuda'`` or ``'cpu'``.
        alone: It must be the one that the package takes by itself.

    Raises:
        NotHere: It is not.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise NotHere("torch finds no CUDA device")
    if alone and device == "cpu" and torch.cuda.is_available():
        raise NotHere("trainings would take the GPU: set CUDA_VISIBLE_DEVICES to nothing")


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def measured(device: str, work: Callable[[], T]) -> tuple[T, float, float | None]:
    """Do a piece of work.

    Returns:
        Its result; seconds, until the device has finished; MiB that tensors on the card took at the peak beyond those
        there before, None on a CPU.
    """
    synchronize(device)
    before = 0
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    started = time.perf_counter()
    result = work()
    synchronize(device)
    seconds = time.perf_counter() - started
    if device != "cuda":
        return result, seconds, None
    return result, seconds, (torch.cuda.max_memory_allocated() - before) / 2**20


def timed(
    findings: Findings, device: str, work: Callable[[], T], side: str = "", seconds: str = "seconds"
) -> T:
    """Do a piece of work and note what it took: seconds, and MiB on the card.

    Args:
        findings: Where it is noted.
        device: ``'cuda'`` or ``'cpu'``.
        work: What is done.
        side: Stands before the names of the figures; ``''``, the default, for ours on the device.
        seconds: Name of the figure of the seconds. Defaults to ``'seconds'``.

    Returns:
        The result of the work.
    """
    result, findings.metrics[f"{side} {seconds}".strip()], mib = measured(device, work)
    if mib is not None:
        findings.metrics[f"{side} MiB".strip()] = mib
    return result


@contextmanager
def float32_products() -> Iterator[None]:
    """Compute float32 products and convolutions in float32: no TF32 within this context."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    try:
        yield
    finally:
        for backend, allowed in zip(backends, before):
            backend.allow_tf32 = allowed


def share_threads(workers: int) -> None:
    """Leave this process its share of the processors, if ``OMP_NUM_THREADS`` does not say how many."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
