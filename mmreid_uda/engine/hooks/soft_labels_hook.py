"""What a teacher of label distillation leaves behind: soft labels, and a report on the noise that was injected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.datasets import ReIDDataset, precision_recall
from mmreid_uda.registry import HOOKS
from mmreid_uda.structures import SoftLabels
from mmreid_uda.utils.feature_file import feature_files
from mmreid_uda.utils.files import write_arrays, write_json

from ..extraction import unwrap
from .cluster_hook import ClusterHook

__all__ = ["SoftLabelsHook"]


@HOOKS.register_module()
class SoftLabelsHook(Hook):
    """Both ends of FAT's label distillation: a student's soft labels are checked, a teacher's are written.

    Where the training set has ``noise``, what was injected, be it nothing, is written to ``work_dir/label_noise.npz``
    (``paths``, ``labels``, ``clean_labels`` and ``noise``) before the training.

    ``teacher.json``, which a teacher leaves beside its ``soft_labels.npz``, has in percent

    * ``confident``: images whose label the teacher trusts;
    * with ``noise`` in the training set, be it of no image: ``wrong``, images of injected labels, and, of the images of
      people who have an identity, ``right_given``, those whose given label is the true one, and ``right_chosen``, those
      whose most likely class is;
    * where a label is wrong: ``dropped`` and ``disputed``, ``precision`` and ``recall`` of finding wrong labels in the
      images that are not confident, or in those whose most likely class is another than the given one; and
      ``corrected``, of the wrong labels of people who have an identity, those for which the teacher names it (absent
      if there are none).

    Args:
        write: The run is a teacher: after the training its ``probabilities`` are written to
            ``work_dir/soft_labels.npz``. The images that the clusterer of the :class:`ClusterHook` keeps are the
            confident ones. Defaults to False.

    Raises:
        InputError: Before the training, if a student's soft labels are missing or made for other data.

    Example:
        >>> default_hooks = dict(soft_labels=dict(type='SoftLabelsHook', write=True))
    """

    # Before the ranks compare their data.
    priority = "HIGH"

    def __init__(self, write: bool = False) -> None:
        self.write = write

    def before_train(self, runner: Runner) -> None:
        """Check the soft labels to learn from, and record the injected noise."""
        target = runner.train_dataloader.dataset.target
        labels = torch.from_numpy(target.true_labels)
        unwrap(runner.model).head.check_soft_labels(labels, target.fingerprint)
        if target.has_clean_labels and is_main_process():
            injected = dict(
                paths=np.array(target.paths),
                labels=target.true_labels,
                clean_labels=target.clean_labels,
                noise=target.noise,
            )
            write_arrays(Path(runner.work_dir) / "label_noise.npz", injected)

    def after_train(self, runner: Runner) -> None:
        """Write the soft labels, if this is a teacher."""
        if not self.write:
            return
        [clusters] = [hook for hook in runner.hooks if isinstance(hook, ClusterHook)]
        with feature_files(runner.work_dir):
            images, answers = clusters.collect(runner, also=("probabilities",))
            assert images.features is not None
            kept = clusters.label(runner, images.features, answers) >= 0
        if is_main_process():
            target = images.target
            given = torch.from_numpy(target.true_labels)
            probabilities = torch.from_numpy(answers["probabilities"])
            soft = SoftLabels(given, probabilities, kept, target.fingerprint)
            soft.save(Path(runner.work_dir) / SoftLabels.FILE)
            # Of the file: rounded to half precision, two classes may tie.
            metrics = teacher_report(SoftLabels.load(runner.work_dir), target)
            write_json(Path(runner.work_dir) / "teacher.json", metrics)
            runner.logger.info(f"Soft labels written to {runner.work_dir}: {metrics}")


def teacher_report(soft: SoftLabels, dataset: ReIDDataset) -> dict[str, Any]:
    """What a teacher thinks of the labels, and, where the dataset knows the truth, how right it is.

    Args:
        soft: Of the teacher.
        dataset: What it was trained on.

    Returns:
        The content of ``teacher.json``, see :class:`SoftLabelsHook`.
    """
    chosen, given = soft.probabilities.argmax(1).numpy(), dataset.true_labels
    metrics: dict[str, Any] = dict(confident=_percent(soft.confident.numpy()))
    if not dataset.has_clean_labels:
        return metrics
    wrong, known = dataset.noise != "", dataset.clean_labels >= 0
    right = chosen == dataset.clean_labels
    metrics.update(
        wrong=_percent(wrong),
        right_given=_percent((given == dataset.clean_labels)[known]),
        right_chosen=_percent(right[known]),
    )
    if wrong.any():
        metrics.update(
            dropped=precision_recall(~soft.confident.numpy(), wrong),
            disputed=precision_recall(chosen != given, wrong),
        )
    if (wrong & known).any():
        metrics.update(corrected=_percent(right[wrong & known]))
    return metrics


def _percent(flags: np.ndarray) -> float:
    return 100 * float(flags.mean())
