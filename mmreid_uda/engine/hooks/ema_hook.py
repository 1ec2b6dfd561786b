"""Teachers that follow their students."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils import InputError

from ..extraction import unwrap

__all__ = ["EMAHook"]


@HOOKS.register_module()
class EMAHook(Hook):
    """Move the teachers inside the model after every optimiser step.

    mmengine's hook of this name (``mmengine.EMAHook``) keeps a copy of the *whole* model outside it and swaps it in for
    evaluation; these teachers are sub-modules that take part in the loss. The step number follows from the iterations
    of the whole training: a resumed run goes on with the warm-up where it stopped. With accumulated gradients the
    teachers move when the optimiser does. What a teacher does is in :class:`EMATeacher`.

    Example:
        >>> default_hooks = dict(ema=dict(type='EMAHook'))
    """

    def before_train(self, runner: Runner) -> None:
        """Check that the model has teachers.

        Raises:
            InputError: If it has none.
        """
        if not hasattr(unwrap(runner.model), "update_teachers"):
            raise InputError(
                f"EMAHook: {type(unwrap(runner.model)).__name__} has no teachers; set default_hooks.ema=None, "
                "or use MMT, ABMT or another MeanTeacher as model.type."
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Update, if the optimiser has made a step."""
        if runner.optim_wrapper.should_update():
            accumulated = runner.optim_wrapper._accumulative_counts
            unwrap(runner.model).update_teachers(runner.iter // accumulated)
