"""The figures of several teachers, each alone."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils.values import Count

from ..extraction import unwrap

__all__ = ["EveryTeacherHook"]


@HOOKS.register_module()
class EveryTeacherHook(Hook):
    """Evaluate each teacher alone: MMT reports its two average networks, not their mean.

    At the evaluation after the last epoch, and on request at earlier ones, the figures join those of the network that
    ``model.test_cfg.network`` names, as ``teacher_1/market1501/mAP`` and so on, in the log and in ``results.json``. The
    released code takes the better of the two on the test set; here both are shown, and the result of the run stays that
    of ``model.test_cfg.network``.

    Args:
        interval: Evaluate the teachers at every evaluation whose epoch is a multiple; each costs an evaluation more.
            Defaults to None: at the last one alone.

    Raises:
        InputError: An interval below 1.

    Example:
        >>> default_hooks = dict(every_teacher=dict(type='EveryTeacherHook', interval=10))
    """

    # Before the report hook, which writes the figures down.
    priority = "LOW"

    def __init__(self, interval: Count | None = None) -> None:
        self.interval = interval

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the figures of each teacher to those of an evaluation."""
        asked = self.interval is not None and runner.epoch % self.interval == 0
        if not asked and runner.epoch < runner.max_epochs:
            return
        together: dict[str, float] = {}
        for number in range(1, len(unwrap(runner.model).teachers) + 1):
            alone = {
                f"teacher_{number}/{name}": value
                for name, value in _evaluate(runner, number).items()
            }
            together.update(alone)
            text = ", ".join(f"{name} {value:.1f}" for name, value in alone.items())
            runner.logger.info(f"Teacher {number} alone: {text}")
        runner.visualizer.add_scalars(together, step=runner.epoch)
        if metrics is not None:
            metrics.update(together)


@torch.no_grad()
def _evaluate(runner: Runner, number: int) -> dict[str, float]:
    """Figures of one teacher, without the hooks of a validation loop."""
    model, loop = unwrap(runner.model), runner.val_loop
    model.eval()
    for batch in loop.dataloader:
        data = model.data_preprocessor(batch, False)
        samples = data["data_samples"]
        samples.features = model.extract_feat(data["inputs"], network=number)
        loop.evaluator.process(data_samples=[samples], data_batch=batch)
    return loop.evaluator.evaluate(len(loop.dataloader.dataset))
