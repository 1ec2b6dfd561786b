"""What is given to a model: files, folders, arrays, or datasets by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmreid_uda.config import test_sets
from mmreid_uda.datasets import DATASET_CATALOG, ReIDDataset, build_dataset
from mmreid_uda.datasets.files import (
    IMAGE_EXTENSIONS,
    decodable_files,
    file_numbers,
    folder_name,
    is_file,
    is_folder,
    walk_images,
)
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split

__all__ = [
    "ImageInput",
    "NamedImages",
    "find_dataset",
    "image_names",
    "known_datasets",
    "list_inputs",
    "name_images",
]

ImageInput = str | Path | np.ndarray
"""An image file, a folder of images, or pixels: uint8 (H, W, 3) in BGR order, as OpenCV reads them."""


@dataclass(frozen=True)
class NamedImages:
    """Image files, and what a dataset knows about them.

    Args:
        paths: Files.
        labels: Of a dataset: ``pid`` (N,), integers with -1 = unknown or texts with '' = unknown, ``camid`` int64
            (N,) with -1 = unknown, ``camera`` (N,), its name with '' = unknown, ``has_cameras`` (), and where it knows
            any, ``time`` float64 (N,) in seconds with NaN = unknown, ``tracklet`` int64 (N,) with -1 = none.
            Else nothing.
    """

    paths: list[str]
    labels: dict[str, np.ndarray] = field(default_factory=dict)


def list_inputs(
    inputs: ImageInput | Sequence[ImageInput], skipped: list[str] | None = None
) -> list[str | np.ndarray]:
    """Spread folders and lists over single images.

    Args:
        inputs: An image (a file or an array), a folder, or a list of these; folders are searched with all their
            sub-folders, in the order of the names, and give a file that several links lead to once.
        skipped: Takes the names of files that cannot be decoded, which are then left out; None lists them, and they
            are refused when they are read.

    Returns:
        Paths and arrays, at least one.

    Raises:
        InputError: A path does not exist, a folder holds no image, the list is empty, an array is not uint8
            (H, W, 3), or it is something else.
    """
    several: Iterable[Any] = [inputs]
    if isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes, np.ndarray, Mapping)):
        several = inputs
    images = [image for one in several for image in _spread(one)]
    if not images:
        raise InputError(
            "found an empty list of images, expected at least one file, folder or array."
        )
    return images if skipped is None else [images[one] for one in _readable(images, skipped)]


def image_names(images: Sequence[str | np.ndarray]) -> list[str]:
    """Names of images that may have none.

    Args:
        images: Paths, or pixels.

    Returns:
        Paths as they are; ``<array n>`` for the n-th entry, 0-based, if it is pixels.
    """
    return [
        image if isinstance(image, str) else f"<array {number}>"
        for number, image in enumerate(images)
    ]


def name_images(
    cfg: Config, names: Sequence[str], split: Split | None = None, skipped: list[str] | None = None
) -> NamedImages:
    """Files of a command line: its words are files, folders, or names of datasets.

    Args:
        cfg: A config of :func:`load_config`.
        names: The words, at least one.
        split: Split of datasets; None takes a word that is a file or folder for that, and the gallery of datasets.
        skipped: As in :func:`list_inputs`.

    Returns:
        The files in the order of the words; with labels if they are those of one dataset.

    Raises:
        InputError: As :func:`list_inputs` and :func:`find_dataset`.
    """
    paths: list[str] = []
    dataset: ReIDDataset | None = None
    for name in names:
        there = is_file(name) or is_folder(name)
        if split is None and there:
            paths += map(str, list_inputs(name))
        elif there and name not in known_datasets(cfg):
            raise InputError(
                f"found --split {split} for the files in {name!r}, expected it with datasets only; leave it out."
            )
        else:
            dataset = find_dataset(cfg, name, split or "gallery")
            paths += dataset.paths
    kept = list(range(len(paths))) if skipped is None else _readable(paths, skipped)
    labels = _labels(dataset, kept) if dataset is not None and len(names) == 1 else {}
    return NamedImages([paths[one] for one in kept], labels)


def find_dataset(cfg: Config, name: str, split: Split) -> ReIDDataset:
    """Build a split of a dataset by its name.

    Args:
        cfg: A config of :func:`load_config`.
        name: ``'target'``, ``'source'`` or ``'test'`` for the (first) one of the config; the name of one of these, with
            all that the config says about it; or a name of the catalogue.
        split: ``'train'``, ``'query'`` or ``'gallery'``.

    Returns:
        The dataset without a pipeline; identities of training images need not be known.

    Raises:
        InputError: There is none of this name, or it cannot be read.
    """
    known = known_datasets(cfg)
    if name not in known:
        raise InputError(
            f"found neither a file or folder {name!r} nor a dataset of this name, expected a path or one of "
            f"{', '.join(known)}."
        )
    dataset = known[name]
    if isinstance(dataset, Mapping):
        # Of a test set: the rule of its evaluation, and one that is put together from two.
        dataset = {key: value for key, value in dataset.items() if key != "same_camera"}
        dataset = dataset[split] if split in dataset and "type" not in dataset else dataset
    labels = {"labels": "unlabeled"} if split == "train" else {}
    return build_dataset(dataset, split, data_root=cfg.data_root, **labels)


def known_datasets(cfg: Config) -> dict[str, Any]:
    """Datasets by their names.

    Args:
        cfg: A config of :func:`load_config`.

    Returns:
        Name -> name or config of a dataset: those of the config, which win, and of the catalogue.
    """
    return {name: name for name in DATASET_CATALOG} | dict(_named_datasets(cfg))


def _named_datasets(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Names of the config's datasets, and their configs; of equal names the last, the target, counts."""
    for key in ("test", "source", "target"):
        value = test_sets(cfg) if key == "test" else cfg.get(key)
        several = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        for number, one in enumerate(several):
            own = one if isinstance(one, str) else _own_name(one)
            for name in (own, key) if number == 0 else (own,):
                if name:
                    yield name, one


