"""Whether what was exported gives the model's features on crops: the conversion alone, and with its own resizing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.dataset import Compose

from mmreid_uda.datasets import build_dataset
from mmreid_uda.datasets.transforms import LoadReIDImage
from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils import InputError, make_rng

from .inferencer import ReIDInferencer
from .model import quiet_log

__all__ = ["Agreement", "Reader", "compare_exported", "features_of", "rendered_crops"]

Reader = Callable[[Sequence[str | np.ndarray]], np.ndarray]
"""Files, or images, uint8 (H, W, 3) in BGR order, to features, float32 (N, D)."""


class Agreement(NamedTuple):
    """How features of an exported model compare with those of the model itself."""

    conversion: float
    """Largest distance, 1 - cosine, of crops that had the size of the input already: 0 but for rounding."""
    mean: float
    """Mean cosine of crops as they are: each side resizes as it does."""
    least: float
    """The least of these cosines."""


def rendered_crops() -> list[np.ndarray]:
    """Crops to compare on where the user has named none: 8 rendered people before two cameras.

    They are rendered in one size; detections have many, and how they are resized is part of the comparison.

    Returns:
        uint8 (H, W, 3), BGR, 77 to 384 rows high.
    """
    with tempfile.TemporaryDirectory() as folder, quiet_log():
        people = dict(name="synthd", num_train_ids=2, num_test_ids=8, images_per_id=4)
        crops = read_crops(build_dataset(people, "gallery", data_root=folder).paths)
    zooms = make_rng(0, "export").uniform(0.6, 3, len(crops))
    return [
        cv2.resize(crop, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        for crop, zoom in zip(crops, zooms)
    ]


def read_crops(images: Sequence[str | np.ndarray]) -> list[np.ndarray]:
    """Decode files as training does.

    Args:
        images: Files; arrays are taken as they are.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        InputError: A file is missing or no image.
    """
    load = LoadReIDImage()
    return [load({"img_path": one})["img"] if isinstance(one, str) else one for one in images]


def features_of(
    images: Sequence[str | np.ndarray],
    prepare: Callable[[np.ndarray], np.ndarray],
    run: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
) -> np.ndarray:
    """Features by a network of another program, a batch at a time, brought to unit norm.

    Args:
        images: Files, or uint8 (H, W, 3), BGR.
        prepare: What that program does with one image: uint8 (H, W, 3), BGR, to float32 (3, H', W').
        run: The network: float32 (B, 3, H', W') to float32 (B, D).
        batch_size: Images a forward pass.

    Returns:
        float32 (N, D), unit rows.
    """
    parts = []
    for start in range(0, len(images), batch_size):
        pixels = read_crops(images[start : start + batch_size])
        parts.append(run(np.stack([prepare(one) for one in pixels])))
    features = np.concatenate(parts)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def compare_exported(
    inferencer: ReIDInferencer,
    reader: Reader,
    crops: Sequence[str | np.ndarray],
    tolerance: float,
    resizes_alike: bool = False,
    hint: str = "do not deploy it",
) -> Agreement:
    """Compare the features of an exported model with the model's.

    Args:
        inferencer: The model.
        reader: What was exported, run as its target runs it.
        crops: Files, or uint8 (H, W, 3), BGR; at least one.
        tolerance: Largest distance, 1 - cosine, that the conversion alone may make.
        resizes_alike: Whether the target resizes as the model, so that crops as they are must agree, too.
        hint: The end of the error's sentence.

    Returns:
        The comparison.

    Raises:
        InputError: The distance is larger, or features are not finite.
    """
    resize = Compose([TRANSFORMS.build(step) for step in inferencer.cfg.test_pipeline[1:-1]])
    resized = [resize({"img": one})["img"] for one in read_crops(crops)]
    conversion = float(1 - _cosines(inferencer, reader, resized).min())
    cosines = _cosines(inferencer, reader, crops)
    least = float(cosines.min())
    worst = max(conversion, 1 - least) if resizes_alike else conversion
    if not worst <= tolerance:
        raise InputError(
            f"features of what was exported and of the model differ by up to {worst:.1e} (1 - cosine) on {len(crops)} "
            f"images{'' if resizes_alike else ' of the size of the input'}, expected at most {tolerance:.0e}: {hint}."
        )
    return Agreement(conversion, float(cosines.mean()), least)


def _cosines(
    inferencer: ReIDInferencer, reader: Reader, crops: Sequence[str | np.ndarray]
) -> np.ndarray:
    """Of both features of each crop, float64 (N,): a cosine near 1 needs more digits than float32 has."""
    ours = inferencer.extract(list(crops)).astype(np.float64)
    theirs = np.asarray(reader(crops), np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return np.einsum("nd,nd->n", ours, theirs) / lengths
