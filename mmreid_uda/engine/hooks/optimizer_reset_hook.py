"""A new optimiser for every epoch."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS

__all__ = ["OptimizerResetHook"]


@HOOKS.register_module()
class OptimizerResetHook(Hook):
    """Forget the optimiser's moments before every epoch, as if it were made anew.

    MMT, ABMT and the UDA strong baseline make a new Adam after every clustering: the classifier has other rows then,
    and moments of the old ones mean nothing. Parameters, learning rates and schedules stay.

    Example:
        >>> default_hooks = dict(optimizer_reset=dict(type='OptimizerResetHook'))
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Clear the state of every parameter."""
        runner.optim_wrapper.optimizer.state.clear()
