"""Mixed precision that also runs without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper as _GpuAmpOptimWrapper
from mmengine.optim import OptimWrapper
from torch import nn

from mmreid_uda.registry import OPTIM_WRAPPERS
from mmreid_uda.utils import InputError

__all__ = ["AmpOptimWrapper"]


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Autocast and, for float16, loss scaling; mmengine's own wrapper refuses to be built without a GPU.

    On a GPU this *is* mmengine's wrapper; on the CPU the forward pass runs under ``torch.autocast('cpu')`` in bfloat16,
    which needs no loss scaling.

    Args:
        dtype: ``'float16'`` (GPU only) or ``'bfloat16'``. Defaults to ``'bfloat16'``.
        loss_scale: As in mmengine; used on the GPU.
        **kwargs: As for mmengine's ``OptimWrapper``.
    """

    def __new__(cls, *args: Any, dtype: str = "bfloat16", **kwargs: Any) -> Any:
        """Give mmengine's wrapper where there is a GPU."""
        if torch.cuda.is_available():
            return _GpuAmpOptimWrapper(*args, dtype=dtype, **kwargs)
        return super().__new__(cls)

    def __init__(
        self, *args: Any, dtype: str = "bfloat16", loss_scale: Any = "dynamic", **kwargs: Any
    ) -> None:
        if dtype != "bfloat16":
            raise InputError(
                f"found optim_wrapper.dtype={dtype!r}, but mixed precision on the CPU supports 'bfloat16' only."
            )
        super().__init__(*args, **kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of an iteration under autocast."""
        with super().optim_context(model), torch.autocast("cpu", dtype=torch.bfloat16):
            yield
