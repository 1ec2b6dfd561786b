"""What a run has reached: before training, at every evaluation, at the last epoch, and the labelled best."""

from __future__ import annotations

import time
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmreid_uda.clustering import health_warnings
from mmreid_uda.registry import HOOKS
from mmreid_uda.utils.files import read_results, write_json

from ..label_report import LABEL_METRICS

__all__ = ["ReportHook"]


@HOOKS.register_module()
class ReportHook(Hook):
    """Evaluate once before training and report the *last* epoch; the best one is shown and labelled as such.

    The public code of all papers here chooses the epoch on the target's test set. This hook reports the last epoch, and
    beside it the best with a note on how it was chosen. After every evaluation the history is written to
    ``work_dir/results.json``, and a resumed run goes on with what it finds there. An evaluation that a stop has cost,
    between the checkpoint of an epoch and its figures, is made up for.

    The file has the figures of the pseudo-labels as well, and what they were warned of. Without a labelled test set
    nothing is evaluated; then they are the report, written after every epoch.

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
        if runner.val_loop is None:
            runner.logger.info(
                "No labelled test images: nothing is evaluated, and the last checkpoint is the result. Figures of the "
                "labels say how it goes (docs/life_cycle.md); name a dataset in `test` for more."
            )
        if runner.epoch > 0:
            self.history = self._read(runner)
            if runner.epoch not in self.history and _is_evaluated(runner):
                runner.val_loop.run()
        elif self.evaluate_before and runner.val_loop is not None:
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note the figures of an evaluation under the number of finished epochs."""
        self.history[runner.epoch] = {name: float(value) for name, value in (metrics or {}).items()}
        if is_main_process():
            self._write(runner, max(self.history))

    def after_train_epoch(self, runner: Runner) -> None:
        """Without evaluations, write what is known of the labels."""
        if runner.val_loop is None and is_main_process():
            self._write(runner, runner.epoch + 1)

    def after_train(self, runner: Runner) -> None:
        """Print the summary."""
        if not is_main_process():
            return
        if runner.val_loop is None:
            self._summarize_labels(runner)
        if not self.history:
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

    def _summarize_labels(self, runner: Runner) -> None:
        metrics = runner.message_hub.runtime_info.get(LABEL_METRICS)
        if not metrics:
            return
        lines = [
            f"epoch {epoch + 1}: "
            + ", ".join(f"{name} {value:.3g}" for name, value in of_epoch.items())
            for epoch, of_epoch in (
                (one, metrics[one]) for one in sorted({min(metrics), max(metrics)})
            )
        ]
        lines += [f"from epoch {one.epoch + 1} on: {one.text}" for one in health_warnings(metrics)]
        runner.logger.info(
            "Pseudo-labels; nothing was evaluated, and the last checkpoint is the result\n  "
            + "\n  ".join(lines)
            + f"\n  all epochs: {self._path(runner)}"
        )

    @staticmethod
    def _path(runner: Runner) -> Path:
        return Path(runner.work_dir) / "results.json"

    def _read(self, runner: Runner) -> dict[int, dict[str, float]]:
        path = self._path(runner)
        epochs = read_results(path) if path.exists() else {}
        return {epoch: metrics for epoch, metrics in epochs.items() if epoch <= runner.epoch}

    def _write(self, runner: Runner, last_epoch: int) -> None:
        labels = runner.message_hub.runtime_info.get(LABEL_METRICS) or {}
        results = dict(
            seconds=round(time.monotonic() - self._started, 1),
            last_epoch=last_epoch,
            max_epochs=runner.max_epochs,
            epochs={str(epoch): metrics for epoch, metrics in sorted(self.history.items())},
            # Those before training have the key of the evaluation before training: both are of the same weights.
            labels={str(epoch): labels[epoch] for epoch in sorted(labels)},
            warnings=[warning._asdict() for warning in health_warnings(labels)],
        )
        write_json(self._path(runner), results)


def _is_evaluated(runner: Runner) -> bool:
    """Whether mmengine's loop evaluates after the epoch that has just ended."""
    epoch, loop = runner.epoch, runner.train_loop
    if (
        runner.val_loop is None
        or not isinstance(loop, EpochBasedTrainLoop)
        or epoch < loop.val_begin
    ):
        return False
    return epoch % loop.val_interval == 0 or epoch == loop.max_epochs


def _text(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in metrics.items())
