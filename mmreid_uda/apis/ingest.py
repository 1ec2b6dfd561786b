"""Images into a gallery: each once, by what it holds; again and again, as a folder fills."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmreid_uda.datasets import ReIDDataset, build_dataset
from mmreid_uda.datasets.files import decodable_files, file_state, is_file, is_folder, read_file
from mmreid_uda.gallery import Filter, Gallery, Items, Sightings, content_id
from mmreid_uda.gallery.items import is_text
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split
from mmreid_uda.utils.values import Count, checked

from .inputs import find_dataset, known_datasets, list_inputs

__all__ = ["Found", "Ingest", "Report", "find_images", "watch"]

_TABLE = "crops.csv"
"""What tools/data/import_tracks.py leaves in a folder of crops."""


@dataclass(frozen=True)
class Found:
    """Image files, and what is known of each.

    Args:
        paths: N files.
        cameras: str (N,), '' = unknown.
        times: float64 (N,) in seconds on one clock, NaN = unknown.
        tracklets: str (N,), '' = unknown; names that are unique over all cameras.
        identities: str (N,), '' = unknown.
    """

    paths: list[str]
    cameras: np.ndarray
    times: np.ndarray
    tracklets: np.ndarray
    identities: np.ndarray

    @classmethod
    def of_files(cls, paths: Sequence[str]) -> Found:
        """Files of which nothing is known.

        Args:
            paths: The files.

        Returns:
            Them, with nothing but unknown.
        """
        unknown = np.full(len(paths), "")
        return cls(list(paths), unknown, np.full(len(paths), np.nan), unknown, unknown)

    @classmethod
    def of_dataset(cls, dataset: ReIDDataset) -> Found:
        """Images of a dataset.

        Args:
            dataset: Any split of it.

        Returns:
            Its images, with the names that it gives cameras, tracklets and identities.
        """
        evidence = dataset.evidence
        identities = np.array(["" if pid is None else str(pid) for pid in dataset.pids])
        return cls(
            list(dataset.paths),
            evidence.named_cameras,
            evidence.times,
            evidence.named_tracklets,
            identities,
        )

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """Several of them, one behind the other.

        Args:
            parts: At least one.

        Returns:
            All of their images.
        """
        return cls(
            [path for part in parts for path in part.paths],
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("cameras", "times", "tracklets", "identities")
            ),
        )

    def told(self, camera: str | None, identity: str | None) -> Found:
        """The same, where somebody says what nothing else tells.

        Args:
            camera: Of images of unknown camera; None leaves it unknown.
            identity: Of images of unknown identity; likewise.

        Returns:
            The images.
        """
        return replace(
            self,
            cameras=np.where(self.cameras == "", camera or "", self.cameras),
            identities=np.where(self.identities == "", identity or "", self.identities),
        )

    @property
    def sightings(self) -> Sightings | None:
        """Cameras and times; None where no camera is known."""
        return Sightings(self.cameras, self.times) if (self.cameras != "").any() else None

    def chosen(self, places: Sequence[int]) -> Found:
        """Some of the images.

        Args:
            places: Their positions.

        Returns:
            These images.
        """
        at = np.array(places, dtype=np.int64)
        return Found(
            [self.paths[place] for place in places],
            self.cameras[at],
            self.times[at],
            self.tracklets[at],
            self.identities[at],
        )

    def __len__(self) -> int:
        return len(self.paths)


def find_images(
    words: Sequence[str], cfg: Config | None = None, split: Split | None = None, **options: Any
) -> Found:
    """Read what a folder, a table of crops, or a dataset tells of its images.

    Args:
        words: Folders, CSV files (a folder of ``tools/data/import_tracks.py`` is read by the table in it), image files,
            or names of datasets.
        cfg: A config of :func:`~mmreid_uda.config.load_config`, whose datasets are known by name; None knows those of
            the catalogue.
        split: Split of datasets; None takes their training images.
        **options: Of :class:`~mmreid_uda.datasets.FolderReIDDataset` or
            :class:`~mmreid_uda.datasets.CSVReIDDataset`, such as ``folders`` or ``frame_rate``.

    Returns:
        The images in the order of the words.

    Raises:
        InputError: Nothing is there, or it cannot be read as said.
    """
    return Found.joined([_found(word, cfg or Config({}), split, options) for word in words])


def _found(word: str, cfg: Config, split: Split | None, options: dict[str, Any]) -> Found:
    """Images of one word."""
    table = Path(word, _TABLE)
    if table.is_file() and not {"folders", "pattern"} & set(options):
        word = str(table)
    if is_folder(word) or word.lower().endswith(".csv"):
        spec = dict(_entry(word), **options)
        return Found.of_dataset(build_dataset(spec, "train", labels="unlabeled"))
    if is_file(word):
        return Found.of_files([str(one) for one in list_inputs(word)])
    if cfg.get("data_root") is None:
        cfg = Config({"data_root": "data", **cfg})
    if word not in known_datasets(cfg):
        raise InputError(
            f"found neither a file, a folder nor a dataset {word!r}, expected images: correct the path."
        )
    return Found.of_dataset(find_dataset(cfg, word, split or "train"))


def _entry(path: str) -> dict[str, Any]:
    folder, file = os.path.split(path)
    if path.lower().endswith(".csv"):
        return dict(type="CSVReIDDataset", data_root=folder or ".", ann_file=file)
    return dict(type="FolderReIDDataset", data_root=path)


@dataclass
class Report:
    """What has become of images that were to be added.

    Args:
        added: Number of new items.
        changed: Items that were there, and of which something else is known now.
        present: Items that were there and stay as they are; files of one content are one item.
        skipped: Files that cannot be read, as images, or whose names are no text.
    """

    added: int = 0
    changed: int = 0
    present: int = 0
    skipped: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.skipped)

    def __str__(self) -> str:
        parts = [f"{self.added} added"]
        parts += [f"{self.changed} changed"] if self.changed else []
        parts += [f"{self.present} there already"] if self.present else []
        parts += [f"{len(self.skipped)} skipped, cannot be read"] if self.skipped else []
        return ", ".join(parts)


@checked
class Ingest:
    """Adds images to a gallery, each once: an item is named after what its file holds.

    So a call that was cut off goes on where it was when it is made again, and a file that was renamed is no new item.
    Images are read, put through the model and written a batch at a time; what was written stays.

    Args:
        gallery: Where they go.
        extract: Files -> features, float32 (n, D), such as :meth:`~mmreid_uda.apis.ReIDInferencer.extract` of the
            gallery's model.
        batch_size: Images that are written together. Defaults to 256.
    """

    def __init__(
        self,
        gallery: Gallery,
        extract: Callable[[list[str]], np.ndarray],
        batch_size: Count = 256,
    ) -> None:
        self.gallery, self.extract, self.batch_size = gallery, extract, batch_size

    def __call__(self, found: Found, update: Callable[[int], None] = lambda done: None) -> Report:
        """Add images.

        Args:
            found: The images.
            update: Is told how many have been dealt with.

        Returns:
            What has become of them.
        """
        report = Report()
        for start in range(0, len(found), self.batch_size):
            stop = min(start + self.batch_size, len(found))
            self._add(found.chosen(range(start, stop)), report)
            update(stop)
        return report

    def _add(self, found: Found, report: Report) -> None:
        """Add one batch."""
        places: dict[str, int] = {}
        for place, path in enumerate(found.paths):
            try:
                name = content_id(read_file(path)) if is_text(os.path.abspath(path)) else None
            except OSError:
                name = None
            if name is None:
                report.skipped.append(path)
            else:
                report.present += places.setdefault(name, place) != place
        self._change(found, places, report)
        readable = decodable_files([found.paths[place] for place in places.values()])
        for name, fine in zip(list(places), readable):
            if not fine:
                report.skipped.append(found.paths[places.pop(name)])
        if places:
            new = found.chosen(list(places.values()))
            self.gallery.add(
                Items.of(
                    self.extract(new.paths),
                    [os.path.abspath(path) for path in new.paths],
                    ids=list(places),
                    cameras=new.cameras,
                    times=new.times,
                    tracklets=new.tracklets,
                    identities=new.identities,
                )
            )
            report.added += len(places)

    def _change(self, found: Found, places: dict[str, int], report: Report) -> None:
        """Take items that are there out of ``places``, and write what is newly known of them."""
        there = Filter(ids=tuple(places))
        for items in self.gallery.scan(there, features=False):
            now = found.chosen([places.pop(name) for name in items.ids])
            merged = _merged(items, now)
            changed = [place for place, same in enumerate(_alike(items, merged)) if not same]
            if changed:
                stored = self.gallery.get([items.ids[place] for place in changed], features=True)
                self.gallery.upsert(merged.take(changed).with_features(stored.features))
            report.changed += len(changed)
            report.present += len(items) - len(changed)


def _merged(items: Items, now: Found) -> Items:
    """Items as they are known now: what is unknown now stays what it was; a copy of a file tells only what was unknown.

    So files of one content take no turns, however often they are added.
    """
    paths = [os.path.abspath(path) for path in now.paths]
    copies = np.array([old != new and is_file(old) for old, new in zip(items.paths, paths)], bool)

    def told(name: str) -> np.ndarray:
        before, after = getattr(items, name), getattr(now, name)
        unknown = np.isnan if name == "times" else (lambda column: column == "")
        return np.where(unknown(after) | (copies & ~unknown(before)), before, after)

    columns = ("cameras", "times", "tracklets", "identities")
    kept = [old if copy else new for old, new, copy in zip(items.paths, paths, copies)]
    return items.with_columns(paths=kept, **{name: told(name) for name in columns})


def _alike(before: Items, after: Items) -> np.ndarray:
    """Bool (N,), whether the same is known of an item."""
    same = np.array([one == other for one, other in zip(before.paths, after.paths)], bool)
    for name in ("cameras", "tracklets", "identities"):
        same &= getattr(before, name) == getattr(after, name)
    return same & ((before.times == after.times) | np.isnan(after.times))


def watch(
    look: Callable[[], Found], ingest: Ingest, seconds: float, say: Callable[[str], None] = print
) -> Iterator[Report]:
    """Add what comes new, again and again: a file when it has not changed between two looks.

    So one that is being written is left alone until it is whole. What cannot be read is tried again once it has
    changed.

    Args:
        look: Gives all images that there are, as :func:`find_images`; its errors are told, each once in a row, and do
            not end the watch.
        ingest: Adds them.
        seconds: Between two looks.
        say: Takes the sentence of such an error.

    Yields:
        What has become of the images of each look, before the wait.
    """
    before: dict[str, tuple[int, int]] = {}
    done: dict[str, tuple[int, int]] = {}
    told = ""
    while True:
        report = Report()
        try:
            found, told = look(), ""
        except InputError as error:
            if str(error) != told:
                say(told := str(error))
        else:
            states = [_state(path) for path in found.paths]
            ready = [
                place
                for place, (path, state) in enumerate(zip(found.paths, states))
                if state is not None and state == before.get(path) and state != done.get(path)
            ]
            before = {path: one for path, one in zip(found.paths, states) if one is not None}
            if ready:
                report = ingest(found.chosen(ready))
                done |= {found.paths[place]: before[found.paths[place]] for place in ready}
        yield report
        time.sleep(seconds)


def _state(path: str) -> tuple[int, int] | None:
    """Size and time of change of a file; None where there is none."""
    try:
        return file_state(path)
    except OSError:
        return None
