"""The rendered dataset is repeatable, complete on disk or not there, and neither trivial nor impossible."""

import importlib.util
import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from imagenet_cosines import imagenet_features, mean_cosines

from mmreid_uda.clustering import JaccardDBSCAN
from mmreid_uda.datasets import Market1501, build_dataset
from mmreid_uda.datasets.synthetic import (
    CROP_SIZE,
    DomainRenderer,
    SyntheticReID,
    SyntheticSpec,
    contact_sheet,
    ensure_rendered,
    is_complete,
)
from mmreid_uda.datasets.synthetic.appearance import Garment
from mmreid_uda.datasets.synthetic.domains import DOMAINS
from mmreid_uda.datasets.synthetic.figure import Pose
from mmreid_uda.datasets.synthetic.pedestrian import draw_pedestrian
from mmreid_uda.datasets.synthetic.renderer import film
from mmreid_uda.utils import InputError, run_lock

SMALL = dict(num_train_ids=6, num_test_ids=5, images_per_id=6)
SPEC = SyntheticSpec("a", **SMALL)
BACK = np.pi


def silent(done: int, total: int) -> None:
    pass


def contents(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*.jpg"))
    }


def draw(who, **pose) -> np.ndarray:
    canvas = np.full((256, 128, 4), (90, 90, 90, 0), np.uint8)
    arguments = dict(yaw=0.0, phase=0.5, stride=0.4) | pose
    draw_pedestrian(canvas, who, Pose(**arguments), x=64, y=246, height=232)
    return canvas


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("data"))
    ensure_rendered(path, SPEC, progress=silent)
    return path


@pytest.fixture(scope="module")
def person():
    """Somebody in plain clothes, without a bag or hat."""
    grey, white = (120.0, 120.0, 120.0), (240.0, 240.0, 240.0)
    plain = Garment("tshirt", grey, white)
    who = DomainRenderer("a").identity(1)
    return replace(
        who,
        upper=plain,
        lower=Garment("trousers", grey, white),
        bag="none",
        hat="none",
        back_print=False,
    )


# ------------------------------------------------------------------ repeatable


def test_equal_seeds_give_equal_images_in_any_order():
    def crop(renderer, pid, camera):
        rng = renderer.rng("test", pid, camera)
        return renderer.render(renderer.identity(pid), renderer.sighting(camera, rng), 0, rng)

    places = [(1, 0), (2, 3), (9, 5)]
    forwards, backwards, other = (
        DomainRenderer("b", 7),
        DomainRenderer("b", 7),
        DomainRenderer("b", 8),
    )
    first = [crop(forwards, *place) for place in places]
    second = [crop(backwards, *place) for place in reversed(places)][::-1]
    for one, two, place in zip(first, second, places):
        np.testing.assert_array_equal(one, two)
        assert np.abs(one.astype(int) - crop(other, *place)).mean() > 5


@pytest.mark.slow
def test_number_of_processes_does_not_change_a_byte(root, tmp_path):
    parallel = ensure_rendered(str(tmp_path), SPEC, workers=2, progress=silent)
    assert contents(parallel) == contents(os.path.join(root, "synthetic", SPEC.folder_name))


# ------------------------------------------------------------------ layout


def test_market1501_reads_the_folder(root):
    for split in ("train", "query", "gallery"):
        ours = SyntheticReID(root, split, variant="a", **SMALL)
        market = Market1501(os.path.join(root, "synthetic", SPEC.folder_name), split)
        assert ours.fingerprint == market.fingerprint
        assert all(
            re.fullmatch(r"\d{4}_c[1-6]s\d_\d{6}_\d\d\.jpg", os.path.basename(path))
            for path in ours.paths
        )


def test_splits_have_the_promised_identities_and_images(root):
    train, query, gallery = (
        SyntheticReID(root, split, **SMALL) for split in ("train", "query", "gallery")
    )
    assert set(train.pids) == set(range(1, 7))
    assert set(query.pids) == set(range(7, 12))
    assert set(gallery.pids) == {0, *range(7, 12)}
    assert (gallery.pids == 0).sum() == SPEC.num_distractors == 5
    junk = [name for name in contents(gallery.root) if os.path.basename(name).startswith("-1_")]
    assert len(junk) == SPEC.num_junk == 2
    for pid in train.pids:
        assert 4 <= (train.pids == pid).sum() <= 8
    assert cv2.imread(train.paths[0]).shape == (*CROP_SIZE, 3)


