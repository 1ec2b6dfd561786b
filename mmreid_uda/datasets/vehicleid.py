"""VehicleID."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.choices import Split

from .base_reid import ReIDDataset
from .files import listing, require_files, shown
from .tables import read_lines

__all__ = ["VehicleID"]

_LINE = re.compile(r"(\S+)\s+([0-9]{1,18})")


@DATASETS.register_module()
class VehicleID(ReIDDataset):
    """PKU VehicleID (Liu et al., CVPR 2016): vehicles from the front and the back, list files, no cameras.

    Train 13,164 ids / 113,346 images. Test: of every identity of ``test_list_<test_size>.txt`` one random image is
    the gallery and the others are queries; the literature averages ten draws, so change ``seed`` and average. As the
    cameras are unknown, every match counts.

    By agreement with its authors, for research; used as a source in the unsupervised papers.

    Args:
        data_root: ``VehicleID/`` or the folder above it.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        test_size: Which test list: 800, 1600, 2400, 3200, 6000 or 13164 identities.
        **kwargs: See :class:`ReIDDataset`; ``seed`` also draws the gallery.
    """

    name = "vehicleid"
    input_size = (224, 224)
    folder_names = ("vehicleid", "VehicleID_V1.0", "PKU-VehicleID")

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        test_size: int = 800,
        **kwargs: Any,
    ) -> None:
        self.test_size = test_size
        super().__init__(data_root, split, pipeline, **kwargs)

    def load_split(self) -> list[dict]:
        """Read the list of the split and, for a test split, draw the gallery."""
        self.root = self.find_root("train_test_split")
        name = "train_list.txt" if self.split == "train" else f"test_list_{self.test_size}.txt"
        images = self._read_list(os.path.join(self.root, "train_test_split", name))
        if self.split != "train":
            gallery = self._draw_gallery(images)
            wanted = self.split == "gallery"
            images = [(path, pid) for path, pid in images if (path in gallery) == wanted]
        return [{"img_path": path, "pid": pid, "camid": None} for path, pid in images]

    def _read_list(self, list_path: str) -> list[tuple[str, int]]:
        folder = os.path.dirname(list_path)
        if not os.path.isfile(list_path):
            raise InputError(
                f"found no '{os.path.basename(list_path)}' in '{folder}', which holds {listing(folder)}; set test_size "
                "to one of its lists"
            )
        images = []
        for place, line in read_lines(list_path):
            fields = _LINE.fullmatch(line)
            if fields is None:
                raise InputError(
                    f"{place} reads {shown(line)}, expected an image number and a vehicle number such as '0017266 "
                    "8745'; take the list file of the release"
                )
            images.append((os.path.join(self.root, "image", f"{fields[1]}.jpg"), int(fields[2])))
        require_files([path for path, _ in images], list_path)
        return images

    def _draw_gallery(self, images: list[tuple[str, int]]) -> set[str]:
        """One image per identity, the same for the query and the gallery split of equal seeds."""
        by_pid: defaultdict[int, list[str]] = defaultdict(list)
        for path, pid in sorted(images):
            by_pid[pid].append(path)
        rng = make_rng(self.seed, "vehicleid-gallery", self.test_size)
        return {by_pid[pid][int(rng.integers(len(by_pid[pid])))] for pid in sorted(by_pid)}
