"""What can be wrong with a copy of a dataset: counts, broken images, leaks, queries that cannot be scored."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config

from mmreid_uda.apis.inputs import known_datasets
from mmreid_uda.checkpoint import find_checkpoint, training_arguments
from mmreid_uda.config import test_sets
from mmreid_uda.datasets import (
    DATASET_CATALOG,
    ReIDDataset,
    ReIDTestDataset,
    build_dataset,
    offered_splits,
    queries_with_match,
    statistics_table,
)
from mmreid_uda.datasets.files import decodable, read_file, real_paths, shown
from mmreid_uda.engine import starting_files
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import SPLITS, Split

__all__ = ["PUBLISHED", "Finding", "check", "missing_weights", "note", "report", "requested"]

Count = int | range
PUBLISHED: dict[str, dict[str, tuple[Count, Count]]] = {
    "market1501": {"train": (751, 12936), "query": (750, 3368), "gallery": (751, 15913)},
    "dukemtmc": {"train": (702, 16522), "query": (702, 2228), "gallery": (1110, 17661)},
    "msmt17": {"train": (1041, 32621), "query": (3060, 11659), "gallery": (3060, 82161)},
    "cuhk03np-detected": {"train": (767, 7365), "query": (700, 1400), "gallery": (700, 5332)},
    "cuhk03np-labeled": {"train": (767, 7368), "query": (700, 1400), "gallery": (700, 5328)},
    "personx": {"train": (410, 9840), "query": (856, 5136), "gallery": (856, 30816)},
    "occluded_duke": {"train": (702, 15618), "query": (519, 2210), "gallery": (1110, 17661)},
    # Releases differ by one identity and a few images.
    "veri776": {
        "train": (range(575, 577), range(37746, 37779)),
        "query": (200, 1678),
        "gallery": (200, 11579),
    },
    "vehicleid": {"train": (13164, 113346), "query": (800, 6493 - 800), "gallery": (800, 800)},
    "vehiclex": {"train": (1362, 192150)},
}
"""Dataset -> split -> (identities, images) that the loaders of the reference repositories print."""

_CAMERAS = {"market1501": 6, "dukemtmc": 8, "msmt17": 15, "personx": 6, "occluded_duke": 8}
_CAMERAS |= {"veri776": 20, "cuhk03np-detected": 2, "cuhk03np-labeled": 2}
# The test people of this set are numbered from 0 again: equal numbers are different people.
_NUMBERED_AGAIN = ("msmt17",)
# Options of a dataset that leave its counts as they are.
_HARMLESS = {"name", "data_root", "pipeline", "cache", "seed", "same_camera"}


class Finding(NamedTuple):
    """One result of the check.

    Args:
        serious: Whether it makes results wrong, or training impossible.
        text: What was found, with numbers.
    """

    serious: bool
    text: str

    def __str__(self) -> str:
        text = self.text.replace("\n", "\\n")  # of a file's name
        return f"{'problem' if self.serious else 'note'}: {text}"


def problem(text: str) -> Finding:
    """What makes results wrong, or training impossible."""
    return Finding(True, text)


def note(text: str) -> Finding:
    """What is good to know."""
    return Finding(False, text)


def missing_weights(cfg: Config) -> list[Finding]:
    """Look for the files that a training starts from.

    Args:
        cfg: The config.

    Returns:
        A finding for each that is not there; a note of runs that a command makes, such as those of a first stage.
    """
    findings = []
    for name in starting_files(cfg):
        try:
            find_checkpoint(name)
        except InputError as error:
            findings.append(Finding(training_arguments(name) is None, str(error)))
    return findings


# ---- what is checked


class Requested(NamedTuple):
    """What to check.

    Args:
        dataset: Name or config of a dataset; or a test set with ``query`` and ``gallery``.
        splits: Those that it has and that the config reads, or that were asked for.
        data_root: Folder of the datasets.
        labels: How its training images are read: ``'unlabeled'``, as a target, or ``'ground_truth'``, as a source.
    """

    dataset: str | Mapping
    splits: tuple[Split, ...]
    data_root: str
    labels: str = "unlabeled"


def requested(
    dataset: str,
    name: str | None = None,
    splits: Sequence[Split] | None = None,
    data_root: str | None = None,
    cfg: Config | None = None,
) -> list[Requested]:
    """Which splits of which sets to check.

    Args:
        dataset: Name of a dataset, path of a folder or CSV file of images, or name or path of a config.
        name: With a config, the dataset of it to look at; None looks at all that it reads.
        splits: Look at these only; None looks at all that are read.
        data_root: Folder, or None for the config's.
        cfg: The config, if it is one.

    Returns:
        A set that is trained on and tested with comes once.
    """
    if cfg is None:
        root = data_root or "data"
        offered = offered_splits(dataset, data_root=root, labels="unlabeled")
        return [Requested(dataset, only(offered, splits), root)]
    root = data_root or cfg.get("data_root")
    if not any(cfg.get(key) for key in ("source", "target", "test")):
        raise InputError(
            f"'{dataset}' names no source, target or test, expected a config of re-ID datasets; name one, or a data "
            f"set: {', '.join(DATASET_CATALOG)}."
        )
    read = read_splits(cfg, root)
    if name is not None:
        one = find_config(cfg, name)
        read = [entry for entry in read if entry[0] == one] or [
            (one, offered_splits(one, data_root=root))
        ]
    rule = (cfg.get("val_dataloader") or {}).get("dataset", {}).get("same_camera", "auto")
    sources = several(cfg.get("source"))
    return [
        Requested(
            with_rule(one, rule),
            only(own, splits),
            root,
            "ground_truth" if one in sources else "unlabeled",
        )
        for one, own in read
    ]


def several(value: Any) -> list[Any]:
    """The datasets of a recipe key that names one, several or none."""
    return [value] if isinstance(value, (str, Mapping)) else list(value or ())


def only(offered: Sequence[Split], splits: Sequence[Split] | None) -> tuple[Split, ...]:
    """Those splits that were asked for, be they offered or not; without a wish those that are offered."""
    return tuple(offered) if splits is None else tuple(one for one in SPLITS if one in splits)


def find_config(cfg: Config, name: str) -> str | Mapping:
    """What a config says about one of its datasets."""
    named = known_datasets(cfg)
    if name not in named:
        raise InputError(f"found no dataset {name!r}, expected one of {', '.join(named)}.")
    return named[name]


def read_splits(cfg: Config, root: str) -> list[tuple[str | Mapping, tuple[Split, ...]]]:
    """The datasets of a config, each with the splits that a run reads."""
    trained = [*several(cfg.get("source")), *several(cfg.get("target"))]
    tested = test_sets(cfg)
    read = []
    for one in trained:
        offered = offered_splits(one, data_root=root)
        read.append((one, offered if one in tested else offered[:1]))
    return read + [(one, SPLITS[1:]) for one in tested if one not in trained]


def with_rule(dataset: str | Mapping, rule: str) -> Mapping:
    """A dataset with the rule for cameras of the whole test, unless it has its own."""
    options = {"name": dataset} if isinstance(dataset, str) else dataset
    return {"same_camera": rule, **options}


# ---- the checks


def check(
    dataset: str | Mapping,
    splits: Sequence[Split],
    data_root: str,
    labels: str = "unlabeled",
    decode: bool = True,
) -> tuple[list[ReIDDataset], list[Finding]]:
    """Check one dataset.

    Args:
        dataset: Name, config, or a test set with ``query`` and ``gallery``.
        splits: Those to look at.
        data_root: Folder of the datasets.
        labels: As in :class:`Requested`.
        decode: Also read each image, which finds broken ones and files that are in train and test.

    Returns:
        The splits that could be read, and what was found.
    """
    findings: list[Finding] = []
    built: dict[str, ReIDDataset] = {}
    for split in splits:
        try:
            built[split] = build_split(dataset, split, data_root, labels)
        except InputError as error:
            findings.append(problem(str(error)))
    findings += [note(f"{one.name}: {text}") for one in built.values() for text in one.notes]
    offered = offered_splits(dataset, data_root=data_root, labels=labels)
    if "train" in built and offered == SPLITS[:1]:
        findings.append(
            note(
                f"{built['train'].name} has no labelled test images: it can be trained on, and nothing is evaluated "
                "unless the config names another set in test",
            )
        )
    findings += compare_counts(dataset, built)
    findings += shared_identities(built)
    if "query" in built and "gallery" in built:
        findings += protocol(dataset, built["query"], built["gallery"])
    if decode:
        findings += contents(built)
    return list(built.values()), findings


def build_split(
    dataset: str | Mapping, split: Split, data_root: str, labels: str = "unlabeled"
) -> ReIDDataset:
    """One split, read as a training would."""
    options: Any = dataset
    if isinstance(dataset, Mapping):
        options = {key: value for key, value in dataset.items() if key != "same_camera"}
        if "query" in options:
            options = options[split]
    more = {"labels": labels} if split == "train" else {}
    return build_dataset(options, split, data_root=data_root, **more)


def compare_counts(dataset: str | Mapping, built: Mapping[str, ReIDDataset]) -> list[Finding]:
    """Compare with the published counts, where the set is one of the catalogue in its usual form."""
    options = {"name": dataset} if isinstance(dataset, str) else dict(dataset)
    name = options.get("name")
    if name not in PUBLISHED or "type" in options or not set(options) <= _HARMLESS:
        return []
    findings = []
    for split, one in built.items():
        expected = PUBLISHED[name][split]
        for what, found, wanted in zip(
            ("identities", "images"), (one.num_pids, len(one)), expected
        ):
            allowed = wanted if isinstance(wanted, range) else (wanted,)
            if found not in allowed:
                text = "–".join(f"{number:,}" for number in sorted({allowed[0], allowed[-1]}))
                findings.append(
                    problem(f"{name} {split} has {found:,} {what}, published are {text}")
                )
    cameras = {camera for one in built.values() for camera in one.camids[one.camera_known].tolist()}
    if name in _CAMERAS and len(cameras) != _CAMERAS[name] and "train" in built:
        findings.append(
            problem(f"{name} shows {len(cameras)} cameras, published are {_CAMERAS[name]}")
        )
    return findings or [note(f"the counts of {name} are the published ones")] * bool(built)


def shared_identities(built: Mapping[str, ReIDDataset]) -> list[Finding]:
    """People and cameras that are in training and test images."""
    if "train" not in built or len(built) == 1:
        return []
    train, tests = built["train"], [one for split, one in built.items() if split != "train"]
    findings = []
    test_ids = set().union(*(one.pids.tolist() for one in tests))
    shared = (set(train.pids.tolist()) & test_ids) - {None}
    if shared and train.name in _NUMBERED_AGAIN:
        findings.append(
            note(f"{train.name} numbers its test people from 0 again; they are other people")
        )
    elif shared:
        findings.append(
            problem(
                f"{len(shared)} of the {len(test_ids)} test identities of {train.name} are also trained on, such as "
                f"{min(shared, key=str)!r}; divide people with ids or split_folders",
            )
        )
    trained, *tested = (set(one.camids[one.camera_known].tolist()) for one in (train, *tests))
    unseen = set().union(*tested) - trained
    if trained and unseen:
        findings.append(note(f"{len(unseen)} cameras of the test images have no training image"))
    return findings


def protocol(dataset: str | Mapping, query: ReIDDataset, gallery: ReIDDataset) -> list[Finding]:
    """Queries without a valid match, and whether any is left to score."""
    rule: Any = dataset.get("same_camera", "auto") if isinstance(dataset, Mapping) else "auto"
    try:
        test = ReIDTestDataset([{"query": query, "gallery": gallery}], same_camera=rule)
    except InputError as error:
        return [problem(str(error))]
    (pids, camids), (others, theirs) = (
        (test.pids[part], test.camids[part]) for part in (test.is_query, test.is_gallery)
    )
    matched = queries_with_match(pids, camids, others, theirs)
    findings = []
    if not matched.all():
        findings.append(
            note(
                f"{(~matched).sum():,} of the {len(matched):,} queries have no match from another camera and are not "
                "scored",
            )
        )
    strangers = ~np.isin(others, pids)
    if strangers.any():
        findings.append(
            note(f"{strangers.sum():,} gallery images are distractors: of nobody queried")
        )
    return findings


class Image(NamedTuple):
    """An image of a split by its file: two of one content are copies.

    Args:
        file: Real path.
        path: As the split names it.
        split: Which one.
        pid: Identity, None = unknown.
        camera: None = unknown.
    """

    file: str
    path: str
    split: str
    pid: Any
    camera: Any


def contents(built: Mapping[str, ReIDDataset]) -> list[Finding]:
    """Read each file once: those that cannot be decoded, and those of one content, within a split or over two."""
    images = [image for split, one in built.items() for image in images_of(split, one)]
    paths = dict(reversed([(one.file, one.path) for one in images]))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests = dict(zip(paths, pool.map(_read, paths)))
    findings = []
    broken = [paths[file] for file, digest in digests.items() if digest is None]
    name = next((one.name for one in built.values()), "")
    if broken:
        findings.append(
            problem(
                f"{len(broken)} of the {len(paths):,} images of {name} cannot be decoded, such as {shown(broken[0])}; "
                "restore them or set corrupt='skip'",
            )
        )
    groups: defaultdict[bytes, list[Image]] = defaultdict(list)
    for image in images:
        digest = digests[image.file]
        if digest is not None:
            groups[digest].append(image)
    return findings + copies([group for group in groups.values() if len(group) > 1], name)


def images_of(split: str, dataset: ReIDDataset) -> Iterator[Image]:
    """The images of a split."""
    files, paths = real_paths(dataset.paths), dataset.paths
    cameras = [
        camera if known else None for camera, known in zip(dataset.camids, dataset.camera_known)
    ]
    for file, path, pid, camera in zip(files, paths, dataset.pids.tolist(), cameras):
        yield Image(file, path, split, pid, camera)


def copies(groups: Sequence[Sequence[Image]], name: str) -> list[Finding]:
    """What is wrong with images of one content.

    Args:
        groups: Images of one content each, of one file or several.
        name: Of the dataset.
    """
    leaks, two_people, matches, plain = [], [], [], []
    for group in groups:
        train = [one for one in group if one.split == "train"]
        tests = [one for one in group if one.split != "train"]
        if train and tests:
            leaks.append((train[0], tests[0]))
        # One file in several splits is no copy; of each file its first image.
        files = [
            list({one.file: one for one in reversed(part)}.values()) for part in (train, tests)
        ]
        pairs = [pair for part in files for pair in itertools.combinations(part[::-1], 2)]
        if any(None not in (a.pid, b.pid) and a.pid != b.pid for a, b in pairs):
            two_people.append(next((a, b) for a, b in pairs if a.pid != b.pid))
        elif found := next((pair for pair in pairs if _is_match(*pair)), None):
            matches.append(found)
        elif pairs:
            plain.append(pairs[0])
    return [
        Finding(serious, f"{len(pairs):,} {text}, such as {shown(a.path)} and {shown(b.path)}")
        for serious, pairs, text in (
            (True, leaks, f"pictures of {name} are in training and in test images"),
            (True, two_people, f"pictures of {name} are there as two people"),
            (True, matches, f"queries of {name} have a copy of themselves as a match"),
            (False, plain, f"pictures of {name} are there in several files"),
        )
        if pairs
        for a, b in pairs[:1]
    ]


def _is_match(one: Image, other: Image) -> bool:
    """Tell whether the evaluation takes two files for a query and its match."""
    same_camera = one.camera is not None and one.camera == other.camera
    return {one.split, other.split} == {"query", "gallery"} and not same_camera


def _read(path: str) -> bytes | None:
    """Hash of an image file, None if it cannot be decoded."""
    return hashlib.sha256(read_file(path)).digest() if decodable(path) else None


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, also if several splits of one dataset give it."""
    return list(
        {re.sub(r"split '\w+'", "", str(one)): one for one in reversed([*findings])}.values()
    )[::-1]


def report(datasets: Iterable[ReIDDataset], findings: Sequence[Finding]) -> str:
    """The table of what was read, and a line for each finding."""
    findings = distinct(findings)
    problems = sum(one.serious for one in findings)
    lines = [statistics_table(datasets), *map(str, findings)]
    lines.append(f"{problems} problem{'' if problems == 1 else 's'} found")
    return "\n".join(lines)
