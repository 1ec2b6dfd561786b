"""Camera-aware Jaccard distance: neighbours within and across cameras take the place of the nearest of all."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from mmengine.logging import print_log

from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, Natural, checked

from .knn import CameraNeighbors, Neighbors
from .rank_lists import RankLists, plain_lists

__all__ = ["CameraLists", "Fill", "camera_numbers"]

Fill = Literal["official", "none"]
"""What stands behind the end of a list of neighbours in a camera."""


@checked
@dataclass(frozen=True)
class CameraLists:
    """Which neighbours the camera-aware Jaccard distance looks at.

    An image has two lists of neighbours: *intra*, the nearest of its own camera, itself first, and *inter*, the nearest
    of the others. Its set are the images that are mutual in either, without the expansion of the plain distance; its
    encoding is averaged over the first of both lists.

    Source: Chen et al., "CA-Jaccard: Camera-aware Jaccard Distance for Person Re-identification", CVPR 2024.

    Args:
        k1_intra: Neighbours within the camera that make the sets, beside the image itself. Defaults to 5.
        k1_inter: Neighbours in other cameras, likewise. Defaults to 20.
        k2_intra: Images of the camera in the average, the image itself included. Defaults to 3.
        k2_inter: Images of other cameras in the average. Defaults to 3.
        sets: Whether sets are camera-aware (CKRNNs); else they are the plain ones of ``k1`` neighbours.
        expansion: Whether the average is (CLQE); else it is the plain one over ``k2``. ``k2 = 1`` switches off both.
        fill: What follows at the end of a list, where a camera has too few images: ``'official'`` (default), the
            nearest of the other kind, an image may then stand in both lists and count twice; or ``'none'``, nothing.

    Raises:
        InputError: If a parameter is out of range.
    """

    k1_intra: Count = 5
    k1_inter: Count = 20
    k2_intra: Count = 3
    k2_inter: Natural = 3
    sets: bool = True
    expansion: bool = True
    fill: Fill = "official"

    def scaled(self, k1: int, k2: int) -> CameraLists:
        """Lists for images that have another number of like ones than the paper's.

        Args:
            k1: Neighbours of the plain sets that would do; 30 stands for the paper's lists of 5 and 20.
            k2: Images of the plain average; 6 stands for 3 and 3.

        Returns:
            Lists that are shorter or longer in proportion, with one image at least, and two in the sets across cameras.
        """
        half = max(1, k2 // 2)
        return replace(
            self,
            k1_intra=max(1, round(k1 / 6)),
            k1_inter=max(2, round(2 * k1 / 3)),
            k2_intra=half,
            k2_inter=half,
        )

    def needed(self, cameras: np.ndarray, k1: int, k2: int) -> tuple[int, int]:
        """How long the lists of a search must be.

        Args:
            cameras: int32 (N,), of :func:`camera_numbers`.
            k1: Neighbours of the plain sets, for ``sets=False``.
            k2: Images of the plain average, for ``expansion=False``.

        Returns:
            Neighbours within the camera and across, at most N.

        Raises:
            InputError: There are too few images to fill the lists up.
        """
        num = len(cameras)
        largest = max(self.k1_intra, self.k1_inter) if self.sets else k1
        if self.fill == "official" and num < largest + 2:
            name = "k1_inter" if self.sets else "k1"
            raise InputError(
                f"found {num} images for the camera-aware distance with {name}={largest}, expected at least "
                f"{largest + 2}: lower {name}, or set fill='none', which takes shorter lists."
            )
        plain = max(0 if self.sets else k1 + 1, 0 if self.expansion else k2)
        intra = max(self.k1_intra + 1, self.k2_intra, plain)
        inter = max(self.k1_inter + 1, self.k2_inter, plain)
        sizes = np.bincount(cameras)
        # What a list lacks comes from the other kind, which must be as long then.
        all_intra = max(intra, inter) if num - sizes.max() < inter else intra
        all_inter = max(intra, inter) if sizes.min() < intra else inter
        return min(num, all_intra), min(num, all_inter)

    def select(self, neighbors: CameraNeighbors, k1: int, k2: int) -> RankLists:
        """The lists of the steps.

        Args:
            neighbors: As many as :meth:`needed` says.
            k1: As for :meth:`needed`.
            k2: Likewise; 1 averages nothing.

        Returns:
            The lists.
        """
        averaged = neighbors.intra.indices[:, :1]
        if not self.sets or not self.expansion:
            plain = plain_lists(neighbors.nearest(max(k1 + 1, k2)), k1, k2)
            sets, others, averaged = plain.sets, plain.others, plain.averaged
        if self.sets:
            sets = self._list(neighbors.intra, neighbors.inter, self.k1_intra + 1)
            others = self._list(neighbors.inter, neighbors.intra, self.k1_inter + 1)
        if self.expansion and k2 != 1:
            parts = (
                self._list(neighbors.intra, neighbors.inter, self.k2_intra),
                self._list(neighbors.inter, neighbors.intra, self.k2_inter),
            )
            averaged = np.concatenate(parts, 1)
        return RankLists(sets, others, self.sets, averaged, neighbors.together())

    def _list(self, first: Neighbors, second: Neighbors, k: int) -> np.ndarray:
        """int32 (N, k): the first list, and the second behind its end if lists are filled up."""
        ranks = first.indices[:, :k].copy()
        short = np.flatnonzero((ranks < 0).any(1))
        if self.fill == "official" and len(short):
            both = np.concatenate([first.indices[short, :k], second.indices[short, :k]], 1)
            known_first = np.argsort(both < 0, axis=1, kind="stable")[:, :k]
            ranks[short] = np.take_along_axis(both, known_first, 1)
        return ranks


OFFICIAL = CameraLists()
"""Those of the paper."""


def camera_numbers(cameras: np.ndarray | None, num: int) -> np.ndarray | None:
    """Numbers for the search; an image whose camera is unknown has a camera of its own.

    Args:
        cameras: int (N,), negative = unknown; None without any.
        num: N.

    Returns:
        int32 (N,), 0.. without gaps; None if no camera is known, of which a warning tells where an array was given.

    Raises:
        InputError: Not one whole number for each image.
    """
    if cameras is None:
        return None
    found = np.asarray(cameras)
    if found.shape != (num,) or found.dtype.kind not in "iu":
        raise InputError(
            f"found cameras of type {found.dtype} and shape {found.shape}, expected {num} whole numbers, one for each "
            "image, -1 where it is unknown: give `camid` of the data set."
        )
    unknown = found < 0
    if unknown.all():
        print_log(
            "no camera is known: distances are those without cameras",
            logger="current",
            level=logging.WARNING,
        )
        return None
    numbers = np.empty(num, np.int32)
    known, numbers[~unknown] = np.unique(found[~unknown], return_inverse=True)
    numbers[unknown] = np.arange(len(known), len(known) + unknown.sum())
    return numbers
