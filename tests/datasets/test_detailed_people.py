"""Detailed people: every garment from every side, what is on one side only, and what an occasion changes."""

from dataclasses import replace

import numpy as np
import pytest

from mmreid_uda.datasets.synthetic import DomainRenderer
from mmreid_uda.datasets.synthetic.appearance import EXTRAS, Garment, as_sighted, sample_identity
from mmreid_uda.datasets.synthetic.domains import DOMAINS
from mmreid_uda.datasets.synthetic.figure import Pose
from mmreid_uda.datasets.synthetic.garments import HAIRS, HATS, LOWERS, TRIMS, UPPERS, WEAVES, weave
from mmreid_uda.datasets.synthetic.pedestrian import draw_pedestrian
from mmreid_uda.utils import make_rng

FRONT, BACK = 0.0, np.pi
SIDES = (FRONT, np.pi / 2, BACK, 4.0)
GREEN = (40.0, 220.0, 40.0)


@pytest.fixture(scope="module")
def person():
    who = sample_identity(make_rng("detailed"), DOMAINS["world"].wardrobe)
    plain = Garment("jacket", (90.0, 60.0, 60.0), (60.0, 60.0, 90.0))
    lower = replace(plain, kind="trousers")
    body = replace(who.body, extras=(), stoop=0.0, spread=0.0, footwear="shoes")
    return replace(
        who, build=1.0, legs=0.5, head=1.0, upper=plain, lower=lower, bag="none", hat="none",
        hair_style="short", hair=(40.0, 40.0, 40.0), body=body,
    )  # fmt: skip


def draw(who, **pose) -> np.ndarray:
    canvas = np.full((256, 128, 4), (90, 90, 90, 0), np.uint8)
    arguments = dict(yaw=FRONT, phase=0.5, stride=0.4) | pose
    draw_pedestrian(canvas, who, Pose(**arguments), x=64, y=246, height=220)
    return canvas


def area(picture: np.ndarray) -> int:
    return int((picture[..., 3] > 0).sum())


def greens(picture: np.ndarray) -> int:
    blue, green, red = (picture[..., channel].astype(int) for channel in range(3))
    return int(((green > 2 * blue) & (green > 2 * red)).sum())


@pytest.mark.parametrize("yaw", SIDES)
@pytest.mark.parametrize("kind", UPPERS)
def test_every_upper_garment_with_all_it_may_have_is_a_person_from_every_side(person, kind, yaw):
    trims = tuple((name, GREEN) for name in TRIMS if name in UPPERS[kind].trims)
    upper = replace(person.upper, kind=kind, pattern="plaid", trims=trims)
    picture = draw(replace(person, upper=upper), yaw=yaw)
    rows, columns = np.nonzero(picture[..., 3])
    assert 0.06 < area(picture) / 220**2 < 0.3
    assert 20 <= rows.min() <= 34 and rows.max() <= 255
    assert 0.2 < np.ptp(columns) / 220 < 0.58


@pytest.mark.parametrize("kind", LOWERS)
def test_every_lower_garment_shows_its_cloth_or_the_skin(person, kind):
    dressed = replace(person, lower=replace(person.lower, kind=kind, color=GREEN))
    shown = [greens(draw(dressed, yaw=yaw)) for yaw in SIDES]
    assert min(shown) > 200
    assert max(shown) < 3 * min(shown)
    shins = greens(draw(dressed)[246 - 40 :])
    assert (shins > 50) == (LOWERS[kind].reach == 1 or kind == "longskirt")


def test_jackets_are_bulky(person):
    widths = []
    for kind in ("tshirt", "jacket", "puffer"):
        picture = draw(replace(person, upper=replace(person.upper, kind=kind)), stride=0.0)
        elbows = picture[246 - round(0.66 * 220), :, 3]
        widths.append(int(np.ptp(np.nonzero(elbows)[0])) / 220)
    assert 0.24 < widths[0] < widths[1] < widths[2] < 0.37 and widths[1] > 0.29


