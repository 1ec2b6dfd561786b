"""Check a copy of a data set before training on it: counts, broken images, leaks, and whether it can be evaluated.

Exit status 0 means no problem, 1 that problems were found and listed.

Examples:
    python tools/data/check_dataset.py market1501 --data-root data
    python tools/data/check_dataset.py configs/mmt/mmt-k500_r50_duke2market.py --no-decode
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import MMLogger

from mmreid_uda.apis import ToolParser, add_config_options, load_config, run_tool
from mmreid_uda.datasets import (
    DATASET_CATALOG,
    ReIDDataset,
    ReIDTestDataset,
    build_dataset,
    dataset_config,
    queries_with_match,
    statistics_table,
)
from mmreid_uda.datasets.base_reid import SPLITS
from mmreid_uda.datasets.files import decodable
from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError

__all__ = ["PUBLISHED", "Finding", "check"]

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
"""Data set -> split -> (identities, images) that the loaders of the reference repositories print."""

_CAMERAS = {"market1501": 6, "dukemtmc": 8, "msmt17": 15, "personx": 6, "occluded_duke": 8}
_CAMERAS |= {"veri776": 20, "cuhk03np-detected": 2, "cuhk03np-labeled": 2}
# The test people of this set are numbered from 0 again: equal numbers are different people.
_NUMBERED_AGAIN = ("msmt17",)
# Options of a data set that leave its counts as they are.
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
        return f"{'problem' if self.serious else 'note'}: {self.text}"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Check a data set, or those of a config.")
    parser.add_argument("dataset", help="name of a data set, or a config file")
    parser.add_argument("--data-root", help="folder of the data sets (default: the config's, data)")
    parser.add_argument(
        "--no-decode", action="store_true", help="look at names only, do not read the images"
    )
    add_config_options(parser)
    return parser.parse_args()


# ---- what is checked


def requested(
    dataset: str, data_root: str | None, options: Mapping[str, Any] | None
) -> list[tuple[str | Mapping, tuple[str, ...], str]]:
    """Which splits of which sets to check.

    Args:
        dataset: Name of a data set, or path of a config file.
        data_root: Folder, or None for the config's.
        options: Dotted keys merged into the config.

    Returns:
        (name or config of a data set, splits, folder); a set that is trained on and tested with comes once.
    """
    if not dataset.endswith(".py"):
        if options:
            raise InputError(
                f"found --cfg-options for the data set {dataset!r}, expected them with a config file only; leave them "
                "out."
            )
        return [(dataset, offered_splits(dataset), data_root or "data")]
    cfg = load_config(dataset, dict(options) if options else None)
    if not any(cfg.get(key) for key in ("source", "target", "test")):
        raise InputError(
            f"'{dataset}' names no source, target or test, expected a config of re-ID data sets; name one, or a data "
            f"set: {', '.join(DATASET_CATALOG)}."
        )
    root = data_root or cfg.data_root
    sources = cfg.get("source") or []
    trained = [*([sources] if isinstance(sources, (str, Mapping)) else sources), cfg.get("target")]
    tested = cfg.get("test") or [cfg.get("target")]
    tested = [tested] if isinstance(tested, (str, Mapping)) else tested
    wanted: list[tuple[str | Mapping, tuple[str, ...], str]] = []
    for one in trained:
        if one is not None:
            splits = SPLITS if one in tested else SPLITS[:1]
            wanted.append((one, splits, root))
    wanted += [(one, SPLITS[1:], root) for one in tested if one is not None and one not in trained]
    rule = cfg.val_dataloader.dataset.get("same_camera", "auto")
    return [(with_rule(one, rule), splits, folder) for one, splits, folder in wanted]


def with_rule(dataset: str | Mapping, rule: str) -> Mapping:
    """A data set with the rule for cameras of the whole test, unless it has its own."""
    options = {"name": dataset} if isinstance(dataset, str) else dataset
    return {"same_camera": rule, **options}


def offered_splits(dataset: str) -> tuple[str, ...]:
    """Splits that a set of the catalogue has: a source-only set is without test images."""
    kind = DATASETS.get(dataset_config(dataset, "train")["type"])
    folders = getattr(kind, "split_folders", None)
    return tuple(folders) if isinstance(folders, Mapping) else SPLITS


# ---- the checks


def check(
    dataset: str | Mapping, splits: Sequence[str], data_root: str, decode: bool = True
) -> tuple[list[ReIDDataset], list[Finding]]:
    """Check one data set.

    Args:
        dataset: Name, config, or a test set with ``query`` and ``gallery``.
        splits: Those to look at.
        data_root: Folder of the data sets.
        decode: Also read each image, which finds broken ones and files that are in train and test.

    Returns:
        The splits that could be read, and what was found.
    """
    findings: list[Finding] = []
    built: dict[str, ReIDDataset] = {}
    for split in splits:
        try:
            built[split] = build_split(dataset, split, data_root)
        except InputError as error:
            findings.append(Finding(True, str(error)))
    findings += compare_counts(dataset, built)
    findings += shared_identities(built)
    if "query" in built and "gallery" in built:
        findings += protocol(dataset, built["query"], built["gallery"])
    if decode:
        findings += contents(built)
    return list(built.values()), findings


def build_split(dataset: str | Mapping, split: str, data_root: str) -> ReIDDataset:
    """One split; training images may be without identities."""
    options: Any = dataset
    if isinstance(dataset, Mapping):
        options = {key: value for key, value in dataset.items() if key != "same_camera"}
        if "query" in options:
            options = options[split]
    labels = {"labels": "hidden"} if split == "train" else {}
    return build_dataset(options, split, data_root=data_root, **labels)


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
                    Finding(True, f"{name} {split} has {found:,} {what}, published are {text}")
                )
    cameras = np.unique(np.concatenate([one.camids for one in built.values()])) if built else ()
    if name in _CAMERAS and len(cameras) != _CAMERAS[name] and "train" in built:
        findings.append(
            Finding(True, f"{name} shows {len(cameras)} cameras, published are {_CAMERAS[name]}")
        )
    return findings or [Finding(False, f"the counts of {name} are the published ones")] * bool(
        built
    )


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
            Finding(
                False, f"{train.name} numbers its test people from 0 again; they are other people"
            )
        )
    elif shared:
        findings.append(
            Finding(
                True,
                f"{len(shared)} of the {len(test_ids)} test identities of {train.name} are also trained on, such as "
                f"{min(shared, key=str)!r}; divide people with ids or split_folders",
            )
        )
    if train.has_cameras and all(one.has_cameras for one in tests):
        unseen = set().union(*(one.camids.tolist() for one in tests)) - set(train.camids.tolist())
        if unseen:
            findings.append(
                Finding(False, f"{len(unseen)} cameras of the test images have no training image")
            )
    return findings


def protocol(dataset: str | Mapping, query: ReIDDataset, gallery: ReIDDataset) -> list[Finding]:
    """Queries without a valid match, and whether any is left to score."""
    rule = dataset.get("same_camera", "auto") if isinstance(dataset, Mapping) else "auto"
    try:
        test = ReIDTestDataset([{"query": query, "gallery": gallery}], same_camera=rule)
    except InputError as error:
        return [Finding(True, str(error))]
    (pids, camids), (others, theirs) = (
        (test.pids[part], test.camids[part]) for part in (test.is_query, test.is_gallery)
    )
    matched = queries_with_match(pids, camids, others, theirs)
    findings = []
    if not matched.all():
        findings.append(
            Finding(
                False,
                f"{(~matched).sum():,} of the {len(matched):,} queries have no match from another camera and are not "
                "scored",
            )
        )
    strangers = ~np.isin(others, pids)
    if strangers.any():
        findings.append(
            Finding(False, f"{strangers.sum():,} gallery images are distractors: of nobody queried")
        )
    return findings


def contents(built: Mapping[str, ReIDDataset]) -> list[Finding]:
    """Read each image once: those that cannot be decoded, and files that are in train and test."""
    findings = []
    digests: dict[str, dict[bytes, str]] = {}
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for split, one in built.items():
            results = list(pool.map(_read, one.paths))
            broken = [path for path, digest in zip(one.paths, results) if digest is None]
            if broken:
                findings.append(
                    Finding(
                        True,
                        f"{len(broken)} of the {len(one):,} images of {one.name} {split} cannot be decoded, such as "
                        f"'{broken[0]}'; restore them or set corrupt='skip'",
                    )
                )
            digests[split] = {
                digest: path for path, digest in zip(one.paths, results) if digest is not None
            }
    for split in set(digests) - {"train"}:
        same = digests.get("train", {}).keys() & digests[split].keys()
        if same:
            pair = min((digests["train"][one], digests[split][one]) for one in same)
            findings.append(
                Finding(
                    True,
                    f"{len(same)} files of train and {split} have the same content, such as '{pair[0]}' and "
                    f"'{pair[1]}'",
                )
            )
    return findings


def _read(path: str) -> bytes | None:
    """Hash of an image file, None if it cannot be decoded."""
    return hashlib.sha256(Path(path).read_bytes()).digest() if decodable(path) else None


def report(datasets: Iterable[ReIDDataset], findings: Sequence[Finding]) -> str:
    """The table of what was read, and a line for each finding."""
    problems = sum(one.serious for one in findings)
    lines = [statistics_table(datasets), *map(str, dict.fromkeys(findings))]
    lines.append(f"{problems} problem{'' if problems == 1 else 's'} found")
    return "\n".join(lines)


def main() -> None:
    """Check and report."""
    args = parse_args()
    # The table below has what data sets log about themselves.
    MMLogger.get_instance("check_dataset", log_level="WARNING")
    datasets: list[ReIDDataset] = []
    findings: list[Finding] = []
    for dataset, splits, root in requested(args.dataset, args.data_root, args.cfg_options):
        built, found = check(dataset, splits, root, decode=not args.no_decode)
        datasets += built
        findings += found
    print(report(datasets, findings))
    if any(one.serious for one in findings):
        sys.exit(1)


if __name__ == "__main__":
    run_tool(main)
