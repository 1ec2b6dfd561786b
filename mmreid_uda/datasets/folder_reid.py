"""Your own images in folders: what names of folders, and file names that a pattern reads, tell of them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split

from .files import (
    IMAGE_EXTENSIONS,
    checked_extensions,
    folder_name,
    is_folder,
    listing,
    shown,
    subfolders,
    walk_images,
)
from .ids import select_ids
from .own_images import TOLD, OwnImages

__all__ = ["FolderReIDDataset"]


FolderKind = Literal["none", "identity", "camera", "tracklet"]
"""What a folder is named after."""

# The record's key, and group of a pattern, of each.
_KEY = {"identity": "pid", "camera": "camid", "tracklet": "tracklet"}


@DATASETS.register_module()
class FolderReIDDataset(OwnImages):
    r"""Images below one folder, of which folders and file names tell identity, camera, time and tracklet.

    What the ``pattern`` does not read, ``folders`` may tell: ``<data_root>/<identity>/*.jpg`` for tests,
    ``<data_root>/<camera>/<tracklet>/*.jpg`` of a tracker. Where neither tells identities, the images are one pile for
    ``labels='unlabeled'``. Where ``query`` and ``gallery`` are the same images (no ``split_folders``), evaluation is
    leave-one-out: the same-camera rule keeps an image from finding itself.

    Args:
        data_root: The folder.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        pattern: Regular expression with some of the groups ``pid``, ``camid``, ``time`` and ``tracklet``, searched in
            the path relative to ``data_root`` (with ``/``), e.g. ``r'(?P<pid>\\d+)_c(?P<camid>\\d+)'``. A group that
            did not match, or found a text such as ``none`` or ``-1``, is unknown, see :mod:`.unknown`.
        folders: What sub-folders are named after: ``'identity'``, ``'camera'``, ``'tracklet'`` (of one camera) or
            ``'none'``; one of these for the first level, or a list with one for each, such as
            ``('camera', 'tracklet')``. Defaults to None: ``'identity'`` where identities are needed (tests, labelled
            sources, ``ids``, ``noise``) and the pattern does not read them, else ``'none'``, so that nobody's cameras
            become identities. The table at the start of a run says it.
        split_folders: Sub-folder of each split, e.g. ``dict(train='train', query='probe', gallery='gallery')``;
            ``folders`` are those below. Defaults to None: all splits read all images.
        extensions: Endings that count as images, in any case, with the dot or without.
        name: Defaults to the folder's name.
        ids: Keep only these identities: a list of them, or ``dict(start=, stop=, step=)``, a slice of the sorted
            ones, to split training from test people.
        frame_rate: Frames per second where the group ``time`` reads numbers of frames, of all cameras or by name of
            camera, such as ``{'1': 25, '2': 12.5}``. Defaults to None: numbers are seconds, other texts dates.
        clock_offsets: Seconds that are added to the times of a camera, by its name, so that all have one clock.
        **kwargs: See :class:`ReIDDataset`.

    Example:
        >>> train = dict(type='FolderReIDDataset', data_root='cows', folders='camera')
        >>> test = dict(type='FolderReIDDataset', data_root='known_cows', ids=dict(start=50))
    """

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        pattern: str | None = None,
        folders: FolderKind | Sequence[FolderKind] | None = None,
        split_folders: Mapping[Split, str] | None = None,
        extensions: str | Sequence[str] = IMAGE_EXTENSIONS,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.pattern = None if pattern is None else _compile(pattern)
        groups = () if self.pattern is None else self.pattern.groupindex
        self.levels = _levels(folders, "pid" in groups, kwargs)
        self._chosen_folders = folders is not None or self.pattern is not None
        self.split_folders = split_folders
        self.extensions = checked_extensions(extensions)
        name = name or folder_name(data_root)
        super().__init__(data_root, split, pipeline, name=name, **kwargs)

    @classmethod
    def offers(cls, split: str, **options: Any) -> bool:
        """See :meth:`ReIDDataset.offers`: images of which nothing tells identities cannot be tested on."""
        folders = options.get("split_folders")
        if isinstance(folders, Mapping) and folders.get(split) is None:
            return False
        pattern = options.get("pattern")
        if split == "train" or (pattern is not None and "(?P<pid>" in str(pattern)):
            return True
        # A folder of one's own for a split is that of a test set, also of a target.
        read = {} if isinstance(folders, Mapping) else options
        if "identity" not in _levels(options.get("folders"), False, read):
            return False
        inner = folders[split] if isinstance(folders, Mapping) else ""
        try:
            place = os.path.join(options.get("data_root", ""), inner)
            return bool(subfolders(place)) or listing(place) == "nothing"
        except (InputError, OSError, TypeError, ValueError):
            return True

    def load_split(self) -> list[dict]:
        """Walk the folder and read off the paths what they tell.

        Raises:
            InputError: The folder is missing, has no images, or its paths tell no identities.
        """
        if not is_folder(self.data_root):
            raise InputError(
                f"data_root '{self.data_root}' is not a folder (working folder: '{os.getcwd()}'), expected the folder "
                "of your images; set data_root"
            )
        everything = walk_images(self.data_root, self.extensions)
        prefix = self._prefix(self.split)
        # Numbers count all images of the folder, so that an image is the same number in query and gallery.
        chosen = [
            (number, path) for number, path in enumerate(everything) if path.startswith(prefix)
        ]
        if not chosen:
            folder = os.path.join(self.data_root, prefix)
            raise InputError(
                f"found 0 images ({', '.join(self.extensions)}) in {shown(folder)}, which holds {listing(folder)}, "
                "expected at least one; set data_root, split_folders or extensions"
            )
        told = self._told(everything)
        self._check_told([path for _, path in chosen], prefix, told)
        values = self._understand(told, f"'{self.data_root}'")
        records = [
            {
                "img_path": os.path.join(self.data_root, *path.split("/")),
                "number": number,
                **{key: values[key].get(path) for key in TOLD},
            }
            for number, path in chosen
        ]
        return select_ids(records, self.ids)

    def _prefix(self, split: Split) -> str:
        """The folder of a split below ``data_root``, as the paths of its images begin."""
        if self.split_folders is None:
            return ""
        folder = self.split_folders.get(split)
        if folder is not None:
            place = os.path.join(self.data_root, folder)
            inner = os.path.relpath(place, self.data_root).replace(os.sep, "/")
            if is_folder(place) and inner != ".." and not inner.startswith("../"):
                return "" if inner == "." else inner + "/"
        raise InputError(
            f"split_folders names {folder!r} for split '{split}', expected a folder in {shown(self.data_root)}, "
            f"which holds {listing(self.data_root)}; set split_folders"
        )

    def _told(self, paths: list[str]) -> dict[str, dict[str, str | None]]:
        """Key of the records -> path -> text, of the images of all splits; what the pattern reads goes before."""
        told: dict[str, dict[str, str | None]] = {}
        prefixes = [self._prefix(self.split)]
        for split in self.split_folders or ():
            with contextlib.suppress(InputError):  # which is told where that split is read
                prefixes.append(self._prefix(split))
        for level, kind in enumerate(self.levels):
            if kind != "none":
                texts = told.setdefault(_KEY[kind], {})
                for path in paths:
                    inner = path[len(next(filter(path.startswith, prefixes), "")) :]
                    above = inner.split("/")[:-1]
                    if level < len(above):
                        texts[path] = above[level]
        if self.pattern is not None:
            matches = {path: self.pattern.search(path) for path in paths}
            for key in set(TOLD) & set(self.pattern.groupindex):
                told[key] = {path: match and match[key] for path, match in matches.items()}
        return told

    def _check_told(self, paths: list[str], prefix: str, told: dict[str, dict]) -> None:
        """Refuse images of the split that the pattern does not know, or that lie beside folders of identities."""
        if self.pattern is not None:
            failed = [path for path in paths if self.pattern.search(path) is None]
            if failed:
                raise InputError(
                    f"{len(failed)} of {len(paths)} images in '{self.data_root}' do not match the pattern "
                    f"{self.pattern.pattern!r}, the first is {shown(failed[0])}; mend pattern or move them away"
                )
        inner = [path[len(prefix) :] for path in paths]
        nested = [path for path in inner if "/" in path]
        if nested:
            self.folders_are = ", ".join(self.levels) or "none"
        if nested and not self._chosen_folders and not self.levels:
            folders = {path.split("/", 1)[0] for path in nested}
            table = os.path.join(self.data_root, prefix, "crops.csv")
            if os.path.isfile(table):
                self._note(
                    f"'{table}' tells more of its images: name that file in place of the folder"
                )
            self._note(
                f"its {len(folders)} sub-folders, such as {shown(min(folders))}, are taken for nothing; "
                "folders='camera', 'tracklet' or 'identity' says what they are"
            )
        if "identity" not in self.levels or (self.pattern and "pid" in self.pattern.groupindex):
            return
        flat = [path for path in inner if prefix + path not in told["pid"]]
        if flat and len(flat) < len(inner):
            raise InputError(
                f"{len(flat)} images lie directly in '{os.path.join(self.data_root, prefix)}' beside the folders of "
                f"identities, the first is {shown(flat[0])}; move them into a folder or give a pattern"
            )


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError, TypeError) as error:
        raise InputError(
            f"pattern {pattern!r} is no regular expression ({error}); set pattern"
        ) from error
    if not set(TOLD) & set(compiled.groupindex):
        raise InputError(
            f"pattern {pattern!r} has the groups {', '.join(compiled.groupindex) or '(none)'}, expected some of "
            "(?P<pid>...), (?P<camid>...), (?P<time>...) and (?P<tracklet>...); set pattern"
        )
    return compiled


def _levels(folders: Any, has_pids: bool, options: Mapping[str, Any]) -> tuple[FolderKind, ...]:
    """What each level of sub-folders is named after; where nobody says so, see :class:`FolderReIDDataset`."""
    if folders is None:
        unlabeled = options.get("labels") == "unlabeled"
        needed = not unlabeled or any(options.get(key) is not None for key in ("ids", "noise"))
        return ("identity",) if needed and not has_pids else ()
    several: list[Any] = [folders] if isinstance(folders, str) else list(folders)
    return () if several == ["none"] else tuple(several)
