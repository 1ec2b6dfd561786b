"""Put all images of a dataset into one file, OUT/images.lmdb, which is read as the folder it was made of.

The pack OUT stands wherever the folder could: data_root=OUT, target=OUT, target=OUT/crops.csv. Names, order and
fingerprint are the same, so that a run goes on from one with the other. Images are kept byte for byte, broken ones too,
unless --height and --width shrink them; tables, lists and links lie beside them as they were. A packing that was cut
off goes on when it is called again. Needs the package lmdb.

Examples:
    python tools/data/pack.py data/crops data/crops.pack
    python tools/data/pack.py market1501 data/market1501.pack --data-root data
    python tools/data/pack.py data/shop/crops.csv /ssd/shop.pack --height 128 --width 64
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmreid_uda.cli import ToolParser, at_least, run_tool, writable_folder
from mmreid_uda.utils import InputError

__all__ = ["pack_folder"]

_BLOCK = 1024
# Videos and archives that lie beside the images are no part of a dataset, but tables of any size are.
_LARGEST = 64 << 20
_TABLES = (".csv", ".tsv", ".txt", ".json", ".xml", ".mat")
_QUALITY = 95


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Put all images of a dataset into one file.")
    parser.add_argument("source", help="folder of images, CSV file in it, or name of a dataset")
    parser.add_argument("out", type=writable_folder, help="folder of the pack, such as crops.pack")
    parser.add_argument("--data-root", default="data", help="folder of the named datasets")
    parser.add_argument(
        "--height", type=at_least(1), help="shrink or stretch images to this height"
    )
    parser.add_argument(
        "--width", type=at_least(1), help="and this width (default: bytes as they are)"
    )
    args = parser.parse_args()
    if (args.height is None) != (args.width is None):
        parser.error("found one of --height and --width, expected both or neither.")
    return args


def folder_of(source: str, data_root: str) -> str:
    """The folder that a dataset lies in.

    Args:
        source: Folder, CSV file or name.
        data_root: Folder of the named datasets.

    Returns:
        Its path.

    Raises:
        InputError: There is none.
    """
    from mmreid_uda.datasets import DATASET_CATALOG, build_dataset, offered_splits

    if source in DATASET_CATALOG and not os.path.isdir(source):
        split = offered_splits(source, data_root=data_root)[0]
        return build_dataset(source, split, data_root=data_root).root
    folder = os.path.dirname(source) or "." if source.lower().endswith(".csv") else source
    if not os.path.isdir(folder):
        raise InputError(
            f"found no folder '{folder}', expected images, or a dataset by its name: {', '.join(DATASET_CATALOG)}; "
            "correct SOURCE"
        )
    return folder


def pack_folder(folder: str, out: str, size: tuple[int, int] | None = None) -> str:
    """Pack all images below a folder; what was there before a kill is kept.

    Args:
        folder: The folder.
        out: Folder of the pack.
        size: Height and width of the packed images; None keeps the bytes.

    Returns:
        What was done, in a sentence.

    Raises:
        InputError: There is something else at ``out``, an image cannot be read, or the disk is full.
    """
    from mmreid_uda.datasets.files import (
        file_numbers,
        file_state,
        is_folder,
        shown,
        walk_images,
        walk_others,
    )
    from mmreid_uda.datasets.pack_writer import PackWriter, sorted_names
    from mmreid_uda.datasets.packs import IMAGES, opened_pack
    from mmreid_uda.utils.files import said_to_be_unwritable
    from mmreid_uda.utils.progress import show_progress
    from mmreid_uda.utils.run_lock import alone

    inside = Path(out).resolve()
    if Path(folder).resolve() in (inside, *inside.parents):
        raise InputError(
            f"found OUT {shown(out)} in the folder {shown(folder)} itself, expected a place outside; change OUT"
        )
    names = sorted_names(walk_images(folder))
    if not names:
        raise InputError(f"found 0 images in {shown(folder)}, expected some; correct SOURCE")
    paths = [os.path.join(folder, name) for name in names]
    with said_unreadable():
        plan = hashlib.sha256(repr(size).encode())
        for name, path in zip(names, paths):
            plan.update(repr((name, *file_state(path))).encode())
    numbers = file_numbers(paths)
    first: dict[int, int] = {}
    files = [first.setdefault(number, place) for place, number in enumerate(numbers.tolist())]
    with alone(out):
        if os.path.isfile(os.path.join(out, IMAGES)):
            if opened_pack(out).plan == plan.hexdigest():
                return f"{out} holds these {len(names):,} images already"
            raise InputError(
                f"found a pack of other images in {shown(out)}, expected none; remove it, or change OUT"
            )
        if is_folder(out) and os.listdir(out):
            raise InputError(f"found files in {shown(out)}, expected a new folder; change OUT")
        partial = os.path.join(
            os.path.dirname(os.path.abspath(out)), f".{os.path.basename(os.path.abspath(out))}.part"
        )
        with said_to_be_unwritable(Path(out)):
            writer = PackWriter(partial, names, files, plan.hexdigest())
            kept = 0
            for content, as_it_was in _contents([paths[place] for place in writer.left], size):
                kept += as_it_was
                writer.add(content)
                if len(writer.left) % _BLOCK == 0:
                    show_progress("packed", len(names) - len(writer.left), len(names), "images")
            writer.finish()
            left_out = _copy(folder, partial, walk_others(folder))
            os.replace(partial, out)
    told = f"{len(names):,} images of {folder} are in {out}"
    if size and kept:
        told += f"; {kept:,} that cannot be decoded are there as they were"
    if left_out:
        told += (
            f"; left out were files of more than {_LARGEST >> 20} MiB, such as {shown(left_out[0])}"
        )
    return told


@contextlib.contextmanager
def said_unreadable() -> Iterator[None]:
    """Put the error about a file that cannot be read into a sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the file '{error.filename}' cannot be read ({error.strerror}), expected every file of the folder; "
            "restore or remove it, and call again: what is packed is kept"
        ) from error


def _contents(paths: Sequence[str], size: tuple[int, int] | None) -> Iterator[tuple[bytes, bool]]:
    """What is packed of each file, and whether it is as it was; several are read at a time."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), _BLOCK):
            with said_unreadable():
                block = list(
                    pool.map(lambda path: _content(path, size), paths[start : start + _BLOCK])
                )
            yield from block


def _content(path: str, size: tuple[int, int] | None) -> tuple[bytes, bool]:
    import cv2

    from mmreid_uda.datasets.files import read_file
    from mmreid_uda.datasets.transforms import decode_image

    content = read_file(path)
    pixels = decode_image(content) if size else None
    if size is None or pixels is None:
        return content, True
    small = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    return cv2.imencode(".jpg", small, quality)[1].tobytes(), False


def _copy(folder: str, out: str, names: Sequence[str]) -> list[str]:
    """Copy files as they are, in place of what a packing of other files has left; those that were too large."""
    from mmreid_uda.datasets.packs import IMAGES

    large = []
    for left in list(Path(out).iterdir()):
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != IMAGES:
            left.unlink()
    for name in names:
        source, place = os.path.join(folder, name), os.path.join(out, name)
        with said_unreadable(), open(source, "rb"):
            size = os.path.getsize(source)
        if size > _LARGEST and not name.lower().endswith(_TABLES):
            large.append(name)
            continue
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copy2(source, place)
    return large


def main() -> None:
    """Pack."""
    args = parse_args()
    size = None if args.height is None else (args.height, args.width)
    print(pack_folder(folder_of(args.source, args.data_root), args.out, size))


if __name__ == "__main__":
    run_tool(main, resume="call again to go on")
