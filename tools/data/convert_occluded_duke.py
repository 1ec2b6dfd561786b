"""Make Occluded-DukeMTMC from the lists of its authors and a copy of DukeMTMC-reID.

The authors publish three lists of file names, ``train.list``, ``query.list`` and ``gallery.list``; the images are those
of DukeMTMC-reID, divided in another way.

Example:
    python tools/data/convert_occluded_duke.py Occluded_Duke/ data/DukeMTMC-reID data/Occluded_Duke --symlink
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from mmreid_uda.cli import ToolParser, run_tool, writable_folder
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path, require_file

__all__ = ["convert"]

SPLIT_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Make Occluded-DukeMTMC from its lists.")
    parser.add_argument("lists", help="folder of train.list, query.list and gallery.list")
    parser.add_argument("duke", help="DukeMTMC-reID: the folder of bounding_box_train")
    parser.add_argument(
        "out", type=writable_folder, help="folder to write, such as data/Occluded_Duke"
    )
    parser.add_argument("--symlink", action="store_true", help="link to the images, do not copy")
    return parser.parse_args()


def convert(lists: Path, duke: Path, out: Path, symlink: bool = False) -> dict[str, int]:
    """Place the images that the lists name.

    Args:
        lists: Folder of the lists, one file name a line.
        duke: Folder with DukeMTMC-reID's ``bounding_box_train``, ``query`` and ``bounding_box_test``; a listed image
            may lie in any of them.
        out: Folder; images go to the sub-folders of Market-1501's layout.
        symlink: Link instead of copying.

    Returns:
        Split -> number of images.

    Raises:
        InputError: A list or a folder is missing, or images of a list are.
    """
    from mmreid_uda.datasets.files import list_images

    images = {
        path.name: path
        for folder in SPLIT_FOLDERS.values()
        if (duke / folder).is_dir()
        for path in map((duke / folder).joinpath, list_images(str(duke / folder)))
    }
    if not images:
        raise InputError(
            f"found 0 images in {', '.join(SPLIT_FOLDERS.values())} below '{duke}', expected DukeMTMC-reID; name the "
            "folder that holds bounding_box_train."
        )
    wanted = {split: _read_list(lists / f"{split}.list", images) for split in SPLIT_FOLDERS}
    for split, names in wanted.items():
        for name in names:
            with atomic_path(out / SPLIT_FOLDERS[split] / name) as path:
                if symlink:
                    path.symlink_to(images[name].resolve())
                else:
                    shutil.copyfile(images[name], path)
    return {split: len(names) for split, names in wanted.items()}


def _read_list(path: Path, images: dict[str, Path]) -> list[str]:
    from mmreid_uda.datasets.tables import read_lines

    require_file(path, "a list of Occluded-DukeMTMC: name the folder of its lists")
    names = [line for _, line in read_lines(str(path))]
    missing = [name for name in names if name not in images]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(names)} images of '{path}' are not in the copy of DukeMTMC-reID, the first is "
            f"'{missing[0]}'; name a complete copy."
        )
    return names


def main() -> None:
    """Convert and count."""
    args = parse_args()
    counts = convert(Path(args.lists), Path(args.duke), Path(args.out), args.symlink)
    print(", ".join(f"{split} {count:,}" for split, count in counts.items()))
    print("compare with the published counts: python tools/data/check_dataset.py occluded_duke")


if __name__ == "__main__":
    run_tool(main)
