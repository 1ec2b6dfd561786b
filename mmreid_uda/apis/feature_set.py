"""Features with what is known about their images: from a file, or computed by a config and a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config

from mmreid_uda.config import require_tests
from mmreid_uda.datasets import ReIDDataset, ReIDTestDataset, build_dataset
from mmreid_uda.datasets.files import file_numbers
from mmreid_uda.datasets.ids import sorted_ids
from mmreid_uda.datasets.unknown import compared_cameras, known
from mmreid_uda.evaluation.functional import evaluate_rank
from mmreid_uda.evaluation.functional.distance import as_sides
from mmreid_uda.gallery import require_same_length, require_same_model
from mmreid_uda.registry import DATASETS
from mmreid_uda.structures import Evidence
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.choices import Part
from mmreid_uda.utils.files import open_arrays, require_file
from mmreid_uda.utils.values import Count, checked
from mmreid_uda.visualization import RankRow, query_caption, rank_rows
from mmreid_uda.visualization.tiles import spread

from .inferencer import ReIDInferencer

__all__ = ["FeatureSet", "choose_queries", "load_pseudo_labels", "target_images", "test_images"]


@dataclass(frozen=True)
class FeatureSet:
    """Features of N images.

    Args:
        features: float32 (N, D), unit rows.
        paths: Image paths.
        pids: int64 (N,), -1 = unknown.
        camids: int64 (N,) that the rule of the evaluation compares; of unknown cameras each image has one of its own.
        evidence: What is known of the images beside pixels.
        is_query: bool (N,), the queries of a test set; all False elsewhere.
        is_gallery: bool (N,), its gallery, of which some may be queries too; all False elsewhere.
        fingerprint: Of the model, see :func:`~mmreid_uda.apis.model_fingerprint`; empty = unknown.
        ids: str (N,), the identities where the data have texts, which ``pids`` numbers; None elsewhere.
    """

    features: np.ndarray
    paths: list[str]
    pids: np.ndarray
    camids: np.ndarray
    evidence: Evidence
    is_query: np.ndarray
    is_gallery: np.ndarray
    fingerprint: str = ""
    ids: np.ndarray | None = None

    @property
    def cameras(self) -> np.ndarray:
        """int64 (N,), the true cameras, -1 = unknown."""
        return self.evidence.cameras

    @classmethod
    def load(cls, path: str | Path) -> FeatureSet:
        """Read a file of ``tools/extract_features.py``.

        Args:
            path: An ``.npz`` file.

        Returns:
            Its features, none of them marked as query or gallery.

        Raises:
            InputError: The file is missing, or holds no finite features with a path for each, or other labels than
                integers and texts.
        """
        expected = "an .npz file of tools/extract_features.py"
        require_file(path, expected)
        with open_arrays(path, "is no file of features", f"expected {expected}") as arrays:
            hint = "extract them again with tools/extract_features.py"
            paths = _column(arrays["paths"], "paths", None, "U").tolist()
            features = check_vectors(arrays["features"], f"features of '{path}'", hint, names=paths)
            num = len(paths)
            require_same_length(len(features), num)
            pids = _column(arrays.get("pid", np.full(num, -1)), "pid", num, "iuU")
            cameras = _column(arrays.get("camid", np.full(num, -1)), "camid", num, "iu").astype(int)
            if not arrays.get("has_cameras", True) and (cameras >= 0).all():
                cameras[:] = -1  # of an older file, in which each image had a number of its own
            times = _column(arrays.get("time", np.full(num, np.nan)), "time", num, "f")
            tracklets = _column(arrays.get("tracklet", np.full(num, -1)), "tracklet", num, "iu")
            fingerprint = str(arrays.get("fingerprint", ""))
        ids = pids if pids.dtype.kind == "U" else None
        return cls(
            features,
            paths,
            pids.astype(np.int64) if ids is None else _numbers(ids),
            compared_cameras(cameras, file_numbers(paths)),
            Evidence(cameras, times, tracklets),
            np.zeros(num, bool),
            np.zeros(num, bool),
            fingerprint,
            ids,
        )

    @classmethod
    def extract(cls, inferencer: ReIDInferencer, part: Part) -> FeatureSet:
        """Compute the features of images that a config names.

        Args:
            inferencer: The model and its config.
            part: ``'train'``: the target's training images, with the true identities. ``'test'``: queries and gallery
                of the first test set.

        Returns:
            Features of all these images, in the order of the dataset.

        Raises:
            InputError: The config has no such images.
        """
        cfg = inferencer.cfg
        if part == "test":
            dataset = test_images(cfg)
            first = np.flatnonzero(dataset.set_ids == 0)
            paths = [dataset.paths[one] for one in first]
            ids = dataset.ids[first]
            texts = any(isinstance(one, str) for one in ids)
            return cls(
                inferencer.extract(paths),
                paths,
                dataset.pids[first],
                dataset.camids[first],
                Evidence(dataset.cameras[first]),
                dataset.is_query[first],
                dataset.is_gallery[first],
                inferencer.fingerprint,
                ids.astype(str) if texts else None,
            )
        dataset = target_images(cfg)
        return cls(
            inferencer.extract(dataset),
            dataset.paths,
            dataset.true_labels,
            dataset.camids,
            dataset.evidence,
            np.zeros(len(dataset), bool),
            np.zeros(len(dataset), bool),
            inferencer.fingerprint,
        )

    def ranking(self, queries: Sequence[int], topk: int) -> list[RankRow]:
        """Rank the gallery for some queries, for a picture (:func:`~mmreid_uda.visualization.draw_rank_list`).

        Args:
            queries: Positions of queries, such as :func:`choose_queries` gives.
            topk: Gallery images per query.

        Returns:
            A row for each query.
        """
        return rank_rows(
            self.features,
            self.pids,
            self.camids,
            self.is_gallery,
            self.paths,
            queries,
            topk,
            self.ids,
        )

    def joined(self, gallery: FeatureSet) -> FeatureSet:
        """Take these images as queries, and others as their gallery.

        As in a test set, people who are named by texts are numbered over both, and a file whose camera is unknown, or
        every file if none is known on one side, is a camera of its own. Of the evidence cameras alone are kept.

        Args:
            gallery: Images of the same model.

        Returns:
            Both, these first, with the marks of query and gallery.

        Raises:
            InputError: The dimensions or the fingerprints differ.
        """
        as_sides(self.features, gallery.features)  # refuses those of two dimensions
        require_same_model(self.fingerprint, gallery.fingerprint)
        paths = self.paths + gallery.paths
        pids = np.concatenate([self.pids, gallery.pids])
        cameras = np.concatenate([self.cameras, gallery.cameras])
        files = file_numbers(paths)
        some_known = all((one.cameras >= 0).any() for one in (self, gallery))
        ids = None
        if self.ids is not None or gallery.ids is not None:
            sides = (self, gallery)
            ids = np.concatenate(
                [one.pids.astype(str) if one.ids is None else one.ids for one in sides]
            )
            pids = np.where(pids < 0, -1, _numbers(ids))
        return FeatureSet(
            np.concatenate([self.features, gallery.features]),
            paths,
            pids,
            compared_cameras(cameras, files) if some_known else files,
            Evidence(cameras),
            np.arange(len(paths)) < len(self.paths),
            np.arange(len(paths)) >= len(self.paths),
            self.fingerprint or gallery.fingerprint,
            ids,
        )


def _numbers(ids: np.ndarray) -> np.ndarray:
    """Number texts (N,) as datasets do: int64 (N,), -1 for a text that stands for no name."""
    names = [known(one) for one in ids.tolist()]
    number_of = {one: number for number, one in enumerate(sorted_ids(filter(None, names)))}
    return np.array([number_of.get(one, -1) for one in names], dtype=np.int64)


def _column(values: np.ndarray, name: str, num: int | None, kinds: str) -> np.ndarray:
    """One value per image, of some kinds of NumPy's types; a ValueError says what else there is."""
    if values.ndim != 1 or values.dtype.kind not in kinds or num not in (None, len(values)):
        raise ValueError(f"{name} is {values.dtype} of shape {values.shape}")
    return values


