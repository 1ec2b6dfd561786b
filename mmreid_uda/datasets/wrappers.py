"""Datasets put together: source and target for training, queries and galleries of all test sets for evaluation."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import MinLen
from mmengine.logging import print_log
from torch import Tensor
from torch.utils.data import Dataset

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError, SeededIndex
from mmreid_uda.utils.choices import SPLITS
from mmreid_uda.utils.values import checked

from .base_reid import ReIDDataset
from .catalog import build_dataset
from .files import file_numbers, shown
from .ids import sorted_ids
from .statistics import log_statistics
from .unknown import compared_cameras

__all__ = ["CrossDomainDataset", "ReIDTestDataset", "queries_with_match"]

CameraRule = Literal["auto", "remove", "keep"]

DatasetLike = str | Mapping | ReIDDataset
"""A name of the catalogue, a config, or a built dataset."""


class _JoinedDataset(Dataset):
    """Several datasets one after the other; an index with a seed keeps it on the way to its dataset.

    Args:
        datasets: Datasets in order.
    """

    def __init__(self, datasets: Sequence[ReIDDataset]) -> None:
        self.datasets = list(datasets)
        self.starts = list(itertools.accumulate((len(one) for one in datasets), initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    def _locate(self, idx: int) -> tuple[int, int]:
        """Number of the dataset that holds an index, and the index inside it."""
        index = range(self.starts[-1])[idx]
        part = bisect.bisect_right(self.starts, index) - 1
        local = index - self.starts[part]
        return part, SeededIndex(local, idx.seed) if isinstance(idx, SeededIndex) else local

    @property
    def fingerprint(self) -> str:
        """Hash of the fingerprints of all datasets, equal on ranks that read the same data."""
        return hashlib.sha256(
            "".join(one.fingerprint for one in self.datasets).encode()
        ).hexdigest()


@DATASETS.register_module()
class CrossDomainDataset(_JoinedDataset):
    """Labelled source(s) and unlabelled target as one list: ``[sources | target]``.

    Items carry ``domain`` 0 for sources and 1 for the target. ``sample_idx`` counts inside all sources, or inside the
    target. Identities and known cameras of several sources are numbered on, so that they stay distinct. Sources are
    built with ``labels='ground_truth'``, the target with ``labels='unlabeled'``, unless their dicts say otherwise.

    Args:
        source: Name, config or dataset, or a list of them; None for a target alone (USL).
        target: Name, config or dataset; None for sources alone (supervised training).
        data_root: Folder of the datasets that are given by name.
        pipeline: Transforms of every dataset whose dict has no ``pipeline`` of its own.

    Attributes:
        source_datasets: The sources, possibly none.
        target: The target or None; the clustering hook calls its ``set_labels``.
        domains: int64 (N,), 0 or 1 for each item.
        camids: int64 (N,), as in the items.
        num_source_pids: Identities of all sources together, the size of a source classifier.

    Raises:
        InputError: Neither source nor target is given.

    Example:
        >>> train_dataloader = dict(dataset=dict(
        ...     type='CrossDomainDataset', source='dukemtmc', target='market1501', pipeline=train_pipeline))
    """

    def __init__(
        self,
        source: DatasetLike | Sequence[DatasetLike] | None = None,
        target: DatasetLike | None = None,
        *,
        data_root: str = "data",
        pipeline: Sequence[dict | Callable] = (),
    ) -> None:
        if isinstance(source, (str, Mapping, ReIDDataset)):
            source = [source]
        common = {"data_root": data_root, "pipeline": pipeline}
        self.source_datasets = [
            build_dataset(one, "train", domain=0, **common) for one in source or ()
        ]
        self.target = (
            None
            if target is None
            else build_dataset(target, "train", domain=1, labels="unlabeled", **common)
        )
        datasets = [*self.source_datasets, *([self.target] if self.target is not None else [])]
        if not datasets:
            raise InputError(
                "CrossDomainDataset got source=None and target=None, expected at least one; set source or target"
            )
        super().__init__(datasets)
        sizes = [one.num_pids for one in self.source_datasets]
        *self._label_offsets, self.num_source_pids = itertools.accumulate(sizes, initial=0)
        cameras = [int(one.camids.max()) + 1 for one in self.source_datasets]
        *self._camera_offsets, _ = itertools.accumulate(cameras, initial=0)
        is_target = [one is self.target for one in datasets]
        self.domains = np.repeat(
            np.array(is_target, dtype=np.int64), [len(one) for one in datasets]
        )
        self.camids = np.concatenate(
            [one.camids + self._offsets(part)[1] for part, one in enumerate(datasets)]
        )
        log_statistics(datasets)

    @property
    def labels(self) -> Tensor:
        """The labels to train on of all items, int64 (N,), read afresh at every access."""
        return torch.cat([self._shift(part, one.labels) for part, one in enumerate(self.datasets)])

    @property
    def metainfo(self) -> dict:
        """Names of the datasets: ``source_names`` (list) and ``target_name`` (None without a target)."""
        return {
            "source_names": [one.name for one in self.source_datasets],
            "target_name": None if self.target is None else self.target.name,
        }

    def __getitem__(self, idx: int) -> Any:
        part, local = self._locate(idx)
        dataset = self.datasets[part]
        info = dataset.get_item(local)
        label_offset, camera_offset = self._offsets(part)
        if info["gt_label"] >= 0:
            info["gt_label"] += label_offset
        info["camid"] += camera_offset
        info["domain"] = int(dataset is self.target)
        if dataset is not self.target:
            info["sample_idx"] += self.starts[part]
        return dataset.pipeline(info)

    def _offsets(self, part: int) -> tuple[int, int]:
        """What is added to labels and cameras of a dataset; the target keeps its own numbers."""
        if part >= len(self.source_datasets):
            return 0, 0
        return self._label_offsets[part], self._camera_offsets[part]

    def _shift(self, part: int, labels: Tensor) -> Tensor:
        return torch.where(labels >= 0, labels + self._offsets(part)[0], labels)


@DATASETS.register_module()
class ReIDTestDataset(_JoinedDataset):
    """Queries and galleries of one or several test sets as one list, checked against the evaluation protocol.

    Items carry ``pid``, ``camid``, ``camera`` (-1 = unknown), ``is_query``, ``is_gallery``, ``set_id`` (position in
    ``sets``) and ``sample_idx`` (unique over everything). A file that is both query and gallery of a set is one item,
    so that it is encoded once. Identities of a set are numbered over query and gallery together; integers stay as they
    are.

    The rule of the field removes, per query, the gallery images of the same identity **and** the same camera. An image
    whose camera is unknown gets a camera number of its own, and where the rule cannot be used at all every image does:
    the rule then removes only the query image itself, which is leave-one-out.

    Args:
        sets: Test sets: names, configs (``split`` is set here), or ``dict(query=, gallery=, name=)`` with two
            configs or datasets. A dict may hold its own ``same_camera``.
        data_root: Folder of the datasets that are given by name.
        pipeline: Transforms of every dataset whose dict has no ``pipeline`` of its own.
        same_camera: ``'remove'`` applies the rule and asks for known cameras; ``'keep'`` lets images of one camera
            match each other; ``'auto'`` removes where cameras are known and keeps where none is.

    Attributes:
        set_names: Names of the test sets, the prefixes of their metrics.
        pids: int64 (N,).
        camids: int64 (N,), equal for a query and a gallery image that the rule may keep apart.
        cameras: int64 (N,), the true cameras, -1 where unknown.
        ids: object (N,), the identities as the data give them, integers or texts.
        is_query: bool (N,).
        is_gallery: bool (N,).
        set_ids: int64 (N,).
        paths: Image paths (N).

    Raises:
        InputError: No test set, two of one name, one file with two identities or cameras, or a set in which no query
            has a match; the message counts queries, gallery images, shared identities and cameras.

    Example:
        >>> val_dataloader = dict(dataset=dict(
        ...     type='ReIDTestDataset', sets=['market1501', 'msmt17'], pipeline=test_pipeline))
    """

    def __init__(
        self,
        sets: Annotated[Sequence[str | Mapping], MinLen(1)],
        *,
        data_root: str = "data",
        pipeline: Sequence[dict | Callable] = (),
        same_camera: CameraRule = "auto",
    ) -> None:
        datasets: list[ReIDDataset] = []
        parts: list[_TestSet] = []
        self.set_names: list[str] = []
        for one in sets:
            own = one if isinstance(one, Mapping) else {}
            name, rule, query, gallery = _build_test_set(
                one,
                same_camera=own.get("same_camera", same_camera),
                data_root=data_root,
                pipeline=pipeline,
            )
            self.set_names.append(name)
            datasets += [query, gallery]
            parts.append(_TestSet(name, query, gallery, rule))
        repeated = sorted({name for name in self.set_names if self.set_names.count(name) > 1})
        if repeated:
            raise InputError(
                f"{len(self.set_names)} test sets share the name {', '.join(repeated)}, expected distinct names for "
                "their metrics; give each a 'name'"
            )
        super().__init__(datasets)
        # Where each item stands among the images of all queries and galleries.
        self._places = np.concatenate(
            [start + one.kept for start, one in zip(self.starts[::2], parts)]
        )
        self.set_ids = np.repeat(np.arange(len(parts)), [len(one.kept) for one in parts])
        self.is_query = np.concatenate([one.is_query for one in parts])
        self.is_gallery = np.concatenate([one.is_gallery for one in parts])
        self.pids = np.concatenate([one.pids[one.kept] for one in parts])
        self.camids = np.concatenate([one.camids[one.kept] for one in parts])
        self.cameras = np.concatenate([one.cameras[one.kept] for one in parts])
        self.ids = np.concatenate([one.ids[one.kept] for one in parts])
        log_statistics(datasets)

    def __len__(self) -> int:
        return len(self._places)

    def _locate(self, idx: int) -> tuple[int, int]:
        place = int(self._places[idx])
        return super()._locate(
            SeededIndex(place, idx.seed) if isinstance(idx, SeededIndex) else place
        )

    @property
    def paths(self) -> list[str]:
        """Image paths in the order of the items."""
        every = [path for dataset in self.datasets for path in dataset.paths]
        return [every[place] for place in self._places]

    @property
    def metainfo(self) -> dict:
        """``set_names``: of the test sets in the order of ``set_id``; ``cameras``, ``times``: of the items."""
        every = [one.evidence for one in self.datasets]
        return {
            "set_names": list(self.set_names),
            "cameras": np.concatenate([one.named_cameras for one in every])[self._places],
            "times": np.concatenate([one.times for one in every])[self._places],
        }

    def __getitem__(self, idx: int) -> Any:
        index = range(len(self))[idx]
        part, local = self._locate(idx)
        info = self.datasets[part].get_item(local)
        info.update(
            sample_idx=index,
            pid=int(self.pids[index]),
            camid=int(self.camids[index]),
            camera=int(self.cameras[index]),
            is_query=bool(self.is_query[index]),
            is_gallery=bool(self.is_gallery[index]),
            set_id=int(self.set_ids[index]),
        )
        return self.datasets[part].pipeline(info)


class _TestSet:
    """Query and gallery of one test set by their files: who, which camera, which of them is there twice.

    Args:
        name: For messages.
        query: Q images.
        gallery: G images.
        rule: ``'remove'`` or ``'keep'``, see :class:`ReIDTestDataset`.

    Attributes:
        pids: int64 (Q + G,), of query, then gallery.
        camids: int64 (Q + G,), what the rule compares.
        cameras: int64 (Q + G,), -1 = unknown.
        ids: object (Q + G,), the identities as the data give them.
        kept: int64 (N,), positions of the images without those of the gallery that are queries too.
        is_query: bool (N,).
        is_gallery: bool (N,).

    Raises:
        InputError: One file has two identities or cameras, or the set cannot be scored.
    """

    def __init__(self, name: str, query: ReIDDataset, gallery: ReIDDataset, rule: str) -> None:
        num_query = len(query)
        paths = [*query.paths, *gallery.paths]
        files = file_numbers(paths)
        _, first = np.unique(files, return_index=True)
        self.pids = _joint_pids(query, gallery)
        self.ids = np.concatenate([query.pids, gallery.pids], dtype=object)
        self.cameras = np.concatenate(_joint_cameras(query, gallery))
        compared = compared_cameras(self.cameras, files)
        for what, wrong in (
            ("identities", self.pids != self.pids[first][files]),
            ("cameras", (self.cameras >= 0) & (self.cameras != compared)),
        ):
            if wrong.any():
                raise InputError(
                    f"test set {name}: the file {shown(paths[wrong.argmax()])} has other {what} as query and as "
                    f"gallery, expected the same, since an image is its file; mend the lists ({wrong.sum()} such files)"
                )
        self.camids = files if rule == "keep" else compared
        _check_protocol(name, self.pids, self.camids, num_query, rule, self.cameras)
        self.kept = first
        self.is_query = self.kept < num_query
        self.is_gallery = np.isin(files[self.kept], files[num_query:])


def queries_with_match(
    query_pids: np.ndarray,
    query_camids: np.ndarray,
    gallery_pids: np.ndarray,
    gallery_camids: np.ndarray,
) -> np.ndarray:
    """Tell which queries have a gallery image of the same identity from another camera.

    Args:
        query_pids: int64 (Q,).
        query_camids: int64 (Q,), negative = unknown, which is the camera of no other image.
        gallery_pids: int64 (G,).
        gallery_camids: int64 (G,), likewise.

    Returns:
        bool (Q,).
    """
    num_query = len(query_pids)
    _, pids = np.unique(np.concatenate([query_pids, gallery_pids]), return_inverse=True)
    _, cams = np.unique(np.concatenate([query_camids, gallery_camids]), return_inverse=True)
    _, pairs = np.unique(pids * (cams.max() + 1) + cams, return_inverse=True)
    same_id = np.bincount(pids[num_query:], minlength=len(pids))[pids[:num_query]]
    same_both = np.bincount(pairs[num_query:], minlength=len(pairs))[pairs[:num_query]]
    return same_id > np.where(query_camids < 0, 0, same_both)


@checked
def _build_test_set(
    config: str | Mapping, same_camera: CameraRule, **common: Any
) -> tuple[str, str, ReIDDataset, ReIDDataset]:
    """Build query and gallery of one test set.

    Returns:
        Name, rule for the cameras (``'remove'`` or ``'keep'``), query, gallery.
    """
    options = {"name": config} if isinstance(config, str) else dict(config)
    options.pop("same_camera", None)
    both = "query" in options and "gallery" in options
    query, gallery = (
        build_dataset(options[split] if both else options, split, **common) for split in SPLITS[1:]
    )
    name = options.get("name", query.name)
    if same_camera == "remove" and not (query.has_cameras and gallery.has_cameras):
        raise InputError(
            f"same_camera='remove' was given, but the cameras of {name} are not known for all of its {len(query)} "
            f"queries and {len(gallery)} gallery images; name the cameras, or set same_camera='auto'"
        )
    known = query.camera_known.any() and gallery.camera_known.any()
    return name, "keep" if same_camera == "keep" or not known else "remove", query, gallery


def _joint_pids(query: ReIDDataset, gallery: ReIDDataset) -> np.ndarray:
    """Identities of query, then gallery, as int64 numbers."""
    if query.pids.dtype != object and gallery.pids.dtype != object:
        return np.concatenate([query.pids, gallery.pids])
    both = [*query.pids, *gallery.pids]
    numbers = {pid: number for number, pid in enumerate(sorted_ids(both))}
    return np.array([numbers[pid] for pid in both], dtype=np.int64)


def _joint_cameras(query: ReIDDataset, gallery: ReIDDataset) -> list[np.ndarray]:
    """Cameras of query and gallery, int64, -1 = unknown; those that have names are numbered anew over both."""
    cameras = [np.where(one.camera_known, one.camids, -1) for one in (query, gallery)]
    if query.camera_names is None or gallery.camera_names is None:
        return cameras
    names = query.camera_names, gallery.camera_names
    joint = sorted_ids(itertools.chain(*names))
    number = {name: place for place, name in enumerate(joint)}
    return [
        np.array([number[own[camera]] if camera >= 0 else -1 for camera in camids], dtype=np.int64)
        for own, camids in zip(names, cameras)
    ]


def _check_protocol(
    name: str, pids: np.ndarray, camids: np.ndarray, num_query: int, rule: str, known: np.ndarray
) -> None:
    """Refuse a test set that cannot be scored, before any training; warn where part of it cannot."""
    query, gallery = pids[:num_query], pids[num_query:]
    if len(np.unique(pids)) == 1:
        raise InputError(
            f"found one identity among {num_query} queries and {len(gallery)} gallery images of {name}, expected at "
            "least two, since every ranking is right otherwise; check the folders or the pattern of the test set"
        )
    matched = queries_with_match(query, camids[:num_query], gallery, camids[num_query:])
    if matched.all():
        return
    shared = len(np.intersect1d(query, gallery))
    counts = f"{num_query} queries, {len(gallery)} gallery images, {shared} shared identities" + (
        f", {len(np.unique(known[known >= 0]))} cameras" if rule == "remove" else ""
    )
    if matched.any():
        print_log(
            f"{name}: {(~matched).sum()} of the queries have no match in the gallery and are not scored ({counts})",
            logger="current",
            level=logging.WARNING,
        )
        return
    if rule == "remove" and len(np.unique(camids)) == 1 and shared:
        raise InputError(
            f"no query of {name} has a match ({counts}): all images share one camera, so the same-camera rule removes "
            "every match; set same_camera='keep', or name the true cameras"
        )
    advice = "; check identities and cameras of the two splits"
    if rule == "remove" and shared:
        advice += ", or set same_camera='keep'"
    raise InputError(
        f"no query of {name} has a match in the gallery ({counts}), expected an image of the same identity"
        f"{' from another camera' if rule == 'remove' else ''}{advice}"
    )