@pytest.mark.parametrize(
    "name, seen, hidden",
    [("zip", FRONT, BACK), ("front", FRONT, BACK), ("badge", FRONT, BACK), ("back", BACK, FRONT)],
)
def test_what_is_on_one_side_is_seen_from_there(person, name, seen, hidden):
    who = replace(person, upper=replace(person.upper, trims=((name, GREEN),)))
    assert greens(draw(who, yaw=seen)) > 10
    assert greens(draw(who, yaw=hidden)) == 0


def test_what_goes_around_is_seen_from_everywhere(person):
    who = replace(person, upper=replace(person.upper, trims=(("yoke", GREEN),)))
    assert min(greens(draw(who, yaw=yaw)) for yaw in SIDES) > 300


def test_the_left_side_of_a_person_is_seen_from_the_left(person):
    """What is on the left of a person who faces the camera is to the right in the image."""
    bag = draw(replace(person, bag="tote", bag_side=1, bag_color=GREEN))
    badge = draw(replace(person, upper=replace(person.upper, trims=(("badge", GREEN),))))
    for picture in (bag, badge):
        blue, green, red = (picture[..., channel].astype(int) for channel in range(3))
        columns = np.nonzero((green > 2 * blue) & (green > 2 * red))[1]
        assert columns.mean() > 66


@pytest.mark.parametrize("name", WEAVES)
def test_cloth_has_both_colors_and_turns_with_the_body(person, name):
    tile = weave(name, 3)
    assert tile.min() >= 0 and tile.max() <= 1 and tile.std() > 0.04
    upper = replace(person.upper, pattern=name, second=(220.0, 220.0, 220.0), number=3)
    chest = draw(replace(person, upper=upper))[84:130, 50:78, :3].astype(int)
    plain = draw(person)[84:130, 50:78, :3].astype(int)
    assert np.abs(chest - plain).mean() > 4


@pytest.mark.parametrize("hair", HAIRS)
def test_faces_are_in_front_and_hair_is_behind(person, hair):
    who = replace(person, hair_style=hair, hair=GREEN, skin=(150.0, 180.0, 220.0))
    front, back = (greens(draw(who, yaw=yaw)[:70]) for yaw in (FRONT, BACK))
    assert back == front == 0 if hair == "bald" else back > 1.3 * front


@pytest.mark.parametrize("hat", HATS)
def test_hats_are_seen_from_every_side(person, hat):
    who = replace(person, hat=hat, hat_color=GREEN, upper=replace(person.upper, color=GREEN))
    bare = replace(who, hat="none")
    for yaw in SIDES:
        assert greens(draw(who, yaw=yaw)[:52]) > greens(draw(bare, yaw=yaw)[:52]) + 60


@pytest.mark.parametrize("name", EXTRAS)
def test_everything_else_changes_the_image(person, name):
    who = replace(person, body=replace(person.body, extras=((name, GREEN),)))
    assert greens(draw(who, yaw=0.7)) > 4


def test_an_occasion_changes_what_is_worn_and_never_who_wears_it():
    renderer = DomainRenderer("world", 0, 1)
    changed = 0
    for number in range(30):
        who = renderer.identity(number)
        assert as_sighted(who, make_rng(number), 0.0) == who
        other = as_sighted(who, make_rng(number), 1.0)
        assert other.bag == other.hat == "none"
        assert {name for name, _ in other.body.extras} <= {"beard", "glasses"}
        again = replace(
            other, bag=who.bag, hat=who.hat, body=who.body,
            upper=replace(other.upper, trims=who.upper.trims),
        )  # fmt: skip
        assert again == who
        changed += other.upper.trims != who.upper.trims
    assert 3 < changed < 30


def test_people_of_the_world_are_dark_above_and_differ_in_much():
    people = [DomainRenderer("world", 0, 1).identity(number) for number in range(200)]
    dark = np.mean([np.mean(who.upper.color) < 90 for who in people])
    assert 0.4 < dark < 0.75
    assert {who.upper.kind for who in people} == set(UPPERS)
    assert {who.lower.kind for who in people} == set(LOWERS)
    assert all(who.body is not None for who in people)
    for domain in set(DOMAINS) - {"world"}:
        assert DomainRenderer(domain).identity(1).body is None