def _own_name(dataset: Mapping[str, Any]) -> str:
    """What logs call a dataset that is given as a config, as far as that can be told without reading it."""
    if dataset.get("name"):
        return str(dataset["name"])
    if "query" in dataset:
        return dataset["query"] if isinstance(dataset["query"], str) else ""
    if dataset.get("ann_file"):
        return Path(str(dataset["ann_file"])).stem
    return folder_name(str(dataset.get("data_root", "")))


def _labels(dataset: ReIDDataset, kept: list[int]) -> dict[str, np.ndarray]:
    """What a file of features says about the images of a dataset."""
    pids = [dataset.pids[one] for one in kept]
    if all(pid is None or isinstance(pid, (int, np.integer)) for pid in pids):
        numbers = np.array([-1 if pid is None else int(pid) for pid in pids], dtype=np.int64)
    else:
        # Texts stay texts: the numbers of one split alone are other people's in another.
        numbers = np.array(["" if pid is None else str(pid) for pid in pids])
    evidence = dataset.evidence
    return {
        "pid": numbers,
        "camid": evidence.cameras[kept],
        "camera": evidence.named_cameras[kept],
        "has_cameras": np.array(dataset.has_cameras),
        **({"time": evidence.times[kept]} if evidence.has_times else {}),
        **({"tracklet": evidence.tracklets[kept]} if evidence.has_tracklets else {}),
    }


def _readable(images: Sequence[str | np.ndarray], skipped: list[str]) -> list[int]:
    """Positions of arrays and of files that can be decoded; ``skipped`` takes the other files.

    Raises:
        InputError: There is none.
    """
    files = [image for image in images if isinstance(image, str)]
    broken = {file for file, ok in zip(files, decodable_files(files)) if not ok}
    fine = [not isinstance(image, str) or image not in broken for image in images]
    skipped += [file for file in files if file in broken]
    if not any(fine):
        raise InputError(
            f"found 0 images that can be decoded among {len(images)}, expected at least one; restore the files, the "
            f"first is {str(images[0])!r}."
        )
    return [number for number, ok in enumerate(fine) if ok]


def _spread(one: Any) -> list[str | np.ndarray]:
    """The images that one input stands for."""
    if isinstance(one, np.ndarray):
        if one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3 or not one.size:
            raise InputError(
                f"found an array of {one.dtype} and shape {one.shape}, expected an image as OpenCV reads it: uint8 "
                "(H, W, 3) in BGR order; give several as a list."
            )
        return [one]
    if not isinstance(one, (str, Path)):
        raise InputError(
            f"found a {type(one).__name__} among the images, expected a file, a folder, an array (uint8, (H, W, 3), "
            "BGR), a list of these, or a dataset."
        )
    if is_folder(str(one)):
        names = walk_images(str(one), IMAGE_EXTENSIONS)
        if not names:
            raise InputError(
                f"found 0 images ({', '.join(IMAGE_EXTENSIONS)}) in the folder {str(one)!r} and below it, expected at "
                "least one."
            )
        paths = [str(Path(one, name)) for name in names]
        # An image is its file: of links and their targets the first name.
        return [paths[place] for place in np.unique(file_numbers(paths), return_index=True)[1]]
    if not is_file(str(one)):
        raise InputError(f"the image {str(one)!r} does not exist; correct the path.")
    return [str(one)]
