"""When the cells of PTL forget."""

from __future__ import annotations

from typing import Literal

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.models.layers import latent_cells
from mmreid_uda.registry import HOOKS
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.dist import broadcast_buffers

from ..extraction import unwrap

__all__ = ["LatentStateHook"]


@HOOKS.register_module()
class LatentStateHook(Hook):
    """Reset the latent state of every :class:`BConvCell` before each epoch; within it, it goes from batch to batch.

    The initial state is drawn from (seed, epoch, rank, cell), so a resumed run repeats it. Each rank keeps the state
    of its own images while it trains; after an epoch the state of rank 0 goes to all ranks, so that a cell with
    ``eval_state='frozen'`` is tested with, and a checkpoint holds, one and the same.

    Args:
        reset: ``'epoch'``, or ``'batch'``: no memory at all, the same parameters (the ablation "no carry"). Defaults
            to ``'epoch'``.
        legacy_val_flag: Repeat the released training script, which sets a flag at its first evaluation, after the first
            epoch, and never takes it back: from the second epoch on every batch starts anew. Defaults to False.

    Raises:
        InputError: For an unknown ``reset``; before training, if the model has no cell.

    Example:
        >>> default_hooks = dict(latent_state=dict(type='LatentStateHook', reset='epoch'))
    """

    def __init__(
        self, reset: Literal["epoch", "batch"] = "epoch", legacy_val_flag: bool = False
    ) -> None:
        self.reset, self.legacy_val_flag = reset, legacy_val_flag

    def before_train(self, runner: Runner) -> None:
        """Check that there is something to reset.

        Raises:
            InputError: If the model has no cell.
        """
        if not any(True for _ in latent_cells(unwrap(runner.model))):
            raise InputError(
                f"LatentStateHook: found no BConvCell in {type(unwrap(runner.model)).__name__}; set "
                "default_hooks.latent_state=None, or give the encoder a ladder of cells."
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Forget the epoch before."""
        forgetful = self.reset == "batch" or (self.legacy_val_flag and runner.epoch > 0)
        for number, cell in enumerate(latent_cells(unwrap(runner.model))):
            rng = make_rng(runner.seed, runner.epoch, get_rank(), number, "latent state")
            cell.reset(int(rng.integers(2**63)))
            cell.carry = not forgetful

    def after_train_epoch(self, runner: Runner) -> None:
        """Share the buffers of rank 0, before anything is evaluated or saved."""
        broadcast_buffers(unwrap(runner.model))
