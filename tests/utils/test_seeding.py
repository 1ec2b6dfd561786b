"""Random streams follow from their keys, and an index carries its seed through a worker."""

import pickle

from mmreid_uda.utils import SeededIndex, make_rng


def test_equal_keys_give_equal_streams_and_other_keys_other_streams():
    draws = [
        make_rng(*keys).integers(2**32)
        for keys in [(1, 2, "a"), (1, 2, "a"), (1, 2, "b"), (1, 3, "a"), (2, 1, "a")]
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 4


def test_a_stream_is_the_same_on_every_machine():
    assert make_rng(0, "memory").integers(10**9) == 846709420


def test_a_seeded_index_is_an_int_and_keeps_its_seed_when_pickled():
    index = pickle.loads(pickle.dumps(SeededIndex(7, 2**40)))
    assert index == 7 and index.seed == 2**40 and list("abcdefgh")[index] == "h"
