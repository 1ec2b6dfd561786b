"""MSMT17, in the layout of its authors (list files) and in Market-1501's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split

from .files import folder_name, is_folder, require_files, shown
from .market1501 import MarketStyleDataset
from .tables import local_path, read_lines

__all__ = ["MSMT17"]

# 0000/0000_000_01_0303morning_0008_0.jpg 0: the third field is the camera.
_LINE = re.compile(
    r"(?P<path>(.*[/\\])?[^_/\\]*_[^_/\\]*_(?P<camera>[0-9]{1,9})(_[^/\\]*)?)\s+(?P<pid>[0-9]{1,18})"
)


@DATASETS.register_module()
class MSMT17(MarketStyleDataset):
    """MSMT17 (Wei et al., CVPR 2018): 15 cameras, indoors and outdoors, four days.

    Train 1,041 ids / 32,621 images (30,248 of ``list_train`` and 2,373 of ``list_val``), query 3,060 / 11,659,
    gallery 3,060 / 82,161. The layout is detected: with list files (V1, or V2 with its ``mask_*_v2`` folders) the
    identity is the integer at the end of the line and the camera the third field of the file name; without them the
    folders of the re-packed archive are read. :attr:`version` is 'V1', 'V2' or, in a re-packed archive whose folder
    does not say, empty; the table at the start of a run shows it. Test identities are other people than the training
    ones that have the same numbers. Times are unknown: names such as ``0000_000_01_0303morning_0008_0.jpg`` tell the
    day and a number whose unit the release does not say.

    Withdrawn from open download: given by its authors on a signed agreement only; this project neither offers nor
    links to a copy.

    Args:
        data_root: ``MSMT17_V1/`` (or ``_V2``) or the folder above it.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        include_val: Train on ``list_val`` too, as the unsupervised papers do; supervised work often leaves it out.
        **kwargs: See :class:`ReIDDataset`.
    """

    name = "msmt17"
    folder_names = ("msmt17", "MSMT17_V1", "MSMT17_V2")
    cameras = range(1, 16)
    lists: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": ("list_train.txt", "list_val.txt"),
        "query": ("list_query.txt",),
        "gallery": ("list_gallery.txt",),
    }

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        include_val: bool = True,
        **kwargs: Any,
    ) -> None:
        self.include_val = include_val
        super().__init__(data_root, split, pipeline, **kwargs)

    def load_split(self) -> list[dict]:
        """Read the list files, or the folders where there are none.

        Raises:
            InputError: The folder, a list or an image of it is missing, or training images cannot be told from the
                others.
        """
        lists = self.lists[self.split]
        self.root = self.find_root(lists[0], self.split_folders[self.split])
        self.version = self._find_version()
        if os.path.isfile(os.path.join(self.root, lists[0])):
            chosen = lists if self.include_val else lists[:1]
            return [record for name in chosen for record in self._read_list(name)]
        if self.split == "train" and not self.include_val:
            raise InputError(
                f"'{self.root}' holds folders without list_val.txt, so the validation images cannot be told from the "
                "training ones; set include_val=True or data_root to a copy with the list files"
            )
        return super().load_split()

    def _find_version(self) -> str:
        """Read the release off the folders: those of V2 are named ``mask_*_v2``, whatever the folder above is."""
        if any(is_folder(os.path.join(self.root, f"mask_{part}_v2")) for part in ("train", "test")):
            return "V2"
        said = re.search(r"v[12]$", folder_name(self.root), re.IGNORECASE)
        return said[0].upper() if said else ""

    def _read_list(self, list_name: str) -> list[dict]:
        list_path = os.path.join(self.root, list_name)
        if not os.path.isfile(list_path):
            raise InputError(
                f"found no '{list_name}' in '{self.root}', expected it beside list_train.txt; copy it there or set "
                "include_val=False"
            )
        folder = self._image_folder()
        records = [self._parse_line(folder, line, place) for place, line in read_lines(list_path)]
        require_files([record["img_path"] for record in records], list_path)
        return records

    def _image_folder(self) -> str:
        part = "train" if self.split == "train" else "test"
        names = (part, f"mask_{part}_v2")
        for name in names:
            if is_folder(folder := os.path.join(self.root, name)):
                return folder
        raise InputError(
            f"found neither '{names[0]}' nor '{names[1]}' in '{self.root}', expected the images that the list files "
            "name; extract the archive again or set data_root"
        )

    def _parse_line(self, folder: str, line: str, place: str) -> dict:
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise InputError(
                f"{place} reads {shown(line)}, expected a path like 0000/0000_000_01_0303morning_0008_0.jpg, a "
                "space and an integer identity; take the list file of the release"
            )
        path = local_path(folder, parts["path"])
        camera, pid = int(parts["camera"]), int(parts["pid"])
        return {"img_path": path, "pid": pid, "camid": self._camid(camera, path)}
