"""What the steps of the Jaccard distance read: which neighbours make an image's set, and over which it is averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmreid_uda.utils import InputError

from .knn import Neighbors

__all__ = ["RankLists", "plain_lists", "too_many_pairs"]


@dataclass(frozen=True)
class RankLists:
    """Lists of neighbours, one row per image; -1 stands behind the end of a shorter list.

    Args:
        sets: int32 (N, k), in which images must be mutual to be of an image's set.
        others: int32 (N, l), the same for second sets; unless united, the first columns of ``sets``.
        united: Whether an image's set and its second set are united; else those second sets are added that belong to
            its members and share more than two thirds with its set.
        averaged: int32 (N, m), over whose encodings an image's is averaged, the image itself first.
        known: Whose similarities are used again.
    """

    sets: np.ndarray
    others: np.ndarray
    united: bool
    averaged: np.ndarray
    known: Neighbors


def plain_lists(neighbors: Neighbors, k1: int, k2: int) -> RankLists:
    """The lists of the k-reciprocal Jaccard distance (Zhong et al., CVPR 2017).

    Args:
        neighbors: As many as there are to be known.
        k1: Neighbours of the sets.
        k2: Neighbours of the query expansion.

    Returns:
        Sets of ``k1`` neighbours, second sets of half as many.
    """
    ranks = neighbors.indices
    half = int(np.around(k1 / 2)) + 1  # halves round to even, as in the papers: k1 = 5 gives 2 + 1
    return RankLists(ranks[:, : k1 + 1], ranks[:, :half], False, ranks[:, :k2], neighbors)


def too_many_pairs(max_pairs: int, max_distance: float) -> InputError:
    """What is raised where a graph outgrows its memory.

    Args:
        max_pairs: How many pairs are allowed.
        max_distance: Within which they are.

    Returns:
        The error.
    """
    return InputError(
        f"found more than {max_pairs} pairs of images within a Jaccard distance of {max_distance:.3g}, which would "
        "take more than max_memory: lower eps of the clusterer, raise its max_memory, or look whether the features "
        "have collapsed."
    )
