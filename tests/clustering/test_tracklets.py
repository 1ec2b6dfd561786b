"""Tracklets become nodes, and are cut where the tracker took up somebody else."""

import numpy as np
import pytest

from mmreid_uda.clustering.tracklets import (
    chain_links,
    half_distances,
    identity_switches,
    tracklet_nodes,
)
from mmreid_uda.neighbors import unit_rows
from mmreid_uda.structures import Evidence, Links
from mmreid_uda.utils import InputError


def walk(person, num, rng, dim=64):
    """Images of one person in a row: a look that drifts, and noise."""
    drift = np.cumsum(0.05 * rng.standard_normal((num, dim)), axis=0)
    return person + drift + 0.3 * rng.standard_normal((num, dim))


def tracked(rng, pure=30, switched=6, num=20):
    """Tracklets of one person each, and some of two; and where the latter switch."""
    people = rng.standard_normal((pure + 2 * switched, 64))
    rows = [walk(person, num, rng) for person in people[:pure]]
    for number in range(switched):
        one, other = people[pure + 2 * number : pure + 2 * number + 2]
        rows.append(np.concatenate([walk(one, num // 2, rng), walk(other, num // 2, rng)]))
    return unit_rows(np.concatenate(rows)), np.repeat(np.arange(pure + switched), num)


def test_images_are_chained_in_the_order_of_time():
    tracklets = np.array([1, 0, 1, -1, 1, 0, 1])
    times = np.array([3.0, 1.0, 2.0, 0.0, np.nan, 1.0, 2.0])
    first, second = chain_links(tracklets, times)
    assert list(zip(first.tolist(), second.tolist())) == [(1, 5), (2, 6), (6, 0), (0, 4)]


def test_switches_are_found_and_pure_tracklets_are_left_alone():
    features, tracklets = tracked(np.random.default_rng(0))
    evidence = Evidence(np.zeros(len(tracklets)), np.arange(len(tracklets)), tracklets)
    nodes, cuts = tracklet_nodes(features, evidence, identity_switches(features, evidence, 8.0))
    assert cuts == 6 and nodes.max() + 1 == 42
    expected = np.concatenate([np.repeat(np.arange(30), 20), np.repeat(np.arange(30, 42), 10)])
    np.testing.assert_array_equal(nodes, expected)
    whole, cuts = tracklet_nodes(features, evidence)
    np.testing.assert_array_equal(whole, tracklets)
    assert cuts == 0


def slow_gain(rows, at, window=12):
    before, after = rows[max(at - window, 0) : at], rows[at : at + window]

    def spread(part):
        return ((part - part.mean(0)) ** 2).sum() / 2

    return spread(np.concatenate([before, after])) - spread(before) - spread(after)


def test_a_place_is_judged_by_the_gain_of_two_means_and_the_jump():
    features, tracklets = tracked(np.random.default_rng(1), pure=3, switched=1, num=30)
    times = np.arange(len(tracklets)) * 1.0
    evidence = Evidence(np.zeros(len(tracklets)), times, tracklets)
    first, second = chain_links(tracklets, times)
    distances = 1 - (features[first] * features[second]).sum(1)
    rows = [features[tracklets == number] for number in range(4)]
    gains = [[slow_gain(row, at) for at in range(1, len(row))] for row in rows]
    unit = np.median(np.concatenate(gains)) * np.median(distances)
    scores = np.concatenate(gains) * distances / unit
    best = np.sort(scores)[-1]
    # The highest score of all is the switch, and falls by a hair's breadth of the threshold.
    found = identity_switches(features, evidence, best * 0.999)
    np.testing.assert_array_equal(np.flatnonzero(found), [scores.argmax()])
    assert not identity_switches(features, evidence, best * 1.001).any()
    assert tracklets[first[scores.argmax()]] == 3


def test_the_halves_of_a_tracklet_are_compared():
    rng = np.random.default_rng(0)
    features = unit_rows(rng.standard_normal((16, 8)))
    nodes = np.array([0, 1, 0, 1, 0, 1, 0, 1, 1, 2, 2, 2, -1, -1, -1, -1])
    times = rng.random(16)
    expected = []
    for number in (0, 1):
        members = np.flatnonzero(nodes == number)
        members = members[np.argsort(times[members])]
        middle = (len(members) + 1) // 2
        one, other = features[members[:middle]].mean(0), features[members[middle:]].mean(0)
        expected.append(1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    np.testing.assert_allclose(half_distances(features, nodes, times), expected, rtol=1e-5)


def test_images_without_tracklet_are_nodes_of_their_own():
    features = unit_rows(np.random.default_rng(0).standard_normal((5, 8)))
    evidence = Evidence(np.zeros(5), tracklets=np.array([-1, 7, -1, 7, -1]))
    nodes, cuts = tracklet_nodes(features, evidence, identity_switches(features, evidence, 4.0))
    assert (nodes.tolist(), cuts) == ([0, 1, 2, 1, 3], 0)
    nothing = Evidence(np.zeros(5))
    assert tracklet_nodes(features, nothing, identity_switches(features, nothing, 4.0))[
        0
    ].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("priority, expected", [(2, [0, 0, 0, 1, 1]), (1, [0] * 5)])
def test_a_persons_cannot_link_cuts_at_the_largest_jump(priority, expected):
    angles = np.array([0.0, 0.1, 0.2, 0.9, 1.0])
    features = unit_rows(np.stack([np.cos(angles), np.sin(angles)], 1))
    links = Links(np.array([0]), np.array([4]), np.array([False]), np.array([priority]))
    evidence = Evidence(np.zeros(5), np.arange(5), np.zeros(5), links=links)
    nodes, cuts = tracklet_nodes(features, evidence)
    assert nodes.tolist() == expected
    assert cuts == max(expected)
    assert tracklet_nodes(features, evidence, links=False)[1] == 0


def test_a_must_link_of_a_person_may_say_that_two_tracklets_are_cut():
    # 0-1 and 2-3 are tracklets; 0 is 2, yet 1 is not 3: one of the two must be cut, the one with the larger step.
    angles = np.array([0.0, 0.1, 0.0, 0.5])
    features = unit_rows(np.stack([np.cos(angles), np.sin(angles)], 1))
    links = Links(np.array([0, 1]), np.array([2, 3]), np.array([True, False]), np.array([2, 2]))
    evidence = Evidence(np.zeros(4), np.arange(4), np.array([0, 0, 1, 1]), links=links)
    nodes, cuts = tracklet_nodes(features, evidence)
    assert (nodes.tolist(), cuts) == ([0, 0, 1, 2], 1)


def test_a_link_that_cannot_be_is_an_error():
    links = Links(np.array([1]), np.array([1]), np.array([False]), np.array([2]))
    evidence = Evidence(np.zeros(3), tracklets=np.zeros(3), links=links)
    with pytest.raises(InputError, match="image 1"):
        tracklet_nodes(np.eye(3, dtype=np.float32), evidence)
