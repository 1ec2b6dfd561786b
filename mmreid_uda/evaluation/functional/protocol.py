"""The rules of an evaluation: which gallery images are a query's matches, and which take no part."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.datasets.unknown import known
from mmreid_uda.utils import InputError, make_rng

__all__ = ["CMC", "AveragePrecision", "Protocol", "SameCamera", "SingleShot"]

SameCamera = Literal["remove", "keep"]
"""What becomes of a query's matches from its own camera."""
CMC = Literal["market", "cuhk03"]
"""The gallery that the CMC is measured on: all of it, or drawn single shots."""
AveragePrecision = Literal["precision", "trapezoid"]
"""The way to measure the average precision."""

_JUNK = -1
_REPEATS = 10  # galleries drawn by the CUHK03 protocol


class Protocol:
    """Which gallery images are a query's matches, and which take no part in its ranking.

    Junk, images of unknown identity (-1, NaN, None, or a text that stands for none), is left out of the gallery:
    columns count what is kept. The images of a query's identity are
    ``by_identity[run_start : run_start + run_length]``; of these, the ones with the query's mark are ignored and the
    others its matches.

    Args:
        query_pids: (Q,), integers or strings.
        gallery_pids: (G,).
        query_camids: int (Q,), negative = unknown.
        gallery_camids: int (G,), negative = unknown.
        same_camera: ``'remove'`` or ``'keep'``, see ``evaluate_rank``.
        query_ids: (Q,), of the images themselves, or None.
        gallery_ids: (G,), or None.

    Raises:
        InputError: Lengths disagree.
    """

    def __init__(
        self,
        query_pids: Any,
        gallery_pids: Any,
        query_camids: Any,
        gallery_camids: Any,
        same_camera: SameCamera = "remove",
        query_ids: Any = None,
        gallery_ids: Any = None,
    ) -> None:
        query, _ = _identities("query_pids", query_pids)
        gallery, is_junk = _identities("gallery_pids", gallery_pids)
        self.num_queries, self.num_gallery = len(query), len(gallery)
        self.kept = np.flatnonzero(~is_junk)
        identities, codes = np.unique(
            np.concatenate([query, gallery[self.kept]]), return_inverse=True
        )
        self.num_identities = len(identities)
        self.query_pids, self.gallery_pids = np.split(codes, [len(query)])
        self.query_camids = self._per_image("query_camids", query_camids, self.num_queries)
        self.gallery_camids = self._per_image("gallery_camids", gallery_camids, self.num_gallery)[
            self.kept
        ]
        if query_ids is not None and gallery_ids is not None:
            images = (
                self._per_image("query_ids", query_ids, self.num_queries),
                self._per_image("gallery_ids", gallery_ids, self.num_gallery)[self.kept],
            )
        else:  # marks that are never equal: every image of the identity is a match
            images = np.full(self.num_queries, -1), np.full(len(self.kept), -2)
        # As integers, whatever the marks were.
        exclusion_keys = np.unique(np.concatenate(images), return_inverse=True)[1]
        cameras = _numbers(np.concatenate([self.query_camids, self.gallery_camids]))
        self.num_cameras = len(np.unique(cameras[cameras >= 0]))
        if same_camera == "remove":
            # An unknown camera is that of no other image.
            exclusion_keys = np.where(
                cameras < 0, cameras.max(initial=-1) + 1 + exclusion_keys, cameras
            )
            self.query_camids, self.gallery_camids = np.split(exclusion_keys, [len(query)])
        self.query_exclusion_keys, self.gallery_exclusion_keys = np.split(
            exclusion_keys, [len(query)]
        )
        # Gallery sorted by identity: a query's images of its own identity are one run of it.
        self.by_identity = np.argsort(self.gallery_pids, kind="stable")
        ordered = self.gallery_pids[self.by_identity]
        self.run_start = np.searchsorted(ordered, self.query_pids, "left")
        self.run_length = np.searchsorted(ordered, self.query_pids, "right") - self.run_start

    @staticmethod
    def _per_image(name: str, values: Any, length: int) -> np.ndarray:
        array = _to_numpy(values)
        if array.shape != (length,):
            raise InputError(
                f"{name} has shape {array.shape}, but there are {length} images with a pid."
            )
        return array

    def without_junk(self, block: Tensor) -> Tensor:
        """Drop the columns of junk images.

        Args:
            block: float32 (rows, G), distances.

        Returns:
            float32 (rows, kept); the block itself if there is no junk.
        """
        if len(self.kept) == self.num_gallery:
            return block
        return block[:, torch.from_numpy(self.kept).to(block.device)]

    def pairs(
        self, start: int, stop: int
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """List the matches and the ignored entries of queries ``start..stop-1``.

        Returns:
            Two pairs of (row, column), int64, ascending by row, then by column; rows are counted from ``start``.

        Args:
            start: First query.
            stop: Behind the last query.
        """
        length = self.run_length[start:stop]
        row = np.repeat(np.arange(stop - start), length)
        position = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        column = self.by_identity[np.repeat(self.run_start[start:stop], length) + position]
        ignored = self.query_exclusion_keys[start + row] == self.gallery_exclusion_keys[column]
        return (row[~ignored], column[~ignored]), (row[ignored], column[ignored])

    def no_match_message(self) -> str:
        """Why no query can be evaluated, with the numbers a user needs to see what is wrong.

        Returns:
            The end of a sentence.
        """
        shared = len(np.intersect1d(self.query_pids, self.gallery_pids))
        hint = (
            "every match has the query's camera: set same_camera='keep' if the cameras are unknown or only one"
            if shared
            else "query and gallery must show the same people: check the pids of both"
        )
        return (
            f"none of {self.num_queries} queries has a match among {self.num_gallery} gallery images "
            f"({shared} shared identities, {self.num_cameras} cameras); {hint}."
        )


class SingleShot:
    """The CUHK03 protocol's galleries: one image per identity, none of the query's camera, drawn ten times.

    All queries of a camera meet the same ten galleries.

    Args:
        protocol: The rules.
        seed: Seed of the draws.
    """

    def __init__(self, protocol: Protocol, seed: int) -> None:
        self.protocol = protocol
        self.shots = {
            camera: [
                self._draw(camera, make_rng(seed, "cuhk03", index, i)) for i in range(_REPEATS)
            ]
            for index, camera in enumerate(np.unique(protocol.query_camids))
        }

    def _draw(self, camera: int, rng: np.random.Generator) -> np.ndarray:
        """Draw one image per identity: int64 (identities,), -1 where an identity has none in other cameras."""
        shuffled = rng.permutation(np.flatnonzero(self.protocol.gallery_camids != camera))
        identity, first = np.unique(self.protocol.gallery_pids[shuffled], return_index=True)
        shot = np.full(self.protocol.num_identities, -1)
        shot[identity] = shuffled[first]
        return shot

    def hits(self, block: Tensor, start: int, rows: np.ndarray, max_rank: int) -> np.ndarray:
        """Histogram of the match's place, mean over the galleries.

        Args:
            block: (queries, G) distances, without junk.
            start: Index of the block's first query.
            rows: Rows of the block to evaluate, each with at least one match.
            max_rank: Places from here on share the last bin.

        Returns:
            float64 (max_rank + 1,), which sums to the number of ``rows``.
        """
        total = np.zeros(max_rank + 1)
        cameras = self.protocol.query_camids[start + rows]
        for camera in np.unique(cameras):
            queries = rows[cameras == camera]
            identity = self.protocol.query_pids[start + queries]
            distances = block[torch.from_numpy(queries).to(block.device)]
            for shot in self.shots[camera]:
                match = torch.from_numpy(shot[identity]).to(block.device)[:, None]
                column = torch.from_numpy(shot[shot >= 0]).to(block.device)
                drawn, nearest = distances[:, column], distances.gather(1, match)
                before = (drawn < nearest) | ((drawn == nearest) & (column < match))
                place = before.sum(1).clamp(max=max_rank).cpu().numpy()
                total += np.bincount(place, minlength=max_rank + 1)
        return total / _REPEATS


def _identities(name: str, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Identities (N,), numbers or texts, and which are unknown: bool (N,)."""
    array = _to_numpy(values)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}, expected one identity per image.")
    if array.dtype.kind in "iub":
        return array, array == _JUNK
    if array.dtype.kind == "f":
        unknown = np.isnan(array) | (array == _JUNK)
        array = np.where(unknown, _JUNK, array)
        whole = bool((array == np.trunc(array)).all())
        return array.astype(np.int64) if whole else array, unknown
    names = [known(one) for one in array.tolist()]
    unknown = np.array([one is None or one == _JUNK for one in names], dtype=bool)
    return np.array([str(one) for one in names], dtype=str), unknown


def _numbers(cameras: np.ndarray) -> np.ndarray:
    """Cameras as int64, NaN, which data frames have for a missing one, as -1; names as numbers."""
    if cameras.dtype.kind == "f":
        cameras = np.where(np.isnan(cameras), -1, cameras)
    elif cameras.dtype.kind not in "iub":
        cameras = np.unique(cameras, return_inverse=True)[1]
    return cameras.astype(np.int64)


def _to_numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
