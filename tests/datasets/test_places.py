"""The places of widely drawn cameras, and who and what else is in view there."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmreid_uda.datasets.synthetic import DomainRenderer, SyntheticReID, SyntheticSpec
from mmreid_uda.datasets.synthetic.cache import is_complete
from mmreid_uda.datasets.synthetic.clutter import THINGS
from mmreid_uda.datasets.synthetic.company import COVERS, cut_off, draw_cover, draw_others
from mmreid_uda.datasets.synthetic.frames import frames_digest, read_frames
from mmreid_uda.datasets.synthetic.lighting import cast_shadow, draw_patches
from mmreid_uda.datasets.synthetic.places import PLACES, SURFACES
from mmreid_uda.datasets.synthetic.scene import draw_scene
from mmreid_uda.datasets.synthetic.walls import WALLS
from mmreid_uda.utils import InputError, make_rng


def person(grey=120):
    """A grey crop with a silhouette in the middle."""
    canvas = np.full((256, 128, 4), grey, np.uint8)
    canvas[..., 3] = 0
    canvas[20:240, 48:80, 3] = 255
    return canvas


def stranger(number):
    return DomainRenderer("world").identity(number)


@pytest.mark.parametrize("kind", PLACES)
def test_a_place_is_drawn_again_but_not_twice_the_same(kind):
    first, again, other = (draw_scene(kind, 0.3, 0.2, make_rng(seed, kind)) for seed in (1, 1, 2))
    assert first.image.shape == (448, 768, 3)
    assert np.array_equal(first.image, again.image)
    assert np.abs(first.image.astype(int) - other.image).mean() > 10


def test_places_have_more_contrast_than_the_first_scenes():
    images = [
        draw_scene(kind, 0.1, 0.2, make_rng(seed, kind)).image for kind in PLACES for seed in (3, 4)
    ]
    spreads = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).std() for image in images]
    old = [draw_scene(kind, 0.1, 0.2, make_rng(3)).image for kind in ("campus", "street", "hall")]
    assert np.median(spreads) > 1.2 * np.median([image.mean(axis=2).std() for image in old])
    assert len({round(image.mean()) for image in images}) > len(images) // 2


def test_tables_of_places_name_what_there_is():
    for place in PLACES.values():
        assert {*place.ground, *place.beside} <= {*SURFACES}
        assert {*place.walls} <= {*WALLS}
        assert {*place.things} <= {*THINGS}
    assert {*COVERS} <= {*THINGS}


@pytest.mark.parametrize("name", THINGS)
def test_a_thing_covers_what_it_is_drawn_on(name):
    layer = np.zeros((300, 400, 4), np.uint8)
    THINGS[name](layer, 200.0, 280.0, 70.0, make_rng(0, name))
    drawn = layer[..., 3] == 255
    assert 200 < drawn.sum() < 0.7 * drawn.size
    assert not layer[layer[..., 3] == 0].any()
    plain = np.zeros((300, 400, 3), np.uint8)
    THINGS[name](plain, 200.0, 280.0, 70.0, make_rng(0, name))
    assert np.array_equal(plain, layer[..., :3])


def test_things_in_the_way_leave_most_of_most_people_in_sight():
    hidden = []
    for seed in range(60):
        canvas = person()
        draw_cover(canvas, make_rng(seed))
        hidden.append((canvas[..., :3] != 120).any(axis=2)[20:240, 48:80].mean())
    assert np.mean(np.array(hidden) > 0.02) > 0.4
    assert np.mean(hidden) < 0.35
    assert np.mean(np.array(hidden) > 0.75) < 0.12


@pytest.mark.parametrize("front", [False, True])
def test_others_are_drawn_beside_the_silhouette_of_the_person(front):
    camera = DomainRenderer("world").cameras[0]
    pictures = []
    for seed in (0, 0, 1):
        canvas = person()
        draw_others(canvas, camera, 1.0, stranger, make_rng(seed), front=front)
        assert np.array_equal(canvas[..., 3], person()[..., 3])
        pictures.append(canvas)
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    assert (pictures[0] != person()).any(axis=2).mean() > 0.02


@pytest.mark.parametrize("sunlight", [-0.2, 0.2])
def test_shadows_fall_away_from_the_light_and_behind_the_person(sunlight):
    canvas = person()
    cast_shadow(canvas, sunlight, 0.3)
    darker = 120 - canvas[..., 0].astype(int)
    assert not darker[canvas[..., 3] == 255].any()
    left, right = darker[:, :48].sum(), darker[:, 80:].sum()
    # Positive light comes from the right.
    assert (left > 5 * right) == (sunlight > 0)
    assert max(left, right) > 1000


def test_nobody_casts_no_shadow():
    empty = np.full((256, 128, 4), 90, np.uint8)
    empty[..., 3] = 0
    cast_shadow(empty, 0.2, 0.3)
    assert (empty[..., :3] == 90).all()


def test_patches_darken_a_part_of_the_view():
    for seed in range(8):
        canvas = person(200)
        draw_patches(canvas, 0.5, make_rng(seed))
        assert canvas[..., :3].min() >= 99
        assert canvas[..., :3].max() <= 200
        assert 100 < canvas[..., :3].mean() < 199


def test_a_box_that_is_cut_off_shows_a_part_enlarged():
    ramp = np.stack([np.linspace(0, 255, 128)] * 256).astype(np.uint8)
    picture = cv2.merge(
        [ramp, np.ascontiguousarray(np.tile(np.arange(256, dtype=np.uint8)[:, None], 128)), ramp]
    )
    for seed in range(8):
        part = cut_off(picture, make_rng(seed))
        assert part.shape == picture.shape
        ranges = [int(np.ptp(part[..., channel])) for channel in (0, 1)]
        assert min(ranges) < 245
        assert max(ranges) > 250


# ------------------------------------------------------------------ frames of one's own


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, color, size in (
        ("1.png", (200, 40, 40), (90, 300)),
        ("2.png", (40, 200, 40), (900, 900)),
    ):
        cv2.imwrite(str(folder / name), np.full((*size, 3), color, np.uint8))
    return folder


def test_frames_cover_the_size_and_serve_cameras_in_turn(frames):
    first, second = read_frames(str(frames), (448, 768))
    assert first.shape == second.shape == (448, 768, 3)
    renderer = DomainRenderer("world", 0, 3, str(frames))
    colors = [scene.image[0, 0].tolist() for scene in renderer.scenes]
    assert colors == [[200, 40, 40], [40, 200, 40], [200, 40, 40]]
    assert [scene.horizon for scene in renderer.scenes] == [
        scene.horizon for scene in DomainRenderer("world", 0, 3).scenes
    ]


def test_other_frames_are_another_set_wherever_they_lie(frames, tmp_path):
    spec = SyntheticSpec("world", 2, 2, 4, num_cameras=2, backgrounds=str(frames))
    sets = dict(variant="world", num_train_ids=2, num_test_ids=2, images_per_id=4, num_cameras=2)
    dataset = SyntheticReID(str(tmp_path), backgrounds=str(frames), **sets)
    assert len(dataset)
    folder = tmp_path / "synthetic" / spec.folder_name
    assert spec.frames == frames_digest(str(frames))
    assert spec.frames in folder.name
    moved = frames.rename(tmp_path / "moved")
    assert is_complete(str(folder), replace(spec, backgrounds=str(moved)))
    cv2.imwrite(str(moved / "3.png"), np.zeros((8, 8, 3), np.uint8))
    changed = replace(spec, backgrounds=str(moved))
    assert changed.folder_name != spec.folder_name
    assert not is_complete(str(folder), changed)


def test_frames_that_cannot_be_used_are_told(frames, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere", "frames/1.png"):
        with pytest.raises(InputError, match=r"backgrounds=.*expected empty frames"):
            SyntheticReID(str(tmp_path), variant="world", backgrounds=str(tmp_path / folder))
    (frames / "3.png").write_text("no picture")
    with pytest.raises(InputError, match=r"3\.png.*cannot be read.*take it out"):
        list(DomainRenderer("world", 0, 2, str(frames)).scenes)
