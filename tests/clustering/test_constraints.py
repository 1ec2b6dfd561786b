"""Links without contradictions, what follows from them, and who was seen at the same time."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid_uda.clustering import consistent_links, make_constraints, time_conflicts
from mmreid_uda.structures import Links
from mmreid_uda.utils import InputError


def links(*rows):
    """Of (first, second, 'must' or 'cannot', priority)."""
    first, second, kind, priority = zip(*rows) if rows else ((), (), (), ())
    whole = [np.array(values, np.int64) for values in (first, second, priority)]
    return Links(whole[0], whole[1], np.array(kind) == "must", whole[2])


def closed(num, kept):
    """Groups as sets, and pairs of nodes that cannot be together: by hand, from the links that are kept."""
    groups = [{node} for node in range(num)]
    for first, second, kind, _ in kept:
        if kind == "must":
            a, b = (next(group for group in groups if node in group) for node in (first, second))
            if a is not b:
                groups.remove(b)
                a |= b
    cannot = set()
    for first, second, kind, _ in kept:
        if kind == "cannot":
            a, b = (next(group for group in groups if node in group) for node in (first, second))
            cannot |= set(itertools.product(a, b)) | set(itertools.product(b, a))
    return groups, cannot


def contradicts(num, kept):
    groups, cannot = closed(num, kept)
    return any((a, b) in cannot for group in groups for a in group for b in group)


@st.composite
def some_links(draw, num=8, most=16):
    row = st.tuples(
        st.integers(0, num - 1),
        st.integers(0, num - 1),
        st.sampled_from(["must", "cannot"]),
        st.integers(0, 2),
    )
    return [one for one in draw(st.lists(row, max_size=most)) if one[0] != one[1]]


@settings(max_examples=60, deadline=None)
@given(some_links())
def test_a_link_is_kept_unless_it_contradicts_those_before_it(rows):
    kept = []
    order = sorted(range(len(rows)), key=lambda number: (-rows[number][3], number))
    expected = np.zeros(len(rows), np.bool_)
    for number in order:
        if not contradicts(8, [*kept, rows[number]]):
            kept.append(rows[number])
            expected[number] = True
    found = consistent_links(links(*rows))
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=40, deadline=None)
@given(some_links())
def test_constraints_are_closed_under_what_follows(rows):
    kept = consistent_links(links(*rows))
    rows = [row for row, keep in zip(rows, kept) if keep]
    constraints = make_constraints(np.arange(1, 9), links(*rows))
    groups, cannot = closed(8, rows)
    for a, b in itertools.combinations(range(8), 2):
        together = next(group for group in groups if a in group)
        assert (constraints.groups[a] == constraints.groups[b]) == (b in together)
        sets = constraints.exclusive.toarray()[:, constraints.groups[[a, b]]]
        if b not in together:
            assert bool((sets == 1).all(1).any()) == ((a, b) in cannot)
    # Groups are numbered by their first nodes, and their images are counted.
    first = [int(np.flatnonzero(constraints.groups == group)[0]) for group in range(len(groups))]
    assert first == sorted(first)
    for group in range(len(groups)):
        members = np.flatnonzero(constraints.groups == group)
        assert constraints.group_sizes[group] == (members + 1).sum()


def test_links_to_itself():
    assert consistent_links(links((3, 3, "must", 1))).tolist() == [True]
    with pytest.raises(InputError, match=r"2 cannot-links of an image to itself.*image 4"):
        consistent_links(links((1, 2, "must", 1), (4, 4, "cannot", 1), (5, 5, "cannot", 1)))


def test_violations_are_counted():
    rows = [(0, 1, "must", 1), (2, 3, "cannot", 1), (2, 4, "cannot", 1), (3, 4, "cannot", 1)]
    constraints = make_constraints(np.ones(5), links(*rows))
    assert constraints.violations(np.array([0, 0, 1, 2, 3])) == (0, 0)
    assert constraints.violations(np.array([0, 1, 1, 2, 3])) == (1, 0)
    assert constraints.violations(np.array([-1, -1, -1, -1, -1])) == (2, 0)
    assert constraints.violations(np.array([0, 0, 1, 1, 1])) == (0, 3)


# ---- time


def excluded(found):
    """Pairs of nodes that are in one set."""
    sets, nodes = found
    return {
        tuple(sorted((a, b)))
        for number in np.unique(sets)
        for a, b in itertools.combinations(np.unique(nodes[sets == number]).tolist(), 2)
    }


def test_who_was_seen_at_once_in_one_camera():
    starts = np.array([0.0, 5.0, 10.0, 3.0, 5.0, np.nan, 7.0])
    ends = np.array([6.0, 9.0, 12.0, 3.0, 5.0, 4.0, 11.0])
    cameras = np.zeros(7, np.int64)
    found = excluded(time_conflicts(starts, ends, cameras))
    assert found == {(0, 1), (0, 3), (0, 4), (1, 4), (1, 6), (2, 6)}
    cameras[[1, 2]] = 1
    assert excluded(time_conflicts(starts, ends, cameras)) == {(0, 3), (0, 4)}
    cameras[0] = -1
    assert excluded(time_conflicts(starts, ends, cameras)) == set()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 4), st.integers(-1, 3)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([(), ((0, 1),), ((0, 1), (1, 2)), ((0, 1, 2, 3),)]),
)
def test_spans_that_overlap_exclude_each_other(spans, disjoint):
    starts, lengths, cameras = np.array(spans, np.int64).T
    starts, ends = starts / 7, (starts + lengths) / 7
    expected = set()
    for a, b in itertools.combinations(range(len(starts)), 2):
        pair = cameras[a], cameras[b]
        apart = pair[0] == pair[1] or any(set(pair) <= set(clock) for clock in disjoint)
        if min(pair) >= 0 and apart and starts[a] <= ends[b] and starts[b] <= ends[a]:
            expected.add((a, b))
    assert excluded(time_conflicts(starts, ends, cameras, disjoint)) == expected


def test_instants_never_become_pairs():
    # Ten thousand people at one instant: 50 million pairs, one set.
    sets, nodes = time_conflicts(np.zeros(10_000), np.zeros(10_000), np.zeros(10_000, np.int64))
    assert len(sets) == len(nodes) == 10_000 and not sets.any()
    constraints = make_constraints(np.ones(10_000), exclusive=(sets, nodes))
    assert constraints.exclusive.shape == (1, 10_000)
    assert constraints.constrained.all()


def test_must_links_prevail_over_time():
    exclusive = time_conflicts(np.zeros(3), np.ones(3), np.zeros(3, np.int64))
    constraints = make_constraints(np.ones(3), links((0, 1, "must", 2)), exclusive)
    assert constraints.groups.tolist() == [0, 0, 1]
    assert constraints.exclusive.toarray().tolist() == [[1, 1]] * 2
