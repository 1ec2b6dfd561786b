"""Features with what is known about their images: from a file, or computed by a config and a checkpoint."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from mmengine.config import Config
from torch.utils.data import Subset

from mmreid_uda.datasets import ReIDDataset, build_dataset
from mmreid_uda.evaluation.functional import evaluate_rank
from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.visualization.tiles import spread

from .inferencer import ReIDInferencer

__all__ = [
    "FeatureSet",
    "choose_queries",
    "load_pseudo_labels",
    "target_images",
]

Part = Literal["train", "test"]


@dataclass(frozen=True)
class FeatureSet:
    """Features of N images.

    Args:
        features: float32 (N, D), unit rows.
        paths: Image paths.
        pids: int64 (N,), -1 = unknown.
        camids: int64 (N,); of unknown cameras each image has one of its own.
        is_query: bool (N,), the queries of a test set; all False elsewhere.
    """

    features: np.ndarray
    paths: list[str]
    pids: np.ndarray
    camids: np.ndarray
    is_query: np.ndarray

    @classmethod
    def load(cls, path: str | Path) -> FeatureSet:
        """Read a file of ``tools/extract_features.py``.

        Raises:
            InputError: The file is missing or holds no features and paths.
        """
        if not Path(path).is_file():
            raise InputError(
                f"found no file {str(path)!r}; make it with `python tools/extract_features.py`."
            )
        try:
            with np.load(path) as arrays:
                features, paths = arrays["features"], arrays["paths"].tolist()
                num = len(features)
                pids = arrays["pid"] if "pid" in arrays else np.full(num, -1, np.int64)
                camids = arrays["camid"] if "camid" in arrays else np.arange(num)
        except (TypeError, KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
            reason = str(error).partition("\n")[0].strip(".'\"")
            raise InputError(
                f"{str(path)!r} is no file of features ({reason}), expected an .npz file of "
                "tools/extract_features.py."
            ) from error
        return cls(features, paths, pids, camids, np.zeros(num, bool))

    @classmethod
    def extract(cls, inferencer: ReIDInferencer, part: Part) -> FeatureSet:
        """Compute the features of images that a config names.

        Args:
            inferencer: The model and its config.
            part: ``'train'``: the target's training images, with the true identities. ``'test'``: queries and gallery
                of the first test set.

        Raises:
            InputError: The config has no such images.
        """
        cfg = inferencer.cfg
        if part == "test":
            dataset = DATASETS.build(cfg.val_dataloader.dataset)
            first = np.flatnonzero(dataset.set_ids == 0)
            features = inferencer.extract(Subset(dataset, first.tolist()))
            paths = [dataset.paths[one] for one in first]
            return cls(
                features, paths, dataset.pids[first], dataset.camids[first], dataset.is_query[first]
            )
        dataset = target_images(cfg)
        return cls(
            inferencer.extract(dataset),
            dataset.paths,
            dataset.true_labels,
            dataset.camids,
            np.zeros(len(dataset), bool),
        )

    def joined(self, gallery: FeatureSet) -> FeatureSet:
        """Take these images as queries, and others as their gallery.

        Raises:
            InputError: The dimensions differ.
        """
        if self.features.shape[1] != gallery.features.shape[1]:
            raise InputError(
                f"found queries of {self.features.shape[1]} dimensions and a gallery of {gallery.features.shape[1]}, "
                "expected features of one model: extract both with the same config and checkpoint."
            )
        return FeatureSet(
            np.concatenate([self.features, gallery.features]),
            self.paths + gallery.paths,
            np.concatenate([self.pids, gallery.pids]),
            np.concatenate([self.camids, gallery.camids]),
            np.arange(len(self.paths) + len(gallery.paths)) < len(self.paths),
        )


def target_images(cfg: Config) -> ReIDDataset:
    """Build the target's training images with the test pipeline; ``true_labels`` has the identities.

    Args:
        cfg: A config of :func:`load_config`.

    Raises:
        InputError: The config has no target.
    """
    if cfg.get("target") is None:
        raise InputError(
            f"found no target in {cfg.filename}, expected unlabelled training images: give a config with `target`, or "
            "take --part test."
        )
    return build_dataset(
        cfg.target, "train", data_root=cfg.data_root, pipeline=cfg.test_pipeline, labels="hidden"
    )


def load_pseudo_labels(path: str | Path, paths: Sequence[str]) -> np.ndarray:
    """Read what a run has saved in ``pseudo_labels``, in the order of some images.

    Args:
        path: ``WORK_DIR/pseudo_labels/epoch_<n>.npz``.
        paths: N image paths; those of the run, in any order, possibly below another folder.

    Returns:
        int64 (N,), -1 = outlier.

    Raises:
        InputError: The file is missing or of other images.
    """
    if not Path(path).is_file():
        raise InputError(
            f"found no file {str(path)!r}, expected WORK_DIR/pseudo_labels/epoch_<n>.npz of a run with a ClusterHook."
        )
    with np.load(path) as arrays:
        label_of = dict(zip((Path(one).name for one in arrays["paths"]), arrays["labels"]))
        num = len(arrays["paths"])
        exact = dict(zip(arrays["paths"].tolist(), arrays["labels"]))
    if len(label_of) < num:  # the same file names in several folders
        label_of = {}
    found = [exact.get(one, label_of.get(Path(one).name)) for one in paths]
    missing = sum(one is None for one in found)
    if missing:
        raise InputError(
            f"{missing} of {len(paths)} images have no label among the {num} of {str(path)!r}, expected the images of "
            "that run: give the config that it was trained with."
        )
    return np.array(found, dtype=np.int64)


def choose_queries(
    images: FeatureSet, num: int, worst: bool = False
) -> tuple[list[int], list[str]]:
    """Choose queries to look at, with a caption for each.

    Args:
        images: A test set.
        num: Queries at most.
        worst: Those of lowest average precision, the worst first; else some evenly spread over all.

    Returns:
        Positions in the test set; captions with identity, camera and average precision.

    Raises:
        InputError: No query has a match.
    """
    query, gallery = np.flatnonzero(images.is_query), np.flatnonzero(~images.is_query)
    ap = evaluate_rank(
        images.features[query],
        images.features[gallery],
        images.pids[query],
        images.pids[gallery],
        images.camids[query],
        images.camids[gallery],
    ).ap
    valid = np.flatnonzero(np.isfinite(ap))
    if worst:
        chosen = valid[np.argsort(ap[valid], kind="stable")[:num]]
    else:
        chosen = spread(valid, num)
    captions = [
        f"identity {images.pids[query[one]]}, camera {images.camids[query[one]]}, AP {100 * ap[one]:.1f}"
        for one in chosen
    ]
    return query[chosen].tolist(), captions
