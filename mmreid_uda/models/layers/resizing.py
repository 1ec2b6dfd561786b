"""Buffers whose shape is the checkpoint's, not the object's."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["ResizingBuffers", "resizing_names"]


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


def resizing_names(module: nn.Module) -> set[str]:
    """Names, in the state dict of a module, of the buffers whose shape may differ from a checkpoint's."""
    return {
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        if isinstance(part, ResizingBuffers)
        for name in part._buffers
    }
