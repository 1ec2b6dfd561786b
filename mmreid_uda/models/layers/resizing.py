"""Tensors whose size is the data's, not the object's: buffers of a run, and parameters with a row per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "ResizingBuffers",
    "ResizingRows",
    "keep_active_rows",
    "resizing_names",
    "row_parameters",
]


class ResizingBuffers(nn.Module):
    """A module whose own buffers take over the shape they have in a checkpoint.

    The rows of a memory, or the slots of a latent state, are a matter of the run, not of the architecture. torch and
    mmengine refuse, or skip with a warning, a tensor of another shape.
    """

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if buffer is not None and saved is not None and saved.shape != buffer.shape:
                self._buffers[name] = torch.empty(
                    saved.shape, dtype=buffer.dtype, device=buffer.device
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class ResizingRows(nn.Module):
    """A module whose own parameters have one row per class, as many as the data have at the time.

    The *same* parameter objects get other tensors, since optimisers and averages know a parameter by its identity.
    What else goes by its shape is told apart:

    * An optimiser's moments belong to rows that are gone: ``fit_moments`` of the engine forgets them.
    * ``DistributedDataParallel`` plans its messages once, so :class:`BaseReID` keeps these parameters out of them.
      They need none: heads compute the loss of the *global* batch on every rank, so every rank has the whole gradient.
    * A checkpoint of any number of rows loads.

    Attributes:
        row_dim (int): Dimension of the parameters that counts the classes.
        renewed (bool): Whether rows were added, taken away or started anew since the optimiser was told.
    """

    row_dim = 0
    renewed = False

    @property
    def num_rows(self) -> int:
        """Number of classes."""
        return next(self.parameters(recurse=False)).shape[self.row_dim]

    def draw_rows(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
        """Initial values of rows of the parameter ``name``.

        Args:
            name: Of the parameter.
            shape: Of the rows that are missing.
            rng: Of the draws.

        Returns:
            Values of that shape.
        """
        raise NotImplementedError

    @torch.no_grad()
    def set_rows(self, tensors: Mapping[str, Tensor]) -> None:
        """Give parameters, by their names, other rows.

        Args:
            tensors: Name of a parameter -> its values, with any number of rows.
        """
        for name, rows in tensors.items():
            parameter = self._parameters[name]
            assert parameter is not None
            _put(parameter, rows.detach().to(parameter, copy=True))
        self.renewed = True

    def resize(self, num_rows: int, rng: np.random.Generator) -> None:
        """Keep the first rows and draw those that are missing; nothing happens if the number is right.

        Args:
            num_rows: Number of classes.
            rng: Of the draws; the same on every rank.
        """
        if num_rows == self.num_rows:
            return
        kept = min(num_rows, self.num_rows)
        tensors = {}
        for name, parameter in self.named_parameters(recurse=False):
            shape = list(parameter.shape)
            shape[self.row_dim] = num_rows - kept
            own = parameter.data.narrow(self.row_dim, 0, kept)
            fresh = self.draw_rows(name, tuple(shape), rng).to(own)
            tensors[name] = torch.cat([own, fresh], dim=self.row_dim)
        self.set_rows(tensors)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name, parameter in self.named_parameters(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is None or saved.dim() != parameter.dim():
                continue
            shape = list(parameter.shape)
            shape[self.row_dim] = saved.shape[self.row_dim]
            if shape != list(parameter.shape):
                _put(parameter, parameter.data.new_empty(shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _put(parameter: nn.Parameter, values: Tensor) -> None:
    """Let a parameter hold values of another shape."""
    parameter.grad = None
    # The node that collects its gradient lives as long as a loss of an earlier iteration, and expects that shape.
    # It is made anew where the type of the values changes.
    other = torch.float64 if parameter.dtype != torch.float64 else torch.float32
    parameter.data = torch.empty(0, dtype=other, device=values.device)
    parameter.data = values


def keep_active_rows(head: nn.Module, state_dict: dict[str, Any], prefix: str) -> None:
    """Take the rows that count out of a checkpoint of version 0.1, in place.

    Its classifiers had more rows than classes, and beside them ``active``, how many of the first took part.

    Args:
        head: What is loaded.
        state_dict: Of a whole model.
        prefix: Of the head, as in ``_load_from_state_dict``.
    """
    active = state_dict.pop(prefix + "active", None)
    if active is None:
        return
    for name, owner, _ in row_parameters(head):
        saved = state_dict.get(prefix + name)
        if saved is not None:
            state_dict[prefix + name] = saved.narrow(owner.row_dim, 0, int(active)).clone()


def row_parameters(module: nn.Module) -> Iterator[tuple[str, ResizingRows, nn.Parameter]]:
    """Name, owner and parameter of all that :class:`ResizingRows` hold inside a module.

    Args:
        module: Any tree of modules.

    Yields:
        Name as in ``module.named_parameters()``, owner and parameter.
    """
    for path, part in module.named_modules():
        if isinstance(part, ResizingRows):
            for name, parameter in part.named_parameters(recurse=False):
                yield f"{path}.{name}" if path else name, part, parameter


def resizing_names(module: nn.Module) -> set[str]:
    """Names, in the state dict of a module, of the tensors whose shape may differ from a checkpoint's.

    Args:
        module: Any tree of modules.

    Returns:
        Names as in ``module.state_dict()``.
    """
    buffers = {
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        if isinstance(part, ResizingBuffers)
        for name in part._buffers
    }
    return buffers | {name for name, _, _ in row_parameters(module)}
