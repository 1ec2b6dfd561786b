"""Turn the release of CUHK03, cuhk-03.mat, into the folders of CUHK03-NP that ``cuhk03np-*`` reads.

The new protocol (Zhong et al., CVPR 2017) comes as two files of image lists,
``cuhk03_new_protocol_config_detected.mat`` and ``..._labeled.mat``. Each list names images as
``<camera pair>_<person>_<view>_<image>.png``: person and image are places in the release, the view is the camera.

Example:
    python tools/data/convert_cuhk03.py downloads/cuhk-03.mat downloads/ data/cuhk03-np
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmreid_uda.cli import ToolParser, run_tool, writable_folder
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path, require_file
from mmreid_uda.utils.packages import import_package

__all__ = ["convert", "read_lists"]

SPLIT_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_NAME = re.compile(r"(\d)_(\d+)_([12])_(\d+)\.png")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Unpack CUHK03 for the new protocol.")
    parser.add_argument("release", help="cuhk-03.mat")
    parser.add_argument("lists", help="folder of cuhk03_new_protocol_config_*.mat")
    parser.add_argument("out", type=writable_folder, help="folder to write, such as data/cuhk03-np")
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=["detected", "labeled"],
        default=["detected", "labeled"],
        help="boxes",
    )
    return parser.parse_args()


def read_lists(path: Path) -> dict[str, list[tuple[str, int]]]:
    """Read the lists of one kind of boxes.

    Args:
        path: ``cuhk03_new_protocol_config_<variant>.mat``, with ``filelist``, ``labels`` and, counted from 1,
            ``train_idx``, ``query_idx`` and ``gallery_idx``.

    Returns:
        Split -> (image name, identity).

    Raises:
        InputError: There is no such file, it lacks one of the lists, or a list counts further than there are names.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    require_file(
        path,
        "the lists of the new protocol: put the file there, or leave its boxes out with --variants",
    )
    try:
        content = loadmat(str(path))
    except (MatReadError, NotImplementedError, ValueError, TypeError, OSError) as error:
        raise InputError(
            f"'{path}' is no MATLAB file of the lists ({error}), expected those of the new protocol; take the file of "
            "its authors."
        ) from error
    needed = ("filelist", "labels", *(f"{split}_idx" for split in SPLIT_FOLDERS))
    missing = [key for key in needed if key not in content]
    if missing:
        raise InputError(
            f"'{path}' has no {', '.join(missing)}, expected the lists of the new protocol: {', '.join(needed)}; take "
            "the file of its authors."
        )
    names = [str(np.ravel(entry)[0]) for entry in content["filelist"].ravel()]
    labels = content["labels"].ravel()
    count = min(len(names), len(labels))
    lists = {}
    for split in SPLIT_FOLDERS:
        numbers = content[f"{split}_idx"].ravel()
        if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= count:
            raise InputError(
                f"{split}_idx of '{path}' names images from {numbers.min()} to {numbers.max()}, expected 1..{count}; "
                "take the file of its authors."
            )
        lists[split] = [(names[i - 1], int(labels[i - 1])) for i in numbers]
    return lists


def convert(release: Path, lists: Path, out: Path, variant: str) -> dict[str, int]:
    """Write the images of one kind of boxes.

    Args:
        release: ``cuhk-03.mat``, an HDF5 file of MATLAB cell arrays: per camera pair one of (10 images × people).
        lists: Folder of the lists.
        out: Folder; images go to ``<out>/<variant>/<split's folder>/<identity>_c<camera>_<pair>_<image>.png``.
        variant: ``'detected'`` or ``'labeled'``.

    Returns:
        Split -> number of images written.

    Raises:
        InputError: h5py is missing, a file is missing or is another one, or a list names an image that the
            release does not have.
    """
    h5py = import_package("h5py", "cuhk-03.mat, an HDF5 file,", "h5py")
    splits = read_lists(lists / f"cuhk03_new_protocol_config_{variant}.mat")
    require_file(release, "cuhk-03.mat of the release: correct the path")
    if not h5py.is_hdf5(release):
        raise InputError(
            f"'{release}' is no HDF5 file, expected cuhk-03.mat of the release; take that file, and fetch it again if "
            "its download was cut short."
        )
    with h5py.File(release, "r") as file:
        if variant not in file:
            raise InputError(
                f"'{release}' holds {', '.join(file)}, expected '{variant}' among them; take the file of the release."
            )
        pairs = [file[reference] for reference in np.ravel(file[variant][()])]
        for split, images in splits.items():
            folder = out / variant / SPLIT_FOLDERS[split]
            for name, pid in images:
                _write_image(file, pairs, name, pid, folder)
    return {split: len(images) for split, images in splits.items()}


def _write_image(
    file: Mapping[Any, Any], pairs: list[Any], name: str, pid: int, folder: Path
) -> None:
    import cv2

    parts = _NAME.fullmatch(name)
    if parts is None:
        raise InputError(
            f"a list of the new protocol names '{name}', expected <pair>_<person>_<view>_<image>.png; take the file of "
            "its authors."
        )
    pair, person, view, number = map(int, parts.groups())
    cells = pairs[pair - 1] if pair <= len(pairs) else np.empty((0, 0))
    # MATLAB stores columns first: (people × 10) cells and (height, width, 3) images arrive transposed.
    if number > cells.shape[0] or person > cells.shape[1]:
        image = np.empty(0)
    else:
        image = np.asarray(file[cells[number - 1, person - 1]]).T
    if image.ndim != 3:
        raise InputError(
            f"the lists name '{name}', but the release has no such image; take lists and release of the same dataset."
        )
    encoded, content = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1], dtype=np.uint8))
    if not encoded:
        raise OSError(f"OpenCV cannot encode '{name}'")
    with atomic_path(folder / f"{pid:04d}_c{view}_{pair}_{person:03d}_{number:02d}.png") as path:
        path.write_bytes(content.tobytes())


def main() -> None:
    """Convert and count."""
    args = parse_args()
    for variant in args.variants:
        counts = convert(Path(args.release), Path(args.lists), Path(args.out), variant)
        print(f"{variant}: " + ", ".join(f"{split} {count:,}" for split, count in counts.items()))
    print("compare with the published counts: python tools/data/check_dataset.py cuhk03np-detected")


if __name__ == "__main__":
    run_tool(main)
