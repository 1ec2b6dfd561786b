"""Clusters beside the truth: whole identities, identities in pieces, and clusters of several people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmreid_uda.utils import InputError

from .tiles import BLUE, GRAY, GREEN, ORANGE, RED, framed, read_crop, row_of, stacked

__all__ = ["ClusterKinds", "cluster_kinds", "draw_cluster_collage"]


@dataclass(frozen=True)
class ClusterKinds:
    """Clusters by what is wrong with them, the largest first.

    Args:
        pure: Numbers of clusters that hold one identity which is in no other cluster.
        split: Identities that fill two or more clusters of their own (true labels, not clusters).
        merged: Numbers of clusters that hold several identities.
    """

    pure: list[int]
    split: list[int]
    merged: list[int]


def cluster_kinds(labels: np.ndarray, true_labels: np.ndarray) -> ClusterKinds:
    """Compare clusters with the truth; outliers, and images of unknown identity, are left out.

    Args:
        labels: int (N,), negative = outlier.
        true_labels: int (N,), negative = unknown.

    Returns:
        The clusters by kind. One that is merged counts as nothing else.
    """
    used = (labels >= 0) & (true_labels >= 0)
    cells = np.unique(np.stack([labels[used], true_labels[used]]), axis=1)
    clusters, num_identities = np.unique(cells[0], return_counts=True)
    merged = clusters[num_identities > 1]
    single = cells[:, ~np.isin(cells[0], merged)]
    in_clusters = dict(zip(*(part.tolist() for part in np.unique(cells[1], return_counts=True))))
    identities, pieces = np.unique(single[1], return_counts=True)
    pure = [int(cluster) for cluster, identity in single.T if in_clusters[int(identity)] == 1]

    def largest_first(numbers: Sequence[int], among: np.ndarray) -> list[int]:
        return sorted(numbers, key=lambda number: (-int((among[used] == number).sum()), number))

    return ClusterKinds(
        pure=largest_first(pure, labels),
        split=largest_first(identities[pieces > 1].tolist(), true_labels),
        merged=largest_first(merged.tolist(), labels),
    )


def draw_cluster_collage(
    paths: Sequence[str],
    labels: np.ndarray,
    true_labels: np.ndarray,
    rows: int = 3,
    per_row: int = 12,
    size: tuple[int, int] = (96, 48),
) -> np.ndarray:
    """Draw some clusters of each kind.

    A pure cluster is green. A split identity is one row, its clusters blue and orange in turn, its outliers grey at the
    end. A merged cluster has the images of its most frequent identity in green, then the others in red.

    Args:
        paths: Of the N images.
        labels: int (N,), negative = outlier.
        true_labels: int (N,), negative = unknown.
        rows: Rows per kind, the largest ones.
        per_row: Images per row at most.
        size: Height and width of an image in pixels.

    Returns:
        A BGR picture, uint8 (H, W, 3).

    Raises:
        InputError: If there is nothing to compare, or an image cannot be read.
    """
    kinds = cluster_kinds(labels, true_labels)
    drawn: list[np.ndarray] = []
    captions: list[str] = []

    def add(caption: str, groups: list[tuple[np.ndarray, tuple[int, int, int]]]) -> None:
        room, tiles = per_row, []
        for members, color in groups:
            shown, room = members[:room], room - len(members[:room])
            if len(shown):
                tiles.append([framed(read_crop(paths[one]), size, color) for one in shown])
        drawn.append(row_of(tiles))
        captions.append(caption)

    for cluster in kinds.pure[:rows]:
        members = np.flatnonzero(labels == cluster)
        add(f"pure: cluster {cluster}, {len(members)} images", [(members, GREEN)])
    for identity in kinds.split[:rows]:
        of_identity = true_labels == identity
        pieces = [
            np.flatnonzero(of_identity & (labels == one)) for one in _clusters(labels[of_identity])
        ]
        left = np.flatnonzero(of_identity & (labels < 0))
        groups = [(piece, (BLUE, ORANGE)[number % 2]) for number, piece in enumerate(pieces)]
        add(
            f"split: identity {identity} in {len(pieces)} clusters, {len(left)} outliers",
            [*_shared(groups, per_row), (left, GRAY)],
        )
    for cluster in kinds.merged[:rows]:
        members = np.flatnonzero((labels == cluster) & (true_labels >= 0))
        identities, counts = np.unique(true_labels[members], return_counts=True)
        main = true_labels[members] == identities[counts.argmax()]
        groups = [(members[main], GREEN), (members[~main], RED)]
        add(
            f"merged: cluster {cluster}, {len(members)} images of {len(identities)} identities",
            _shared(groups, per_row),
        )
    if not drawn:
        raise InputError(
            f"found {int((labels >= 0).sum())} of {len(labels)} images in clusters and "
            f"{int((true_labels >= 0).sum())} with a true identity, expected both for some image to compare them."
        )
    return stacked(drawn, captions)


def _clusters(labels: np.ndarray) -> list[int]:
    """Clusters among some labels, the one with most images first."""
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    return numbers[np.argsort(-counts, kind="stable")].tolist()


def _shared(
    groups: list[tuple[np.ndarray, tuple[int, int, int]]], room: int
) -> list[tuple[np.ndarray, tuple[int, int, int]]]:
    """Shorten groups so that each has its share of a row: the first must not push the others out."""
    share = max(1, room // len(groups))
    spare = max(0, room - sum(min(share, len(members)) for members, _ in groups))
    shortened = []
    for members, color in groups:
        kept = members[: share + spare]
        spare -= max(0, len(kept) - share)
        shortened.append((kept, color))
    return shortened