def test_every_query_finds_its_person_in_another_camera(root):
    query, gallery = SyntheticReID(root, "query", **SMALL), SyntheticReID(root, "gallery", **SMALL)
    for pid, camid in zip(query.pids, query.camids):
        assert ((gallery.pids == pid) & (gallery.camids != camid)).any()
    pairs = list(zip(query.pids, query.camids))
    assert len(set(pairs)) == len(pairs), "one query per identity and camera, as in Market-1501"


def test_catalog_builds_it_by_name_and_metrics_know_the_domain(root):
    data = build_dataset(dict(name="syntha", **SMALL), "query", data_root=root)
    assert isinstance(data, SyntheticReID)
    assert data.name == "syntha"


# ------------------------------------------------------------------ the cache


def test_complete_domain_is_not_rendered_again(root, monkeypatch):
    monkeypatch.setattr(SyntheticSpec, "render", lambda *args: pytest.fail("rendered again"))
    assert len(SyntheticReID(root, "train", **SMALL)) > 0


@pytest.mark.parametrize("damage", ["image", "manifest", "version"])
def test_incomplete_or_outdated_domain_is_rendered_again(tmp_path, damage):
    folder = ensure_rendered(str(tmp_path), SPEC, progress=silent)
    whole = contents(folder)
    manifest = Path(folder, "manifest.json")
    if damage == "image":
        Path(folder, next(iter(whole))).unlink()
    elif damage == "manifest":
        manifest.unlink()
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | dict(version=0)))
        Path(folder, "query", "0001_c1s1_000000_01.jpg").write_bytes(b"of the old version")
    assert not is_complete(folder, SPEC)
    assert ensure_rendered(str(tmp_path), SPEC, progress=silent) == folder
    assert contents(folder) == whole


def test_interrupted_rendering_leaves_nothing_that_looks_complete(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_rendered(str(tmp_path), SPEC, progress=interrupt)
    folder = tmp_path / "synthetic" / SPEC.folder_name
    assert not folder.exists()
    killed = tmp_path / "synthetic" / f".{SPEC.folder_name}.partial-killed"
    killed.mkdir()
    ensure_rendered(str(tmp_path), SPEC, progress=silent)
    assert is_complete(str(folder), SPEC)
    assert not killed.exists()


def test_of_several_at_once_one_renders_and_the_others_wait(tmp_path):
    starts, folders = [], []

    def ask() -> None:
        folders.append(
            ensure_rendered(str(tmp_path), SPEC, progress=lambda done, _: starts.append(done))
        )
        assert is_complete(folders[-1], SPEC)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 3
    assert starts.count(0) == 1


def test_without_locks_the_first_to_finish_wins(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "fcntl", None)
    done = threading.Event()

    def overtaken(finished: int, total: int) -> None:
        if finished == total and not done.is_set():
            done.set()
            ensure_rendered(str(tmp_path), SPEC, progress=silent)

    folder = ensure_rendered(str(tmp_path), SPEC, progress=overtaken)
    assert done.is_set()
    assert is_complete(folder, SPEC)
    assert not [name for name in os.listdir(tmp_path / "synthetic") if "partial" in name]


def test_other_sizes_do_not_fight_for_the_folder(tmp_path):
    assert SyntheticSpec("c").folder_name == "c"
    names = {
        SPEC.folder_name,
        replace(SPEC, num_train_ids=7).folder_name,
        replace(SPEC, num_test_ids=7).folder_name,
        replace(SPEC, images_per_id=7).folder_name,
        replace(SPEC, seed=7).folder_name,
        "a",
    }
    assert len(names) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(variant="z"), "variant='z'.*'a', 'b', .* or 'world'"),
        (dict(num_train_ids=1), "num_train_ids=1.*at least 2"),
        (dict(images_per_id=3), "images_per_id=3.*at least 4"),
        (dict(render_seed=-1), "render_seed=-1.*at least 0"),
    ],
)
def test_bad_parameters_are_named(tmp_path, arguments, words):
    with pytest.raises(InputError, match=words):
        SyntheticReID(str(tmp_path), **arguments)


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "synthetic").write_text("a file in the way")
    with pytest.raises(InputError, match=r"cannot be rendered to.*set data_root"):
        SyntheticReID(str(tmp_path), **SMALL)


# ------------------------------------------------------------------ the pictures


