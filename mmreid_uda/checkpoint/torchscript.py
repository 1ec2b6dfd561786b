"""Tensors of a TorchScript archive, such as OpenAI's CLIP files, without running its code.

``torch.load`` reads such archives only with the code they carry. Their tensors lie beside it, as those of any
checkpoint do: a pickle names them, and modules are objects with attributes.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["is_torchscript", "load_torchscript"]

_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}


class _Module:
    """Stands for an object of the archive: its attributes, and nothing that could run."""


def _strided(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    """A tensor out of its storage (N,); torch refuses what would reach beyond it."""
    return torch.as_strided(storage, size, stride, offset)


def _value(value: Any, *_: Any) -> Any:
    """A list whose type is written beside it."""
    return value


class _Reader(pickle.Unpickler):
    """Knows tensors, lists and modules; whatever else an archive names is refused."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}data.pkl"))
        self.archive, self.root = archive, root
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or function of the archive.

        Args:
            module: Its module.
            name: Its name there.

        Returns:
            A stand-in.

        Raises:
            UnpicklingError: It is none of those that tensors and modules need.
        """
        if module.partition(".")[0] == "__torch__":
            return _Module
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _strided
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name.startswith(("build_", "restore_type_tag")):
            return _value
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is not plain data")

    def persistent_load(self, pid: Any) -> Tensor:
        """The storage that a tensor names.

        Args:
            pid: ``('storage', type, key, device, number of entries)``.

        Returns:
            (N,), on the CPU.
        """
        _, dtype, key, *_ = pid
        if key not in self.storages:
            content = bytearray(self.archive.read(f"{self.root}data/{key}"))
            self.storages[key] = (
                torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            )
        return self.storages[key]


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive.

    Args:
        path: Of a file.

    Returns:
        True for an archive with modules and constants.
    """
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def load_torchscript(path: Path) -> dict[str, Tensor]:
    """Read the parameters and buffers of a TorchScript archive.

    Args:
        path: Of the archive.

    Returns:
        Names as in its module's state dict -> tensors on the CPU.

    Raises:
        UnpicklingError: It holds objects that are neither modules nor tensors.
    """
    with zipfile.ZipFile(path) as archive:
        [root] = {
            name.removesuffix("data.pkl")
            for name in archive.namelist()
            if name.count("/") == 1 and name.endswith("/data.pkl")
        }
        whole = _Reader(archive, root).load()
    return dict(_tensors(whole, "", set()))


def _tensors(module: Any, prefix: str, above: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Tensors among the attributes of a module, and of those inside it."""
    if not isinstance(module, _Module) or id(module) in above:
        return
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        yield from _tensors(value, f"{prefix}{name}.", above | {id(module)})
