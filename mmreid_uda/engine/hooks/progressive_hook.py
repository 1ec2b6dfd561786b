"""A number of the model that grows with training, such as ISE's lambda."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils import InputError

from ..extraction import unwrap

__all__ = ["ProgressiveLambdaHook"]

# Value at progress p = t / T in 0..1, for lambda_0 = 1.
_SCHEDULES: dict[str, Callable[[float], float]] = {
    "log": lambda p: 0.5 * math.log((math.e - 1) * p + 1),
    "linear": lambda p: p,
    "constant": lambda p: 1.0,
}


@HOOKS.register_module()
class ProgressiveLambdaHook(Hook):
    """Set ``model.<attribute>`` before every iteration to ``base · schedule(t / T)``.

    ``t`` is the global iteration (0-based) and ``T`` the number of iterations of the whole training, so a resumed run
    goes on where it stopped. ``'log'`` is ISE's ``½ ln((e - 1) t/T + 1)`` (CVPR 2022, Eq. 6), from 0 to ½; ``'linear'``
    is ``t/T``, from 0 to 1; ``'constant'`` is 1.

    Args:
        attribute: Name of a float attribute of the algorithm. Defaults to ``'support_scale'``.
        base: lambda_0. Defaults to 1.
        schedule: ``'log'``, ``'linear'`` or ``'constant'``. Defaults to ``'log'``.

    Example:
        >>> default_hooks = dict(progressive=dict(type='ProgressiveLambdaHook', base=1.0, schedule='log'))
    """

    def __init__(
        self,
        attribute: str = "support_scale",
        base: float = 1.0,
        schedule: Literal["log", "linear", "constant"] = "log",
    ) -> None:
        self.attribute, self.base, self.schedule = attribute, base, _SCHEDULES[schedule]

    def before_train(self, runner: Runner) -> None:
        """Check that the model has the attribute.

        Raises:
            InputError: If it has not.
        """
        if not hasattr(unwrap(runner.model), self.attribute):
            raise InputError(
                f"ProgressiveLambdaHook: {type(unwrap(runner.model)).__name__} has no attribute {self.attribute!r}; "
                "set default_hooks.progressive.attribute to one it has, or default_hooks.progressive=None."
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the value of this iteration and log it."""
        value = self.base * self.schedule(runner.iter / runner.max_iters)
        setattr(unwrap(runner.model), self.attribute, value)
        runner.message_hub.update_scalar(f"train/{self.attribute}", value)