@pytest.mark.parametrize("upper", ["tshirt", "vest", "shirt", "jacket", "coat", "dress"])
def test_every_garment_is_drawn_from_every_side(person, upper):
    patterns = ("plain", "stripes", "pinstripes", "checks", "dots", "block", "sleeves", "logo")
    for pattern, yaw in zip(patterns, np.linspace(0, 2 * np.pi, 8, endpoint=False)):
        who = replace(person, upper=replace(person.upper, kind=upper, pattern=pattern))
        silhouette = draw(who, yaw=yaw)[..., 3] > 127
        assert 0.1 < silhouette.mean() < 0.5
        rows = np.flatnonzero(silhouette.any(1))
        assert rows[0] == pytest.approx(246 - 232, abs=12), "the head is where the height says"
        assert rows[-1] == pytest.approx(246, abs=12), "and the feet are on the ground"


def test_what_is_on_the_back_is_seen_from_behind(person):
    magenta = (255.0, 0.0, 255.0)

    def seen(who, yaw):
        return int((np.abs(draw(who, yaw=yaw)[..., :3] - np.array(magenta)).sum(-1) < 40).sum())

    backpack = replace(person, bag="backpack", bag_color=magenta)
    assert seen(backpack, BACK) > 3 * seen(backpack, 0.0)
    back_print = replace(person, upper=replace(person.upper, second=magenta), back_print=True)
    assert seen(back_print, BACK) > 200
    assert seen(back_print, 0.0) == 0
    logo = replace(person, upper=replace(person.upper, second=magenta, pattern="logo"))
    assert seen(logo, 0.0) > 200
    assert seen(logo, BACK) == 0


def test_legs_move_with_the_gait(person):
    standing = [
        draw(person, yaw=np.pi / 2, phase=phase, stride=0.0)[..., 3] for phase in (0.0, np.pi / 2)
    ]
    walking = [
        draw(person, yaw=np.pi / 2, phase=phase, stride=0.5)[..., 3] for phase in (0.0, np.pi / 2)
    ]
    np.testing.assert_array_equal(*standing)
    passing, striding = (silhouette[200:] > 127 for silhouette in walking)
    assert striding.any(0).sum() > passing.any(0).sum()
    assert (striding ^ passing).sum() > 0.5 * passing.sum()


def test_domains_differ_in_sharpness_and_dress():
    def sharpness(variant):
        renderer = DomainRenderer(variant)
        crops = []
        for pid in range(12):
            rng = renderer.rng("test", pid)
            crops.append(
                renderer.render(renderer.identity(pid), renderer.sighting(pid % 6, rng), 0, rng)
            )
        grey = np.stack(crops).mean(-1)
        return np.abs(np.diff(grey, n=2, axis=1)).mean()

    assert sharpness("c") < 0.75 * sharpness("a")
    covered = {
        variant: np.mean(
            [
                DomainRenderer(variant).identity(pid).upper.kind in ("jacket", "coat")
                for pid in range(60)
            ]
        )
        for variant in "ab"
    }
    assert covered["b"] > covered["a"] + 0.4


def test_clothes_tell_people_apart_but_cameras_get_in_the_way(tmp_path):
    """A feature as plain as the colour of three body parts ranks far above chance, and far from perfectly."""
    sizes = dict(num_train_ids=2, num_test_ids=40, images_per_id=6)
    query, gallery = (
        SyntheticReID(str(tmp_path), split, **sizes) for split in ("query", "gallery")
    )

    def colors(data):
        crops = np.stack([cv2.imread(path) for path in data.paths])[:, :, 20:44].astype(np.float32)
        parts = [
            crops[:, rows].mean((1, 2)) for rows in (slice(8, 22), slice(30, 58), slice(72, 100))
        ]
        return np.concatenate(parts, 1)

    distances = np.linalg.norm(colors(query)[:, None] - colors(gallery)[None], axis=2)
    same_person = query.pids[:, None] == gallery.pids[None]
    distances[same_person & (query.camids[:, None] == gallery.camids[None])] = np.inf
    hits = same_person[np.arange(len(query)), distances.argmin(1)].mean()
    assert 0.15 < hits < 0.85


def test_cameras_of_a_pair_are_those_that_the_domain_describes():
    for variant in "de":
        renderer = DomainRenderer(variant, 5)
        assert len(renderer.cameras) == len(renderer.scenes) == 2
        for camera, view in zip(renderer.cameras, DOMAINS[variant].views):
            for name in ("hue", "haze", "noise", "pitch"):
                assert getattr(camera, name) == view[name][0], name


