"""What is told of pseudo-labels: figures for the log and the checkpoint, warnings, and a file for each epoch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from mmengine.runner import Runner

from mmreid_uda.clustering import cluster_quality, health_warnings, label_health
from mmreid_uda.datasets import ReIDDataset
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils.files import write_arrays

__all__ = ["LABEL_METRICS", "health_of", "report_labels", "save_labels"]

LABEL_METRICS = "label_metrics"
"""Under which the Runner's hub, and so a checkpoint, has the figures of all epochs so far."""

# Prefix of the durations among the figures of a clusterer.
_SECONDS = "seconds_"


def health_of(
    labels: np.ndarray, before: np.ndarray, mirrored: np.ndarray | None, target: ReIDDataset
) -> dict[str, float]:
    """What tells how labels are; and, for the log alone, their agreement with identities where the data have them.

    Args:
        labels: int64 (N,), -1 = outlier.
        before: int64 (N,), those of the epoch before, -1 everywhere if there are none.
        mirrored: int64 (N,), those of the mirrored images, or None.
        target: The images.

    Returns:
        The figures.
    """
    known = before if (before >= 0).any() else None
    metrics = label_health(labels, previous=known, mirrored=mirrored, evidence=target.evidence)
    if (target.true_labels >= 0).any():
        metrics.update(cluster_quality(labels, target.true_labels))
    return metrics


def report_labels(
    runner: Runner,
    state: PseudoLabelState,
    seconds: dict[str, float],
    history: dict[int, dict[str, float]],
) -> None:
    """Log the figures, what they warn of, and the seconds of the steps in their order.

    Args:
        runner: The Runner.
        state: The labels with their figures.
        seconds: Of each step.
        history: Figures of the epochs so far, to which those of this one are added.
    """
    words, own = [], {}
    for name, value in state.statistics.items():
        if name.startswith(_SECONDS):
            own[name.removeprefix(_SECONDS)] = value
        else:
            words.append(f"{name} {value:.4g}")
    steps: dict[str, float] = {}
    for name, value in seconds.items():
        # What the clusterer says of its own steps stands in place of their sum.
        steps.update(own if own and name == "cluster" else {name: value})
    profile = " / ".join(f"{name} {value:.1f}" for name, value in steps.items())
    runner.logger.info(
        f"Pseudo-labels of epoch {state.epoch + 1}: {', '.join(words)} ({profile} s)"
    )
    history[state.epoch] = {
        name: value for name, value in state.statistics.items() if not name.startswith(_SECONDS)
    }
    for warning in health_warnings(history):
        if warning.epoch == state.epoch:
            runner.logger.warning(f"Pseudo-labels of epoch {state.epoch + 1}: {warning.text}.")
    runner.visualizer.add_scalars(
        {f"cluster/{name}": value for name, value in state.statistics.items()}, step=state.epoch
    )


def save_labels(runner: Runner, state: PseudoLabelState, target: ReIDDataset) -> None:
    """Write ``work_dir/pseudo_labels/epoch_<n>.npz``: paths, labels, figures, and what a time prior needs.

    Args:
        runner: The Runner.
        state: The labels with their figures.
        target: The images.
    """
    arrays = dict(
        labels=state.labels.numpy(),
        paths=np.array(target.paths),
        statistics=np.array(json.dumps(state.statistics)),
    )
    if target.evidence.has_times:  # for a time prior
        arrays.update(cameras=target.evidence.named_cameras, times=target.evidence.times)
    name = f"epoch_{state.epoch + 1:03d}.npz"
    write_arrays(Path(runner.work_dir, "pseudo_labels", name), arrays)
