"""What ``benchmark_pack.py`` times: thumbnails written into a pack and into files, opened, and loaded."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measuring import added_memory

from mmreid_uda.datasets import FolderReIDDataset
from mmreid_uda.datasets.pack_writer import PackWriter
from mmreid_uda.datasets.packs import IMAGES, forget_packs
from mmreid_uda.datasets.synthetic.renderer import DomainRenderer
from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.utils import SeededIndex, keep_freed_memory, make_rng
from mmreid_uda.utils.progress import show_progress

__all__ = ["measure", "report"]

SIZE = (64, 32)
IMAGES_PER_PERSON, CAMERAS, PEOPLE = 17, 6, 64
PATTERN = r"(?P<pid>\d+)_\d+_c(?P<camid>\d+)"


def thumbnails(images: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Draw thumbnails of rendered people.

    Args:
        images: N, number of thumbnails.

    Yields:
        Sorted paths, and what makes the JPEG file of each, the same whenever it is called.
    """
    renderer = DomainRenderer("a", 0)
    crops = []
    for number in range(PEOPLE):
        rng = renderer.rng("benchmark", number)
        sighting = renderer.sighting(number % CAMERAS, rng)
        crop = renderer.render(renderer.identity(number), sighting, 0, rng)
        crops.append(cv2.resize(crop, (40, 80), interpolation=cv2.INTER_AREA))

    def draw(number: int, crop: np.ndarray) -> bytes:
        rng = make_rng(number, "thumbnail")
        top, left, light = rng.integers(0, 16), rng.integers(0, 8), rng.uniform(0.6, 1.2)
        part = crop[top : top + SIZE[0], left : left + SIZE[1]]
        return cv2.imencode(".jpg", cv2.convertScaleAbs(part, alpha=light))[1].tobytes()

    for number in range(images):
        person, image = divmod(number, IMAGES_PER_PERSON)
        name = f"{person:06d}/{person:06d}_{image:02d}_c{image % CAMERAS}.jpg"
        yield name, partial(draw, number, crops[person % PEOPLE])


def write_pack(folder: Path, images: int) -> None:
    """Write a pack, or what is missing of it; a whole one is left as it is."""
    if (folder / "done").exists():
        return
    names, drawn = zip(*thumbnails(images))
    writer = PackWriter(str(folder), names, range(images), f"{images} thumbnails")
    while writer.left:
        if len(writer.left) % 4096 == 0:
            show_progress("drawn", images - len(writer.left), images, "thumbnails")
        writer.add(drawn[writer.left[0]]())
    writer.finish()
    (folder / "done").touch()


def write_files(folder: Path, images: int) -> None:
    """Write the same thumbnails as files; those that are there are left as they are."""
    for name, draw in thumbnails(images):
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(draw())


def opened(folder: str) -> FolderReIDDataset:
    """The dataset with the training pipeline of the small recipes."""
    pipeline: list[dict] = [
        dict(type="LoadReIDImage"),
        dict(type="Resize", scale=SIZE[::-1], interpolation="bicubic"),
        dict(type="RandomHorizontalFlip", prob=0.5),
        dict(type="PadRandomCrop", padding=4),
        dict(type="RandomErasingBox", prob=0.5),
        dict(type="PackReIDInputs"),
    ]
    return FolderReIDDataset(
        folder,
        pipeline=pipeline,
        labels="unlabeled",
        pattern=PATTERN,
        folders="none",
        name="thumbs",
    )


def opening(folder: str) -> Callable[[], Any]:
    """For :func:`measuring.added_memory`: everything is imported, then the dataset is opened and kept."""
    kept: list[Any] = []
    return lambda: kept.append(opened(folder))


