"""What the loader costs beside the PIL pipeline of the papers' code: CPU seconds of one thread."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from measuring import take_turns
from PIL import Image, ImageOps
from torch import Tensor

from mmreid_uda.datasets import CachedImages, FolderReIDDataset
from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.models import ReIDDataPreprocessor
from mmreid_uda.utils import SeededIndex, keep_freed_memory, make_rng
from mmreid_uda.utils.packages import import_package

__all__ = ["measure", "report"]

HEIGHT, WIDTH, PADDING = 256, 128, 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REFERENCE, TORCHVISION = "PIL pipeline", "torchvision"
OURS, PILLOW, PREPROCESSOR = "cv2", "pillow", "preprocessor"
COLD, WARM = "cv2, cold cache", "cv2, warm cache"
"""What is timed; the quotient of the first two is the speed-up."""

Loader = Callable[[list[int]], Any]
"""Makes a batch of the images of these indices, as a worker would."""


def make_crops(folder: str, count: int, size: tuple[int, int]) -> None:
    """Write JPEG crops of patches of colour and a little noise.

    At 128×64 they have about the 2.4 KB of an average Market-1501 crop, so that decoding costs what it costs there.

    Args:
        folder: An existing folder.
        count: Number of images.
        size: Height and width in pixels.
    """
    rng = make_rng(0, "crops")
    height, width = size
    for number in range(count):
        patches = rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)
        image = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC).astype(
            np.float32
        )
        noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        path = os.path.join(folder, f"{number:06d}.jpg")
        cv2.imwrite(path, noisy, [cv2.IMWRITE_JPEG_QUALITY, 80])


def reference_loader(paths: list[str]) -> Loader:
    """The papers' loader: the steps of torchvision's transforms, written out so that torchvision is not needed."""
    rng = random.Random(0)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))

    def load(path: str) -> Tensor:
        image = Image.open(path).convert("RGB")
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        if torch.rand(1) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = ImageOps.expand(image, border=PADDING, fill=0)
        top = int(torch.randint(0, 2 * PADDING + 1, (1,)))
        left = int(torch.randint(0, 2 * PADDING + 1, (1,)))
        image = image.crop((left, top, left + WIDTH, top + HEIGHT))
        return erase(normalize(to_tensor(image), mean, std), mean, rng)

    return lambda indices: torch.stack([load(paths[index]) for index in indices])


def torchvision_loader(paths: list[str]) -> Loader:
    """The same steps by torchvision's own transforms, with its way of drawing what is erased."""
    transforms = import_package("torchvision.transforms", "this side", "torchvision")
    pipeline = transforms.Compose(
        [
            transforms.Resize((HEIGHT, WIDTH), transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.Pad(PADDING),
            transforms.RandomCrop((HEIGHT, WIDTH)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
            transforms.RandomErasing(0.5, (0.02, 0.4), (0.3, 1 / 0.3), MEAN),
        ]
    )
    return lambda indices: torch.stack(
        [pipeline(Image.open(paths[index]).convert("RGB")) for index in indices]
    )


def to_tensor(image: Image.Image) -> Tensor:
    """Torchvision's ``ToTensor``: float32 (3, H, W) in 0..1."""
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
    return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def normalize(image: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Torchvision's ``Normalize``, which works on a copy."""
    return image.clone().sub_(mean).div_(std)


def erase(image: Tensor, mean: Tensor, rng: random.Random) -> Tensor:
    """Random erasing of the papers' code, in place.

    Args:
        image: float32 (3, H, W), normalised.
        mean: float32 (3, 1, 1), which fills the rectangle.
        rng: Generator of the draws.
    """
    if rng.uniform(0, 1) >= 0.5:
        return image
    for _ in range(100):
        area = rng.uniform(0.02, 0.4) * HEIGHT * WIDTH
        aspect = rng.uniform(0.3, 1 / 0.3)
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if h < HEIGHT and w < WIDTH:
            top, left = rng.randint(0, HEIGHT - h), rng.randint(0, WIDTH - w)
            image[:, top : top + h, left : left + w] = mean
            return image
    return image


def our_dataset(
    folder: str, num_images: int, backend: str, cache: int | None = None
) -> FolderReIDDataset:
    """The dataset with the training pipeline of the configs; the backend resizes."""
    pipeline: list[dict] = [
        dict(type="LoadReIDImage"),
        dict(type="Resize", scale=(WIDTH, HEIGHT), interpolation="bicubic", backend=backend),
        dict(type="RandomHorizontalFlip", prob=0.5),
        dict(type="PadRandomCrop", padding=PADDING),
        dict(type="RandomErasingBox", prob=0.5),
        dict(type="PackReIDInputs"),
    ]
    return FolderReIDDataset(
        folder, pipeline=pipeline, labels="unlabeled", indices=num_images, cache=cache
    )


def our_loader(dataset: FolderReIDDataset) -> Loader:
    """What a worker of ours does: items with the sampler's seeds, then the batch."""
    return lambda indices: reid_collate([dataset[SeededIndex(one, one)] for one in indices])


def batches(num_images: int, batch_size: int) -> Iterator[list[int]]:
    """Cut the indices into batches."""
    for start in range(0, num_images, batch_size):
        yield list(range(start, min(start + batch_size, num_images)))


def time_loader(
    loader: Loader, num_images: int, batch_size: int, cached: CachedImages | None = None
) -> float:
    """Load every image once, after a batch to warm up, and return the CPU seconds per image.

    Args:
        loader: What is timed.
        num_images: Number of images.
        batch_size: Images of a batch.
        cached: Images that are forgotten before the clock starts.
    """
    loader(next(batches(num_images, batch_size)))
    if cached is not None:
        cached.memory.zero_()
    start = time.process_time()
    for indices in batches(num_images, batch_size):
        loader(indices)
    return (time.process_time() - start) / num_images


def time_preprocessor(preprocessor: ReIDDataPreprocessor, batch: dict[str, Any]) -> float:
    """Normalise a batch, once to warm up and once measured, and return the CPU seconds per image."""
    preprocessor(batch, training=True)
    start = time.process_time()
    preprocessor(batch, training=True)
    return (time.process_time() - start) / len(batch["inputs"])


def measure_folder(folder: str, args: argparse.Namespace) -> dict[str, Any]:
    """Time every pipeline on the images of a folder.

    Returns:
        ``rows``: per pipeline, images per second of the loader and of loader plus preprocessor; ``preprocessor``:
        those of the preprocessor alone; ``speedup``: our loader beside the PIL pipeline;
        ``speedup_with_preprocessor``; and the circumstances.
    """
    datasets = {name: our_dataset(folder, args.num_images, name) for name in (OURS, PILLOW)}
    paths = datasets[OURS].paths
    room = 2 * HEIGHT * WIDTH * 3 * len(paths)
    # One dataset, read twice in turn: first with an empty cache, then with a full one.
    datasets[COLD] = datasets[WARM] = our_dataset(folder, args.num_images, OURS, cache=room)
    cached = {COLD: datasets[COLD].pipeline.transforms[0]}
    loaders = {REFERENCE: reference_loader(paths)}
    if importlib.util.find_spec("torchvision"):
        loaders[TORCHVISION] = torchvision_loader(paths)
    loaders |= {name: our_loader(dataset) for name, dataset in datasets.items()}
    batch = loaders[OURS](next(batches(len(paths), args.batch_size)))
    turns = {
        name: partial(time_loader, loader, len(paths), args.batch_size, cached.get(name))
        for name, loader in loaders.items()
    }
    turns[PREPROCESSOR] = partial(time_preprocessor, ReIDDataPreprocessor(), batch)
    seconds = take_turns(turns, args.repetitions)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    # The batches of the others are normalised already.
    totals = medians | {name: medians[name] + medians[PREPROCESSOR] for name in datasets}
    rows = {
        name: {"loader": 1 / medians[name], "with_preprocessor": 1 / totals[name]}
        for name in loaders
    }
    return {
        "rows": rows,
        "preprocessor": 1 / medians[PREPROCESSOR],
        "speedup": rows[OURS]["loader"] / rows[REFERENCE]["loader"],
        "speedup_with_preprocessor": rows[OURS]["with_preprocessor"] / rows[REFERENCE]["loader"],
        "num_images": len(paths),
        "mean_bytes": statistics.mean(os.path.getsize(path) for path in paths),
        "input_size": [HEIGHT, WIDTH],
        "batch_size": args.batch_size,
        "repetitions": args.repetitions,
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time every pipeline, on one thread, on the images that the command line names, or else on made crops."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # as a training on a CPU does
    if args.images:
        return measure_folder(args.images, args)
    with tempfile.TemporaryDirectory() as folder:
        make_crops(folder, args.num_images, tuple(args.crop_size))
        return measure_folder(folder, args)


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out as a table."""
    reference = metrics["rows"][REFERENCE]["loader"]
    lines = [
        f"{metrics['num_images']} images of {metrics['mean_bytes'] / 1024:.1f} KiB to {HEIGHT}×{WIDTH}, batches of "
        f"{metrics['batch_size']}, one thread, median of {metrics['repetitions']}",
        f"preprocessor alone: {metrics['preprocessor']:.0f} images per CPU second",
        f"{'images per CPU second':24}{'loader':>10}{'× PIL':>8}{'with preprocessor':>20}{'× PIL':>8}",
    ]
    for name, row in metrics["rows"].items():
        loader, total = row["loader"], row["with_preprocessor"]
        lines.append(
            f"{name:24}{loader:10.0f}{loader / reference:8.2f}{total:20.0f}{total / reference:8.2f}"
        )
    return "\n".join(lines)
