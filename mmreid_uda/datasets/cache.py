"""Decoded and resized images kept in memory, so that later epochs do not decode them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from mmreid_uda.utils import InputError, parse_size

from .transforms import LoadReIDImage, Resize

__all__ = ["CachedImages", "ImageCache"]


class ImageCache:
    """The images of one dataset, decoded and resized, within a budget.

    Pipelines that begin alike share what they begin with: training and the extraction of features decode an image
    once between them. Pipelines that begin differently (another size) are cached apart, from what is left.

    Args:
        budget: Most bytes to take, as :func:`~mmreid_uda.utils.parse_size` reads them.
        num_images: Images N of the dataset.
        name: The dataset, for log and messages.

    Raises:
        InputError: The budget is no size.
    """

    def __init__(self, budget: str | int, num_images: int, name: str) -> None:
        self.budget = budget
        self.num_images = num_images
        self.name = name
        self._left = parse_size(budget, "cache")
        self._starts: list[CachedImages] = []

    def put_into(self, transforms: Sequence[Callable]) -> list[Callable]:
        """Replace the loading and resizing that a pipeline begins with by their cached results.

        Args:
            transforms: The transforms of a pipeline; an empty one stays empty.

        Returns:
            The pipeline that gives the same items.

        Raises:
            InputError: It does not begin with ``LoadReIDImage`` and a ``Resize`` to one size; or the memory cannot be
                had.
        """
        if not transforms:
            return []
        load, resize = (*transforms, None)[:2]
        # Only these very classes: a subclass may draw at random, or read more of the item than the path.
        if type(load) is not LoadReIDImage or type(resize) is not Resize or not _one_size(resize):
            raise InputError(
                f"cache={self.budget!r} was given for {self.name}, but its pipeline begins with "
                f"{type(load).__name__} and {type(resize).__name__}, expected LoadReIDImage and a Resize to one size, "
                "whose results are kept; change the pipeline, or set cache=None"
            )
        return [self._cached(load, resize), *transforms[2:]]

    def _cached(self, load: LoadReIDImage, resize: Resize) -> CachedImages:
        """The cached start of a pipeline; one and the same for equal transforms."""
        for start in self._starts:
            if vars(start.load) == vars(load) and vars(start.resize) == vars(resize):
                return start
        each = record_of(resize).itemsize
        fitting = min(self.num_images, self._left // each)
        size = f"{fitting * each / 1e6:.4g} MB"
        try:
            start = CachedImages(load, resize, fitting)
        except RuntimeError as error:
            raise InputError(
                f"cache={self.budget!r} of {self.name} takes {size} of shared memory, of which there is not enough "
                f"({error}); set a smaller cache, or start the container with a larger --shm-size"
            ) from error
        self._left -= fitting * each
        self._starts.append(start)
        width, height = resize.scale
        print_log(
            f"{self.name}: the cache of {self.budget} has room for {fitting} of {self.num_images} images of "
            f"{height}×{width} ({size})",
            logger="current",
        )
        return start


class CachedImages:
    """Loading and resizing of the first images of a dataset, done once and then copied out of memory.

    Whichever process comes to an image first, worker or not, fills its place for all: the memory is shared with
    workers that are forked or spawned later, and stays the same when a dataset is copied. Two processes that fill one
    place at a time write the same bytes.

    Args:
        load: The loading transform.
        resize: The resizing to one size.
        num_images: Images M that have a place. All memory is taken now: a lack shows here, and not in a worker.

    Attributes:
        memory: uint8 (M × bytes of :func:`record_of`), shared.

    Raises:
        RuntimeError: There is not enough shared memory.
    """

    def __init__(self, load: LoadReIDImage, resize: Resize, num_images: int) -> None:
        self.load = load
        self.resize = resize
        self.record = record_of(resize)
        size = num_images * self.record.itemsize
        self.memory = torch.empty(size, dtype=torch.uint8).share_memory_()
        self.places["filled"] = False

    @property
    def places(self) -> np.ndarray:
        """The memory as an array (M,) of :func:`record_of`."""
        return self.memory.numpy().view(self.record)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Do what loading and resizing do to an item.

        Args:
            results: An item with ``img_path``, and ``place``, its position in the dataset, which is taken out.
        """
        place = results.pop("place")
        places = self.places
        if place >= len(places):
            return self._make(results)
        if not places["filled"][place]:
            results = self._make(results)
            places["pixels"][place] = results["img"]
            places["scale_factor"][place] = results["scale_factor"]
            # Last: who sees the flag finds whole pixels, also after a worker was killed in between.
            places["filled"][place] = True
            return results
        # A copy, so that no later transform can write into the cache.
        image = places["pixels"][place].copy()
        results.update(
            img=image,
            img_shape=image.shape[:2],
            scale=self.resize.scale,
            scale_factor=tuple(places["scale_factor"][place].tolist()),
            keep_ratio=False,
        )
        return results

    def _make(self, results: dict[str, Any]) -> dict[str, Any]:
        return self.resize(self.load(results))

    def __deepcopy__(self, memo: dict) -> CachedImages:
        return self


def record_of(resize: Resize) -> np.dtype:
    """What is kept of an image.

    Args:
        resize: The step that gives every image its size.

    Returns:
        A structured type: ``pixels`` uint8 (H, W, 3), ``scale_factor`` float64 (2,) and ``filled``.
    """
    width, height = resize.scale
    return np.dtype(
        [("pixels", "u1", (height, width, 3)), ("scale_factor", "f8", 2), ("filled", "?")]
    )


def _one_size(resize: Resize) -> bool:
    """Tell whether images of every size and shape come out with one."""
    return resize.scale is not None and not resize.keep_ratio
