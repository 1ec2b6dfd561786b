"""The figures of several teachers, each alone."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS

from ..extraction import unwrap

__all__ = ["EveryTeacherHook"]


@HOOKS.register_module()
class EveryTeacherHook(Hook):
    """After training, evaluate each teacher alone: MMT reports its two average networks, not their mean.

    The figures are logged as ``teacher_1/market1501/mAP`` and so on. The released code takes the better of the two on
    the test set; here both are shown, and the result of the run stays that of ``model.test_cfg.network``.

    Example:
        >>> default_hooks = dict(every_teacher=dict(type='EveryTeacherHook'))
    """

    # Before the report hook's summary, which stays the last word.
    priority = "LOW"

    def after_train(self, runner: Runner) -> None:
        """Evaluate on the validation loader, teacher by teacher."""
        model, loop = unwrap(runner.model), runner.val_loop
        if loop is None:
            return
        network, together = model.network, {}
        for number in range(1, len(model.teachers) + 1):
            model.network = number
            figures = {
                f"teacher_{number}/{name}": value for name, value in _evaluate(runner, loop).items()
            }
            together.update(figures)
            text = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
            runner.logger.info(f"Teacher {number} alone: {text}")
        model.network = network
        runner.visualizer.add_scalars(together, step=runner.epoch)


@torch.no_grad()
def _evaluate(runner: Runner, loop: Any) -> dict[str, float]:
    """Figures of the model as it is, without the hooks of a validation loop."""
    runner.model.eval()
    for batch in loop.dataloader:
        loop.evaluator.process(data_samples=runner.model.val_step(batch), data_batch=batch)
    return loop.evaluator.evaluate(len(loop.dataloader.dataset))
