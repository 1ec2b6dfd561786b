"""What a run has reached: before training, at every evaluation, at the last epoch, and the labelled best."""

from __future__ import annotations

import json
import time
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils.files import atomic_path

__all__ = ["ReportHook"]


@HOOKS.register_module()
class ReportHook(Hook):
    """Evaluate once before training and report the *last* epoch; the best one is shown and labelled as such.

    The public code of all papers here chooses the epoch on the target's test set. This hook reports the last epoch, and
    beside it the best with a note on how it was chosen. After every evaluation the history is written to
    ``work_dir/results.json``, and a resumed run goes on with what it finds there.

    Args:
        evaluate_before: Evaluate the initial weights before the first epoch: pretrained features, or direct transfer
            from a source. Defaults to True.
    """

    # After the checkpoint hook: evaluating before training needs it ready.
    priority = "LOWEST"

    def __init__(self, evaluate_before: bool = True) -> None:
        self.evaluate_before = evaluate_before
        self.history: dict[int, dict[str, float]] = {}
        self._started = time.monotonic()

    def before_train(self, runner: Runner) -> None:
        """Evaluate the initial weights, or, on resume, read what was found up to the checkpoint's epoch."""
        if runner.epoch > 0:
            self.history = self._read(runner)
        elif self.evaluate_before and runner.val_loop is not None:
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note the figures of an evaluation under the number of finished epochs."""
        self.history[runner.epoch] = {name: float(value) for name, value in (metrics or {}).items()}
        if is_main_process():
            self._write(runner)

    def after_train(self, runner: Runner) -> None:
        """Print the summary."""
        if not self.history or not is_main_process():
            return
        last, key = max(self.history), next(iter(self.history[max(self.history)]))
        best = max(self.history, key=lambda epoch: self.history[epoch].get(key, float("-inf")))
        lines = [f"epoch {last} (last, the result): {_text(self.history[last])}"]
        if 0 in self.history:
            lines.insert(0, f"before training: {_text(self.history[0])}")
        lines.append(
            f"epoch {best} (best {key}, chosen on the test set, for orientation): {_text(self.history[best])}"
        )
        runner.logger.info(
            "Results\n  " + "\n  ".join(lines) + f"\n  all evaluations: {self._path(runner)}"
        )

    @staticmethod
    def _path(runner: Runner) -> Path:
        return Path(runner.work_dir) / "results.json"

    def _read(self, runner: Runner) -> dict[int, dict[str, float]]:
        path = self._path(runner)
        epochs = json.loads(path.read_text())["epochs"] if path.exists() else {}
        return {
            int(epoch): figures for epoch, figures in epochs.items() if int(epoch) <= runner.epoch
        }

    def _write(self, runner: Runner) -> None:
        results = dict(
            seconds=round(time.monotonic() - self._started, 1),
            last_epoch=max(self.history),
            epochs={str(epoch): figures for epoch, figures in sorted(self.history.items())},
        )
        with atomic_path(self._path(runner)) as path:
            path.write_text(json.dumps(results, indent=2) + "\n")


def _text(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
