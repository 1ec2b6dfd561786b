"""A training that has diverged stops, instead of spending days on NaN."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import cpu_group, noticing_lost_ranks
from mmreid_uda.utils.values import Count

from ..resume import after_divergence

__all__ = ["FiniteHook"]

# Steps that a loss scaler may skip in a row while it looks for a scale: it begins at 2^16 and halves.
_SKIPPED_STEPS = 20


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stop all ranks when a loss is NaN or infinite.

    Every loss is looked at, on its device and without waiting for it: what is found is read every ``interval``
    iterations, when the log reads the loss anyway, and at the end of every epoch, before anything is evaluated or
    saved. Weights may by then be spoilt in memory, but not on disk: :func:`mmreid_uda.checkpoint.write_checkpoint`
    looks at every weight, buffer and memory and leaves the old checkpoints where they are.

    A loss scaler (``--amp`` with float16) skips the steps of infinite gradients. Its losses count when they are not
    finite 20 times in a row.

    Args:
        interval: Iterations between two readings, >= 1. Defaults to 50, as the log's.

    Raises:
        InputError: On all ranks: which losses, where, and what to go on from.

    Example:
        >>> default_hooks = dict(finite=dict(type='FiniteHook', interval=50))
    """

    # Before batch-norm statistics are shared, and before anything is evaluated or saved.
    priority = "VERY_HIGH"

    def __init__(self, interval: Count = 50) -> None:
        self.interval = interval
        self._in_a_row: Tensor | None = None
        self._most = torch.zeros(1)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count on the device; read now and then."""
        loss = (outputs or {}).get("loss")
        if isinstance(loss, Tensor):
            finite = torch.isfinite(loss.detach()).all().reshape(1)
            if self._in_a_row is None:
                self._in_a_row = torch.zeros(1, device=loss.device)
                self._most = torch.zeros(1, device=loss.device)
            self._in_a_row = torch.where(finite, 0.0, self._in_a_row + 1)
            self._most = torch.maximum(self._most, self._in_a_row)
        elif isinstance(loss, float) and not math.isfinite(loss):
            self._most = torch.ones(1)
        if (batch_idx + 1) % self.interval == 0:
            self._read(runner, batch_idx, outputs)

    def after_train_epoch(self, runner: Runner) -> None:
        """Read what the last iterations have left."""
        self._read(runner, len(runner.train_dataloader) - 1, None)

    def _read(self, runner: Runner, batch_idx: int, outputs: Any) -> None:
        most = self._most.detach().cpu()
        if get_world_size() > 1:
            with noticing_lost_ranks("comparing losses"):
                dist.all_reduce(most, op=dist.ReduceOp.MAX, group=cpu_group())
        scaler = getattr(runner.optim_wrapper, "loss_scaler", None)
        allowed = _SKIPPED_STEPS if scaler is not None and scaler.is_enabled() else 1
        if float(most) < allowed:
            self._most = torch.zeros_like(self._most)
            return
        names = [
            name
            for name, value in (outputs or {}).items()
            if name.startswith("loss_") and not bool(torch.isfinite(torch.as_tensor(value)).all())
        ]
        which = f" ({', '.join(names)})" if names else ""
        first = batch_idx + 1 - batch_idx % self.interval
        raise InputError(
            f"found a loss that is NaN or infinite{which} in epoch {runner.epoch + 1}, iterations {first} to "
            f"{batch_idx + 1}: training has diverged; {after_divergence(runner)}"
        )
