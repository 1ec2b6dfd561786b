"""Conditions on items, against what a reader would decide of one item after the other."""

import math

import numpy as np
import pytest
from gallery_items import FILTERS, made
from hypothesis import given

from mmreid_uda.gallery import Filter, Items
from mmreid_uda.utils import InputError


def meets(where, items, n):
    """Whether one item meets all conditions."""
    for column, value in (
        ("ids", items.ids[n]),
        ("cameras", str(items.cameras[n])),
        ("identities", str(items.identities[n])),
        ("tracklets", str(items.tracklets[n])),
    ):
        wanted, unwanted = getattr(where, column), getattr(where, f"not_{column}")
        if wanted is not None and value not in wanted:
            return False
        if unwanted is not None and value in unwanted:
            return False
    time, added = float(items.times[n]), float(items.added[n])
    for since, until, value in (
        (where.since, where.until, time),
        (where.added_since, where.added_before, added),
    ):
        if (since is not None or until is not None) and math.isnan(value):
            return False
        if since is not None and value < since:
            return False
        if until is not None and value >= until:
            return False
    for name, value in (where.fields or {}).items():
        if name not in items.fields[n]:
            return False
        there = items.fields[n][name]
        there = there if isinstance(there, list) else [there]
        if not any(type(one) is type(value) and one == value for one in there):
            return False
    return True


@given(FILTERS)
def test_a_mask_is_what_each_item_meets(where):
    items = made(40)
    assert where.mask(items).tolist() == [meets(where, items, n) for n in range(len(items))]


def test_a_filter_without_conditions_is_every_item():
    assert not Filter() and Filter(cameras=()) and Filter(since=0)
    assert Filter().mask(made(5)).all() and not Filter(cameras=[]).mask(made(5)).any()


def test_many_values_are_found_as_few_are():
    items = made(40)
    values = sorted(set(items.tracklets.tolist()))
    assert len(values) > 8
    one_by_one = sum(Filter(tracklets=[one]).mask(items).astype(int) for one in values[1:])
    assert (Filter(tracklets=values[1:]).mask(items) == one_by_one).all()


@pytest.mark.parametrize(
    "conditions, words",
    [
        (dict(cameras="gate"), "cameras"),
        (dict(cameras=[3]), "cameras"),
        (dict(since="now"), "since"),
        (dict(until=math.inf), "expected a finite number of seconds"),
        (dict(ids=["7"]), "expected a UUID"),
        (dict(fields={"a": [1]}), "fields"),
        (dict(camera=["gate"]), "camera"),
    ],
)
def test_a_wrong_condition_is_one_sentence(conditions, words):
    with pytest.raises(InputError, match=words):
        Filter(**conditions)


def test_leaving_items_out_keeps_the_other_conditions():
    items = made(10)
    where = Filter(not_ids=[items.ids[0]], cameras=["gate"]).without([items.ids[1]])
    assert where.not_ids == (items.ids[0], items.ids[1]) and where.cameras == ("gate",)


def test_items_are_refused_in_one_sentence():
    row = np.eye(2, 3)
    for wrong, words in (
        (dict(cameras=["a"]), "1 cameras of 2 items"),
        (dict(times=[0, math.inf]), "found inf among the times"),
        (dict(ids=["x", "y"]), "expected a UUID"),
        (dict(ids=[Items.of(row, "ab").ids[0]] * 2), "2 times among 2 items"),
        (dict(fields=[{}, {"a": math.nan}]), "JSON cannot hold"),
        (dict(fields=[{}, {1: 2}]), "a name is no text"),
        (dict(identities=["a\0", "b"]), "text that can be written"),
    ):
        with pytest.raises(InputError, match=words):
            Items.of(row, ["a", "b"], **wrong)
    with pytest.raises(InputError, match="2 features and 1 paths"):
        Items.of(row, ["a"])
