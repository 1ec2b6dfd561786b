"""What is known of images beside their pixels: camera, time, tracklet, and links between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

__all__ = ["Evidence", "Links"]


@dataclass(frozen=True)
class Links:
    """What somebody, or a tracker, says of pairs of images: the same subject, or two.

    Args:
        first: int64 (L,), positions of images in the dataset.
        second: int64 (L,), the other image of each pair.
        must: bool (L,), True = the same subject, False = two subjects (cannot-link).
        priority: int64 (L,), of contradicting links the higher one is kept; a person's is 2, that of a rule 1.
    """

    first: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    second: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    must: np.ndarray = field(default_factory=lambda: np.zeros(0, np.bool_))
    priority: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.first)

    def chosen(self, which: np.ndarray) -> Links:
        """Some of the links.

        Args:
            which: bool (L,), or int64 positions.

        Returns:
            These links, in their order.
        """
        return Links(self.first[which], self.second[which], self.must[which], self.priority[which])


class Evidence:
    """What is known of N images beside their pixels; every part may be unknown, of all images or of some.

    The arguments are attributes, too, arrays of full length. These lie in shared memory, and a copy of a dataset shares
    them: a correction reaches running workers.

    Args:
        cameras: int64 (N,), -1 = unknown.
        times: float64 (N,) in seconds, on one clock for all cameras; NaN = unknown.
        tracklets: int64 (N,), -1 = unknown. Images of one number were followed by a tracker within one camera.
        ignored: bool (N,), images that show no subject and get no label.
        links: Between images.
        camera_names: Names by number of camera, where the data name them.
        tracklet_names: Names by number of tracklet, where the data name them.
    """

    def __init__(
        self,
        cameras: np.ndarray,
        times: np.ndarray | None = None,
        tracklets: np.ndarray | None = None,
        ignored: np.ndarray | None = None,
        links: Links | None = None,
        camera_names: Sequence[str] | None = None,
        tracklet_names: Sequence[str] | None = None,
    ) -> None:
        num = len(cameras)
        self.cameras = _shared(cameras, np.int64)
        self.times = _shared(np.full(num, np.nan) if times is None else times, np.float64)
        self.tracklets = _shared(np.full(num, -1) if tracklets is None else tracklets, np.int64)
        self.ignored = _shared(np.zeros(num) if ignored is None else ignored, np.bool_)
        self.links = Links() if links is None else links
        self.camera_names, self.tracklet_names = camera_names, tracklet_names

    @classmethod
    def unknown(cls, num: int) -> Evidence:
        """Nothing is known.

        Args:
            num: N.

        Returns:
            Evidence of N images.
        """
        return cls(np.full(num, -1))

    def __len__(self) -> int:
        return len(self.cameras)

    def __deepcopy__(self, memo: dict) -> Evidence:
        return self

    @property
    def has_cameras(self) -> bool:
        """Whether the camera of any image is known."""
        return bool((self.cameras >= 0).any())

    @property
    def named_cameras(self) -> np.ndarray:
        """Names of the cameras, (N,), or their numbers as texts where the data name none; '' = unknown."""
        return _named(self.cameras, self.camera_names)

    @property
    def named_tracklets(self) -> np.ndarray:
        """Names of the tracklets, (N,), or their numbers as texts where the data name none; '' = unknown."""
        return _named(self.tracklets, self.tracklet_names)

    @property
    def has_times(self) -> bool:
        """Whether the time of any image is known."""
        return bool(np.isfinite(self.times).any())

    @property
    def has_tracklets(self) -> bool:
        """Whether any image belongs to a tracklet."""
        return bool((self.tracklets >= 0).any())


def _named(numbers: np.ndarray, names: Sequence[str] | None) -> np.ndarray:
    """Texts in place of numbers, of which -1 is unknown."""
    texts = range(numbers.max(initial=-1) + 1) if names is None else names
    return np.array(["", *map(str, texts)])[numbers + 1]


def _shared(values: np.ndarray, dtype: type) -> np.ndarray:
    """A copy in memory that processes share."""
    array: np.ndarray = np.array(values, dtype=dtype)
    return torch.from_numpy(array).share_memory_().numpy()