def forget(places: Sequence[str]) -> None:
    """Have the system write the pages of files to the disk, and drop them from its memory.

    Args:
        places: The files; nothing of them may be mapped by any process.
    """
    forget_packs()
    for place in places:
        file = os.open(place, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def read_from_disk() -> int:
    """Bytes that this process has had read from a disk; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


def load(dataset: FolderReIDDataset, order: Sequence[int], batch_size: int) -> dict[str, float]:
    """Load images in batches.

    Returns:
        ``rate``: images per second; ``cpu_rate``: per CPU second; ``disk``: bytes an image that came from the disk.
    """
    before, start, cpu = read_from_disk(), time.perf_counter(), time.process_time()
    for first in range(0, len(order), batch_size):
        reid_collate([dataset[SeededIndex(one, one)] for one in order[first : first + batch_size]])
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
    return {
        "rate": len(order) / seconds,
        "cpu_rate": len(order) / cpu,
        "disk": (read_from_disk() - before) / len(order),
    }


def measure_place(folder: str, places: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    """Open a dataset and load from it.

    Args:
        folder: Of the dataset.
        places: Its files.
        args: Of the command line.
    """
    memory = added_memory(opening, folder)
    opened(folder)  # loads what is loaded once
    start, cpu = time.perf_counter(), time.process_time()
    dataset = opened(folder)
    result: dict[str, Any] = {
        "open_seconds": time.perf_counter() - start,
        "open_cpu": time.process_time() - cpu,
        "memory_per_image": None if memory is None else memory / len(dataset),
        "fingerprint": dataset.fingerprint,
        "disk_bytes": sum(os.stat(one).st_blocks * 512 for one in places),
    }
    sample = min(args.sample, len(dataset))
    random = make_rng(0, "order").permutation(len(dataset))[:sample].tolist()
    load(dataset, list(range(min(sample, 256))), args.batch_size)  # warms up what is compiled
    for name, order in (("random", random), ("in order", list(range(sample)))):
        turns: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
        for _ in range(args.repetitions):
            forget(places)
            for state in turns:
                turns[state].append(load(dataset, order, args.batch_size))
        for state, loads in turns.items():
            result[f"{state}, {name}"] = {
                key: statistics.median(one[key] for one in loads) for key in loads[0]
            }
    return result


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Write, open and load, on one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # as a training on a CPU does
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.folder or temporary)
        pack = folder / f"{args.images}.pack"
        start = time.process_time()
        write_pack(pack, args.images)
        metrics: dict[str, Any] = {
            "images": args.images,
            "repetitions": args.repetitions,
            "sample": min(args.sample, args.images),
            "write_cpu": time.process_time() - start,
            "rows": {"pack": measure_place(str(pack), [str(pack / IMAGES)], args)},
        }
        if args.files:
            files = folder / str(args.images)
            write_files(files, args.images)
            places = [str(files / name) for name, _ in thumbnails(args.images)]
            metrics["rows"]["files"] = measure_place(str(files), places, args)
    return metrics


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out as a table."""
    rows = metrics["rows"]
    lines = [
        f"{metrics['images']:,} thumbnails of {SIZE[0]}×{SIZE[1]}, {metrics['sample']:,} of them loaded, "
        f"median of {metrics['repetitions']}",
        f"{'':36}" + "".join(f"{name:>12}" for name in rows),
    ]

    def line(name: str, values: Iterable[float | None], form: str = ",.0f") -> None:
        told = ("-" if value is None else format(value, form) for value in values)
        lines.append(f"{name:36}" + "".join(f"{one:>12}" for one in told))

    sides = rows.values()
    line("opened, seconds", (row["open_seconds"] for row in sides), ",.2f")
    line("opened, CPU seconds", (row["open_cpu"] for row in sides), ",.2f")
    line("opened, bytes of memory an image", (row["memory_per_image"] for row in sides))
    line("on the disk, bytes an image", (row["disk_bytes"] / metrics["images"] for row in sides))
    for order in ("random", "in order"):
        for state in ("cold", "warm"):
            loads = [row[f"{state}, {order}"] for row in sides]
            line(f"{state}, {order}: images per second", (one["rate"] for one in loads))
            line(f"{state}, {order}: per CPU second", (one["cpu_rate"] for one in loads))
            line(f"{state}, {order}: bytes from disk an image", (one["disk"] for one in loads))
    return "\n".join(lines)
