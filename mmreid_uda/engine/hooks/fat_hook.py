"""The life cycle of FAT's centroids, and what a teacher leaves behind: soft labels and a report on planted noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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

    Where the training set has planted noise, what was planted is written to ``work_dir/label_noise.npz`` (``paths``,
    ``labels``, ``clean_labels`` and ``noise``) before the training.

    Args:
        soft_labels: Write ``work_dir/soft_labels.npz`` after the training: the run is a teacher. The images that the
            clusterer keeps are the confident ones. Beside it ``teacher.json`` has the share of confident images and,
            where noise was planted, how many of the wrong labels were found: ``dropped`` are images that are not
            confident, ``disputed`` those whose largest probability is another class's; and the share of right labels
            before and after. Defaults to False.
        **kwargs: As for :class:`ClusterHook`.

    Example:
        >>> default_hooks = dict(cluster=dict(type='FATHook', clusterer=dict(type='GroundTruthLabels')))
    """

    def __init__(self, *args: Any, soft_labels: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.soft_labels = soft_labels

    def before_train(self, runner: Runner) -> None:
        """Check the target, and record the planted noise."""
        super().before_train(runner)
        target = runner.train_dataloader.dataset.target
        if (target.noise != "").any() and is_main_process():
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
            soft = SoftLabels(given, probabilities, torch.from_numpy(labels) >= 0)
            soft.save(Path(runner.work_dir) / SoftLabels.FILE)
            figures = teacher_report(soft, target)
            with atomic_path(Path(runner.work_dir) / "teacher.json") as path:
                path.write_text(json.dumps(figures, indent=2) + "\n")
            runner.logger.info(f"Soft labels written to {runner.work_dir}: {figures}")


def teacher_report(soft: SoftLabels, dataset: ReIDDataset) -> dict[str, Any]:
    """What a teacher thinks of the labels, and, where noise was planted, how right it is; all in percent."""
    chosen = soft.probabilities.argmax(1).numpy()
    dropped, disputed = ~soft.confident.numpy(), chosen != dataset.true_labels
    figures: dict[str, Any] = dict(confident=100 * float((~dropped).mean()))
    wrong = dataset.noise != ""
    if wrong.any():
        known = dataset.clean_labels >= 0
        figures.update(
            wrong=100 * float(wrong.mean()),
            dropped=precision_recall(dropped, wrong),
            disputed=precision_recall(disputed, wrong),
            right_given=100 * float((dataset.true_labels == dataset.clean_labels)[known].mean()),
            right_chosen=100 * float((chosen == dataset.clean_labels)[known].mean()),
        )
    return figures