def test_hue_turns_colors_and_leaves_greys_alone():
    camera = replace(
        DomainRenderer("d").cameras[0],
        gains=(1.0, 1.0, 1.0), curve=1.0, saturation=1.0, haze=0.0, noise=0.0, blur=0.0, rows=(128.0, 128.0),
    )  # fmt: skip

    def filmed(color, **changes):
        picture = np.full((256, 128, 3), color, np.uint8)
        return film(picture, replace(camera, **changes), 1.0, np.random.default_rng(0))[64, 32]

    third = 2 * np.pi / 3
    np.testing.assert_allclose(filmed((200, 40, 60), hue=third), (40, 60, 200), atol=1)
    np.testing.assert_allclose(filmed((90, 90, 90), hue=0.7), (90, 90, 90), atol=1)
    hazy = film(
        np.repeat(np.array((20, 220), np.uint8), 64)[None, :, None].repeat(256, 0).repeat(3, 2),
        replace(camera, hue=0.0, haze=0.25), 1.0, np.random.default_rng(0),
    )  # fmt: skip
    assert (hazy[64, 5, 0], hazy[64, 58, 0]) == (45, 195), "a quarter of the way to the mean"


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["d", "e"])
def test_a_stranger_in_the_camera_looks_more_alike_than_the_person_in_the_other(tmp_path, variant):
    """The order of real pairs of cameras, and what it does to clusters."""
    data = SyntheticReID(str(tmp_path), variant=variant, num_train_ids=60, num_test_ids=2)
    features = imagenet_features([cv2.imread(path) for path in data.paths])
    found = mean_cosines(features, data.pids, data.camids)
    np.testing.assert_allclose(found, (0.71, 0.611, 0.626, 0.582), atol=0.03)
    assert found[2] > found[1]

    def one_camera_only(features):
        clusterer = JaccardDBSCAN(k1=10, k2=4, eps=0.55, min_samples=4)
        labels = clusterer(torch.from_numpy(features), seed=0, epoch=0)
        clusters = range(labels.max() + 1)
        assert len(clusters) >= 20
        return np.mean([len(set(data.camids[labels == cluster])) == 1 for cluster in clusters])

    means = np.stack([features[data.camids == camera].mean(0) for camera in range(2)])
    centered = features - means[data.camids]
    centered /= np.linalg.norm(centered, axis=1, keepdims=True)
    plain, centered = one_camera_only(features), one_camera_only(centered)
    assert plain >= 0.9
    assert centered < plain - 0.1


def test_unknown_domain_is_one_sentence():
    with pytest.raises(InputError, match="no rendered domain 'f', expected one of a, b, c"):
        DomainRenderer("f")


def test_contact_sheet_has_a_row_per_identity_and_a_column_per_camera():
    assert contact_sheet(("a", "c"), num_ids=2).shape == (2 * 128, 2 * 6 * 64 + 8, 3)


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "data" / "render_synthetic.py"
    spec = importlib.util.spec_from_file_location("render_synthetic", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_renders_what_the_dataset_reads(tool, tmp_path, capsys, monkeypatch):
    command = [
        str(tmp_path),
        "--variants",
        "a",
        "--num-train-ids",
        "6",
        "--num-test-ids",
        "5",
        "--images-per-id",
        "6",
    ]
    tool.main(command)
    assert "rendered" in capsys.readouterr().out
    monkeypatch.setattr(SyntheticSpec, "render", lambda *args: pytest.fail("rendered again"))
    assert len(SyntheticReID(str(tmp_path), **SMALL)) > 0
    tool.main(command)
    assert "is complete" in capsys.readouterr().out


def test_without_a_word_the_command_renders_what_configs_name(tool):
    args = vars(tool.parse_args(["data"]))
    defaults = vars(SyntheticSpec("a"))
    for name in ("num_train_ids", "num_test_ids", "images_per_id", "seed"):
        assert args[name] == defaults[name], name


def test_command_writes_the_picture(tool, tmp_path):
    file = tmp_path / "sheet.png"
    tool.main(["--contact-sheet", str(file), "--variants", "b", "--sheet-ids", "1"])
    assert cv2.imread(str(file)).shape == (128, 384, 3)
    with pytest.raises(SystemExit):
        tool.main(["--contact-sheet", str(tmp_path / "sheet.txt")])


def test_picture_has_the_cameras_and_backgrounds_that_the_command_asks_for(tool, tmp_path):
    frames, file = tmp_path / "frames", tmp_path / "sheet.png"
    frames.mkdir()
    cv2.imwrite(str(frames / "black.png"), np.zeros((448, 768, 3), np.uint8))
    command = ["--contact-sheet", str(file), "--variants", "a", "--sheet-ids", "1", "--num-cameras"]
    tool.main([*command, "2"])
    drawn = cv2.imread(str(file))
    assert drawn.shape == (128, 2 * 64, 3)
    tool.main([*command, "2", "--backgrounds", str(frames)])
    on_black = cv2.imread(str(file))
    assert np.median(on_black[:20]) < 20 < np.median(drawn[:20])
