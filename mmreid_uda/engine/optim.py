"""Mixed precision that also runs without a GPU, and moments of classifiers that change in size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper as _GpuAmpOptimWrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmreid_uda.models.layers import row_parameters
from mmreid_uda.registry import OPTIM_WRAPPERS
from mmreid_uda.utils import InputError

__all__ = ["AmpOptimWrapper", "fit_moments"]


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


def fit_moments(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Let an optimiser forget what it knows of classifier rows that are gone.

    A parameter of which rows were added, taken away or started anew (:class:`ResizingRows`) begins without moments, as
    its new rows do. Those of other parameters stay. Moments that a checkpoint of version 0.1 holds of rows that took
    no part are cut off.

    Args:
        optimizer: Its state is changed in place.
        model: Not wrapped.
    """
    owners = set()
    for _, owner, parameter in row_parameters(model):
        owners.add(owner)
        if owner.renewed:
            optimizer.state.pop(parameter, None)
            continue
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                kept = value.narrow(owner.row_dim, 0, owner.num_rows).clone()
                optimizer.state[parameter][name] = kept
    for owner in owners:
        owner.renewed = False
