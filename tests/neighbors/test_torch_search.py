"""The search by torch never makes a GPU wait, and finds the same then, ties included."""

from collections import Counter

import numpy as np
import pytest
import torch
from synchronization import synchronizations

from mmreid_uda.neighbors.lists import Wanted
from mmreid_uda.neighbors.torch_search import search_by_torch

RNG = np.random.default_rng(0)
# Cosines are multiples of 1/8 and repeat themselves.
SIGNS = torch.from_numpy((2 * RNG.integers(0, 2, (300, 16)) - 1).astype(np.float32) / 4)
CAMERAS = RNG.integers(0, 3, 300).astype(np.int32)
WANTED = [Wanted(12), Wanted(7, CAMERAS, same=True), Wanted(9, CAMERAS)]


def blocks_of(size):
    starts = range(0, 300, size)
    return [(first, second) for first in starts for second in starts if second >= first]


@pytest.mark.parametrize("size", [64, 300])
def test_without_waiting_the_lists_are_those_of_a_full_sort(size):
    found = search_by_torch(SIGNS, WANTED, blocks_of(size), size, waiting=False)
    cosines = (SIGNS @ SIGNS.T).numpy()
    np.fill_diagonal(cosines, np.inf)
    same = CAMERAS[:, None] == CAMERAS
    for lists, allowed in zip(found, (np.ones_like(same), same, ~same)):
        scores = np.where(allowed, cosines, -np.inf)
        expected = np.argsort(-scores, 1, kind="stable")[:, : lists.wanted.k]
        np.testing.assert_array_equal(lists.indices, expected)
        np.testing.assert_array_equal(lists.scores, np.take_along_axis(scores, expected, 1))
    waited = search_by_torch(SIGNS, WANTED, blocks_of(size), size)
    for ours, theirs in zip(found, waited):
        for one, other in zip(ours.arrays, theirs.arrays):
            np.testing.assert_array_equal(one, other)


def test_a_gpu_does_not_wait_within_the_search():
    def waits(size, waiting):
        return synchronizations(
            lambda: search_by_torch(SIGNS, WANTED, blocks_of(size), size, waiting)
        )

    # The lists are read at the end, however many blocks there were.
    assert waits(300, False) == waits(50, False) == Counter(numpy=9, cpu=9)
    assert waits(50, True)["_local_scalar_dense"] > 0
