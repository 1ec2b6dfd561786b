"""Mixed precision that fits the device, and moments of classifiers that change in size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmreid_uda.models.layers import row_parameters
from mmreid_uda.registry import OPTIM_WRAPPERS
from mmreid_uda.utils import InputError

__all__ = ["AmpOptimWrapper", "fit_moments"]


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Autocast and, for float16, loss scaling; also without a GPU, where mmengine's own wrapper refuses to be built.

    Args:
        *args: As for mmengine's ``OptimWrapper``.
        dtype: ``'bfloat16'``, ``'float16'`` (GPU only), or None (default): bfloat16 where the device computes in it,
            which needs no scaling, else float16. Cards before compute capability 8.0 (such as V100 and T4) only
            emulate bfloat16.
        loss_scale: For float16: ``'dynamic'`` (default), a fixed scale, or arguments of ``torch.amp.GradScaler``.
        **kwargs: As for mmengine's ``OptimWrapper``.

    Raises:
        InputError: For another type, or float16 without a GPU.

    Example:
        >>> optim_wrapper = dict(type='AmpOptimWrapper', dtype='float16')
    """

    def __init__(
        self,
        *args: Any,
        dtype: Literal["bfloat16", "float16"] | None = None,
        loss_scale: float | dict[str, Any] | Literal["dynamic"] = "dynamic",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = _precision(dtype, self.device)
        self.fixed_scale = loss_scale if isinstance(loss_scale, (int, float)) else None
        options = dict(loss_scale) if isinstance(loss_scale, dict) else {}
        if self.fixed_scale is not None:
            options["init_scale"] = self.fixed_scale
        self.loss_scaler = torch.amp.GradScaler(
            self.device, enabled=self.dtype is torch.float16, **options
        )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of an iteration under autocast.

        Args:
            model: As in mmengine.
        """
        with super().optim_context(model), torch.autocast(self.device, dtype=self.dtype):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Backpropagate the scaled loss.

        Args:
            loss: A scalar, not scaled.
            **kwargs: As in mmengine.
        """
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Make a step with unscaled gradients; one that is not finite is left out, and the scale made smaller.

        Args:
            **kwargs: As in mmengine.
        """
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self.fixed_scale)

    def state_dict(self) -> dict[str, Any]:
        """State of optimiser and scaler."""
        return {**super().state_dict(), "loss_scaler": self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of the optimiser and, if it has one, of the scaler."""
        state_dict = dict(state_dict)
        saved = state_dict.pop("loss_scaler", None)
        if saved and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(saved)
        super().load_state_dict(state_dict)


def _precision(dtype: str | None, device: str) -> torch.dtype:
    """The type to compute in."""
    if device == "cpu" and dtype == "float16":
        raise InputError(
            f"found optim_wrapper.dtype={dtype!r}, but mixed precision on the CPU supports 'bfloat16' only."
        )
    if dtype is None:
        native = device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = "bfloat16" if native else "float16"
    return getattr(torch, dtype)


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
