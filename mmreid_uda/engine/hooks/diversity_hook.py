"""How far student and teacher are apart, epoch by epoch."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS

__all__ = ["DiversityHook"]


@HOOKS.register_module()
class DiversityHook(Hook):
    """Log the mean of the model's ``diversity_*`` figures over every epoch, as ``diversity/<name>`` (ABMT, WACV 2021).

    ABMT argues that a teacher close to its student cannot teach. The figures are described in
    :meth:`MeanTeacher.diversity`; ``tools/visualization/curves.py --curves 'diversity/*'`` draws them for several runs.

    Example:
        >>> default_hooks = dict(diversity=dict(type='DiversityHook'))
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Start from nothing."""
        self.sums: dict[str, float] = {}
        self.count = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add up the figures of an iteration."""
        self.count += 1
        for name, value in (outputs or {}).items():
            if name.startswith("diversity_"):
                self.sums[name] = self.sums.get(name, 0.0) + value

    def after_train_epoch(self, runner: Runner) -> None:
        """Write the means, with the number of finished epochs as the step."""
        means = {
            name.replace("_", "/", 1): float(total) / self.count
            for name, total in self.sums.items()
        }
        if means:
            runner.visualizer.add_scalars(means, step=runner.epoch + 1)
