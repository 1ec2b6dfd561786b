"""Mixed precision that fits the device, layer-wise learning rates, moments of classifiers that change in size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn

from mmreid_uda.models.backbones import StagedBackbone
from mmreid_uda.models.layers import row_parameters
from mmreid_uda.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import PositiveFraction, require_fit

__all__ = ["AmpOptimWrapper", "LayerDecayOptimWrapperConstructor", "fit_moments"]


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


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise learning rates: the last stage of a backbone has the rate of the config, each one before it less.

    Stage s of stages 0..S has ``lr · decay_rate^(S - s)``; what belongs to no stage (neck, classifier) has ``lr``. A
    block of a transformer is a stage, the last one with the norm behind it; stage 0 is its patch embedding with tokens
    and positions. See ``stages`` of each backbone.

    Source: Clark et al., "ELECTRA", ICLR 2020; for images Bao et al., "BEiT", ICLR 2022.

    Args:
        optim_wrapper_cfg: Config of the wrapper, with its ``optimizer``.
        paramwise_cfg: ``decay_rate``, above 0 and up to 1, beside mmengine's own keys: ``bias_decay_mult``,
            ``norm_decay_mult``, ``flat_decay_mult`` (all vectors), and ``custom_keys`` by names, such as
            ``{'pos_embed': dict(decay_mult=0)}``.

    Raises:
        InputError: There is no ``decay_rate``, or it is not in its range.

    Example:
        >>> optim_wrapper = dict(
        ...     constructor='LayerDecayOptimWrapperConstructor',
        ...     paramwise_cfg=dict(decay_rate=0.75, flat_decay_mult=0),
        ...     optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05))
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        own = dict(paramwise_cfg or {})
        if "decay_rate" not in own:
            raise InputError(
                "found no decay_rate for layer-wise learning rates, expected a number above 0 and up to 1: set "
                "optim_wrapper.paramwise_cfg.decay_rate, such as 0.75."
            )
        self.decay_rate: float = require_fit(
            own["decay_rate"], PositiveFraction, "decay_rate", "in optim_wrapper.paramwise_cfg"
        )
        super().__init__(optim_wrapper_cfg, own)

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = "",
        is_dcn_module: Any = None,
    ) -> None:
        """Make a group of each parameter, as mmengine does, and scale the rates of those of stages.

        Args:
            params: Groups, to which those of ``module`` are added.
            module: The model, or a part of it.
            prefix: The part's name; ``''`` for the model.
            is_dcn_module: As in mmengine.
        """
        super().add_params(params, module, prefix, is_dcn_module)
        if prefix:
            return  # a part, of which the whole follows
        scales = self._scales(module)
        for group in params:
            rate: Any = group.get("lr", self.base_lr)
            group["lr"] = rate * scales.get(group["params"][0], 1.0)

    def _scales(self, model: nn.Module) -> dict[nn.Parameter, float]:
        """The factor of the rate of each parameter that belongs to a stage."""
        scales: dict[nn.Parameter, float] = {}
        for backbone in (one for one in model.modules() if isinstance(one, StagedBackbone)):
            stages = backbone.stages()
            for stage, parts in enumerate(stages):
                for part in parts:
                    own = [part] if isinstance(part, nn.Parameter) else part.parameters()
                    for parameter in own:
                        scales[parameter] = self.decay_rate ** (len(stages) - 1 - stage)
        return scales


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
