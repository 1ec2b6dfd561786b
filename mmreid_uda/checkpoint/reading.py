"""Checkpoints from files, without running code from them."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmreid_uda.utils import InputError
from mmreid_uda.utils.packages import import_package

from .runs import find_checkpoint
from .torchscript import is_torchscript, load_torchscript

__all__ = ["TRUST_VARIABLE", "allowed_globals", "find_state_dict", "load_from_local", "non_finite"]

TRUST_VARIABLE = "MMREID_TRUST_CHECKPOINTS"
"""Environment variable that, set to 1, lets a checkpoint run any code it carries."""


def allowed_globals() -> list[Any]:
    """Types of training checkpoints, mmengine's and DINO's, that cannot run code when they are unpickled.

    Returns:
        Classes and functions for ``torch.serialization.add_safe_globals``.
    """
    scalars = [np.dtype(code) for code in "?bhilqBHILQefdgFDSUMm"]
    dtypes = {type(dtype) for dtype in scalars} | {dtype.type for dtype in scalars}
    multiarray = getattr(np, "_core", None) or np.core
    # numpy 1 writes numpy.core, numpy 2 numpy._core: both must read the other's files.
    aliases = [
        _under_name(getattr(multiarray.multiarray, name), module, name)
        for name in ("_reconstruct", "scalar")
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    ]
    aliases.append(_under_name(_history_statistic, "builtins", "getattr"))
    return [HistoryBuffer, argparse.Namespace, np.ndarray, np.dtype, *dtypes, *aliases]


def _under_name(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """A stand-in for ``function`` that the allow-list knows as ``module.name``."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__ = module
    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


def _history_statistic(owner: Any, name: str) -> Any:
    """The one use of ``getattr`` in a checkpoint of mmengine: a ``HistoryBuffer`` names its methods by it."""
    if owner is HistoryBuffer and name in ("min", "max", "mean", "current"):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"GLOBAL builtins.getattr of {name!r} is not plain data")


def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a checkpoint from a local path without running code from it.

    It may be a file of ``torch.save``, of safetensors, or a TorchScript archive, of which the tensors are read.

    Args:
        filename: Path of a file, or the folder of a run, whose last checkpoint is taken; ``~`` is expanded.
        map_location: See ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        InputError: The file is missing, is not a checkpoint, holds values that are not finite, or objects that could
            run code, unless ``MMREID_TRUST_CHECKPOINTS=1`` is set; or safetensors is missing, and needed.
    """
    path = find_checkpoint(filename)
    try:
        checkpoint = _read(path, map_location)
    except InputError:
        raise
    except Exception as error:  # foreign bytes can raise anything in an unpickler
        raise InputError(_refusal(path, error)) from error
    if not isinstance(checkpoint, dict):
        raise InputError(
            f"{path} holds a {type(checkpoint).__name__}, expected a dictionary of tensors: "
            "save it with torch.save(model.state_dict(), ...)."
        )
    if broken := non_finite(checkpoint):
        raise InputError(
            f"{path} holds NaN or infinite values in {len(broken)} tensors, {broken[0]} for one, expected finite "
            "weights: its training had diverged; take an earlier checkpoint of the run."
        )
    return checkpoint


def _read(path: Path, map_location: Any) -> Any:
    """The content of a file of torch, of safetensors, or of a TorchScript archive."""
    device = map_location if isinstance(map_location, (str, torch.device)) else "cpu"
    with path.open("rb") as file:
        start = file.read(10)
    if _is_safetensors(start):
        package = import_package(
            "safetensors.torch", f"{path.name}, a safetensors file,", "safetensors"
        )
        return package.load_file(path, device=str(device))
    if is_torchscript(path):
        return {name: tensor.to(device) for name, tensor in load_torchscript(path).items()}
    trusted = os.environ.get(TRUST_VARIABLE) == "1"
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # about pickles of other versions: they load, or the sentence says why not
        return torch.load(path, map_location=map_location, weights_only=not trusted)


def _is_safetensors(start: bytes) -> bool:
    """Whether a file that begins so is one of safetensors: the length of its header, which is JSON."""
    return start[8:10] in (b'{"', b"{ ", b"{}")


# How other files begin, and what to do with them.
_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull`",
    b"<": "a web page or XML; download the file itself",
    b"\x89HDF": "an HDF5 file; take the PyTorch version of the weights",
    b"\x93NUMPY": "a NumPy array; take the checkpoint itself",
    b"GGUF": "a GGUF file; take the PyTorch version of the weights",
}


def _refusal(path: Path, error: Exception) -> str:
    """Say why a file was not loaded: it carries objects, or it is no checkpoint."""
    reason = str(error)
    if found := re.search(r"GLOBAL ([\w.]+)|unrecognized function (.+)", reason):
        name = (found[1] or found[2]).rstrip(".")
        return (
            f"{path} was not loaded because it holds {name}, which is not plain data and could run code: "
            f"ask its author for a state dict, or, only if you trust the author, set {TRUST_VARIABLE}=1."
        )
    if isinstance(error, PermissionError):
        return (
            f"{path} cannot be read ({error.strerror}): ask its owner, or name another checkpoint."
        )
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"{path} does not fit the memory of the device: free memory, or take another device."
    first = (
        (reason.strip().splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(". ")
    )
    if isinstance(error, EOFError) or not path.stat().st_size:
        first = "it is empty" if not path.stat().st_size else "it is cut short"
    # Advice to run what a stranger's file holds, or a byte that is no instruction of pickle.
    if re.search("weights.only", first, re.I) or isinstance(error, KeyError):
        first = "not written by torch.save"
    with path.open("rb") as file:
        start = file.read(64)
    if _is_safetensors(start) or "deserializing header" in first:
        first = "a damaged safetensors file"
    for sign, what in _FOREIGN.items():
        if start.startswith(sign):
            first = what
    return (
        f"{path} is not a PyTorch checkpoint ({first}): give a file written by torch.save or safetensors, and fetch it "
        "again if its download was cut short."
    )


# Where checkpoints keep their tensors, the outermost first: trainings, then those of DINO, whose teacher is the model.
_WRAPPERS = ("model", "state_dict", "teacher")


def find_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Get the tensors out of a checkpoint of mmengine, of plain PyTorch, of a ``dict(model=...)``, or of DINO.

    Args:
        checkpoint: Of a training, with ``model``, ``state_dict`` or ``teacher``, or one of these inside another; or a
            state dict.

    Returns:
        Names -> tensors.
    """
    for key in _WRAPPERS:
        inner = checkpoint.get(key)
        # A config may stand under such a name, beside the tensors.
        if isinstance(inner, Mapping) and (find_state_dict(inner) or not inner):
            checkpoint = inner
    return {
        name: value
        for name, value in checkpoint.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def non_finite(checkpoint: Mapping[str, Any]) -> list[str]:
    """Names of the weights, buffers and memories of a checkpoint that hold NaN or infinite values.

    Args:
        checkpoint: As for :func:`find_state_dict`.

    Returns:
        The names; none if all is finite.
    """
    tensors = {
        name: value.detach()
        for name, value in find_state_dict(checkpoint).items()
        if value.layout == torch.strided and value.is_floating_point()
    }
    # One answer for all of a device: a GPU is waited for once, not for every tensor.
    finite = [torch.isfinite(tensor).all().reshape(1) for tensor in tensors.values()]
    if not finite or bool(torch.cat(finite).all()):
        return []
    return [name for name, fine in zip(tensors, torch.cat(finite).tolist()) if not fine]
