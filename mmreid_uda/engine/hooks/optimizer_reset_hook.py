"""A new optimiser for every epoch, or for every round of several."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils.values import Count

__all__ = ["OptimizerResetHook"]


@HOOKS.register_module()
class OptimizerResetHook(Hook):
    """Forget the optimiser's moments before every epoch, as if it were made anew.

    MMT, ABMT and the UDA strong baseline make a new Adam after every clustering: the classifier has other rows then,
    and moments of the old ones mean nothing. Parameters, learning rates and schedules stay.

    Args:
        interval: Epochs between two resets, >= 1; that of the cluster hook, if the labels stay for several. Defaults
            to 1.

    Raises:
        InputError: If the interval is below 1.

    Example:
        >>> default_hooks = dict(optimizer_reset=dict(type='OptimizerResetHook'))
    """

    def __init__(self, interval: Count = 1) -> None:
        self.interval = interval

    def before_train_epoch(self, runner: Runner) -> None:
        """Clear the state of every parameter, if a round starts."""
        if runner.epoch % self.interval == 0:
            runner.optim_wrapper.optimizer.state.clear()
