"""The life cycle of FAT's centroids, and what a teacher leaves behind: soft labels and a report on planted noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from torch import Tensor

from mmreid_uda.datasets import ReIDDataset, precision_recall
from mmreid_uda.registry import HOOKS
from mmreid_uda.structures import SoftLabels
from mmreid_uda.utils.dist import run_on_rank0
from mmreid_uda.utils.files import atomic_path

from ..extraction import unwrap
from .cluster_hook import ClusterHook

__all__ = ["FATHook"]


@HOOKS.register_module()
class FATHook(ClusterHook):
    """A cluster hook for :class:`FAT`: features as they are, and the classifier's opinion of them.

    Features are pooled ones of the unmirrored image, not normalised, since the lengths belong to FAT's centroids.
    Clusterers that ask for ``probabilities`` get the softmax of the classifier.

    Annotated labels have no radius that could be too small, and a selection of them is meant, however small: the
    defaults of ``max_outlier_ratio`` and ``policy`` differ from those of :class:`ClusterHook`.

    Where the training set has ``noise``, what was planted, be it nothing, is written to ``work_dir/label_noise.npz``
    (``paths``, ``labels``, ``clean_labels`` and ``noise``) before the training.

    ``teacher.json``, which a teacher leaves behind, has in percent

    * ``confident``: images whose label the teacher trusts;
    * with ``noise`` in the training set, be it of no image: ``wrong``, images of planted labels, and, of the images of
      people who have an identity, ``right_given``, those whose given label is the true one, and ``right_chosen``, those
      whose most likely class is;
    * where a label is wrong: ``dropped`` and ``disputed``, ``precision`` and ``recall`` of finding wrong labels in the
      images that are not confident, or in those whose most likely class is another than the given one; and
      ``corrected``, of the wrong labels of people who have an identity, those for which the teacher names it (absent
      if there are none).

    Args:
        clusterer: As for :class:`ClusterHook`.
        pipeline: As for :class:`ClusterHook`.
        soft_labels: Write ``work_dir/soft_labels.npz`` after the training: the run is a teacher. The images that the
            clusterer keeps are the confident ones. Beside it lies ``teacher.json``. Defaults to False.
        max_outlier_ratio: As for :class:`ClusterHook`. Defaults to 1.
        policy: As for :class:`ClusterHook`. Defaults to ``'raise'``.
        **kwargs: As for :class:`ClusterHook`.

    Raises:
        InputError: Before the training, if a student's soft labels are missing or made for other data.

    Example:
        >>> default_hooks = dict(cluster=dict(type='FATHook', clusterer=dict(type='GroundTruthLabels')))
    """

    def __init__(
        self,
        clusterer: dict[str, Any],
        pipeline: Sequence[Any],
        soft_labels: bool = False,
        max_outlier_ratio: float = 1.0,
        policy: Literal["relax_eps", "keep_previous", "raise"] = "raise",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            clusterer, pipeline, max_outlier_ratio=max_outlier_ratio, policy=policy, **kwargs
        )
        self.soft_labels = soft_labels

    def before_train(self, runner: Runner) -> None:
        """Check the target and the soft labels to learn from, and record the planted noise."""
        super().before_train(runner)
        target = runner.train_dataloader.dataset.target
        labels = torch.from_numpy(target.true_labels)
        unwrap(runner.model).head.check_soft_labels(labels, target.fingerprint)
        if target.has_clean_labels and is_main_process():
            with (
                atomic_path(Path(runner.work_dir) / "label_noise.npz") as path,
                path.open("wb") as file,
            ):
                np.savez_compressed(
                    file,
                    paths=np.array(target.paths),
                    labels=target.true_labels,
                    clean_labels=target.clean_labels,
                    noise=target.noise,
                )

    def extract(self, runner: Runner, dataset: ReIDDataset) -> Tensor:
        """Pooled features, not normalised: float32 (N, D)."""
        with unwrap(runner.model).plain_features():
            return super().extract(runner, dataset)

    def _extras(
        self, runner: Runner, target: ReIDDataset, features: Tensor
    ) -> dict[str, np.ndarray]:
        """What the clusterer asks for; also ``probabilities``, float32 (N, K)."""
        extras = super()._extras(runner, target, features)
        if "probabilities" in self.clusterer.requires:
            probabilities = unwrap(runner.model).class_probabilities(features)
            extras["probabilities"] = probabilities.cpu().numpy()
        return extras

    def after_train(self, runner: Runner) -> None:
        """Write the soft labels, if this is a teacher."""
        if not self.soft_labels:
            return
        target = runner.train_dataloader.dataset.target
        features = self.extract(runner, target)
        extras = self._extras(runner, target, features)
        probabilities = unwrap(runner.model).class_probabilities(features).cpu()
        labels = run_on_rank0(
            lambda: self.clusterer(
                features.cpu().numpy(), seed=self._seed(runner), epoch=runner.epoch, **extras
            )
        )
        if is_main_process():
            given = torch.from_numpy(target.true_labels)
            soft = SoftLabels(
                given, probabilities, torch.from_numpy(labels) >= 0, target.fingerprint
            )
            soft.save(Path(runner.work_dir) / SoftLabels.FILE)
            # Of the file: rounded to half precision, two classes may tie.
            figures = teacher_report(SoftLabels.load(runner.work_dir), target)
            with atomic_path(Path(runner.work_dir) / "teacher.json") as path:
                path.write_text(json.dumps(figures, indent=2) + "\n")
            runner.logger.info(f"Soft labels written to {runner.work_dir}: {figures}")


def teacher_report(soft: SoftLabels, dataset: ReIDDataset) -> dict[str, Any]:
    """What a teacher thinks of the labels, and, where the data set knows the truth, how right it is.

    Args:
        soft: Of the teacher.
        dataset: What it was trained on.

    Returns:
        The content of ``teacher.json``, see :class:`FATHook`.
    """
    chosen, given = soft.probabilities.argmax(1).numpy(), dataset.true_labels
    figures: dict[str, Any] = dict(confident=_percent(soft.confident.numpy()))
    if not dataset.has_clean_labels:
        return figures
    wrong, known = dataset.noise != "", dataset.clean_labels >= 0
    right = chosen == dataset.clean_labels
    figures.update(
        wrong=_percent(wrong),
        right_given=_percent((given == dataset.clean_labels)[known]),
        right_chosen=_percent(right[known]),
    )
    if wrong.any():
        figures.update(
            dropped=precision_recall(~soft.confident.numpy(), wrong),
            disputed=precision_recall(chosen != given, wrong),
        )
    if (wrong & known).any():
        figures.update(corrected=_percent(right[wrong & known]))
    return figures


def _percent(flags: np.ndarray) -> float:
    return 100 * float(flags.mean())