def target_images(cfg: Config) -> ReIDDataset:
    """Build the target's training images with the test pipeline; ``true_labels`` has the identities.

    Args:
        cfg: A config of :func:`load_config`.

    Returns:
        The dataset, without pseudo-labels.

    Raises:
        InputError: The config has no target.
    """
    if cfg.get("target") is None:
        raise InputError(
            f"found no target in {cfg.filename}, expected unlabelled training images: give a config with `target`, or "
            "take --part test."
        )
    options = dict(data_root=cfg.data_root, pipeline=cfg.test_pipeline)
    return build_dataset(cfg.target, "train", domain=1, labels="unlabeled", **options)


def test_images(cfg: Config) -> ReIDTestDataset:
    """Build the test sets that a config evaluates on.

    Args:
        cfg: A config of :func:`load_config`.

    Returns:
        All of them as one dataset; ``set_ids`` tells them apart.

    Raises:
        InputError: The config has none.
    """
    require_tests(cfg, "take --part train, or give images")
    return DATASETS.build(cfg.val_dataloader.dataset)


def load_pseudo_labels(path: str | Path, paths: Sequence[str]) -> np.ndarray:
    """Read what a run has saved in ``pseudo_labels``, in the order of some images.

    Args:
        path: ``WORK_DIR/pseudo_labels/epoch_<n>.npz``, see :func:`~mmreid_uda.checkpoint.find_labels`.
        paths: N image paths; those of the run, in any order, possibly below another folder.

    Returns:
        int64 (N,), -1 = outlier.

    Raises:
        InputError: The file is missing, holds no pseudo-labels, or those of other images.
    """
    expected = "WORK_DIR/pseudo_labels/epoch_<n>.npz of a run with a ClusterHook"
    require_file(path, expected)
    with open_arrays(path, "holds no pseudo-labels", f"expected {expected}") as arrays:
        images = _column(arrays["paths"], "paths", None, "U").tolist()
        labels = _column(arrays["labels"], "labels", len(images), "iu").tolist()
    num = len(images)
    exact = dict(zip(images, labels))
    label_of = {Path(one).name: label for one, label in exact.items()}
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


@checked
def choose_queries(
    images: FeatureSet, num: Count, worst: bool = False
) -> tuple[list[int], list[str]]:
    """Choose queries to look at, with a caption for each.

    Args:
        images: A test set.
        num: Queries at most.
        worst: Those of lowest average precision, the worst first; else some evenly spread over all.

    Returns:
        Positions in the test set; captions with file name, identity, camera and average precision.

    Raises:
        InputError: No query has a match, or ``num`` is below 1.
    """
    query, gallery = np.flatnonzero(images.is_query), np.flatnonzero(images.is_gallery)
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
    names = images.pids if images.ids is None else images.ids
    captions = [
        query_caption(images.paths[place], names[place], int(images.cameras[place]), float(ap[one]))
        for one, place in zip(chosen, query[chosen].tolist())
    ]
    return query[chosen].tolist(), captions
