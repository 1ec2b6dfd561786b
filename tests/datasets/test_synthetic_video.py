"""Rendered video: people walk as people do, the tracker errs as stated, crops look as alike as those of a street."""

import csv
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from imagenet_cosines import imagenet_features, mean_cosines

from mmreid_uda.clustering import JaccardDBSCAN
from mmreid_uda.datasets import SyntheticVideo
from mmreid_uda.datasets.synthetic import (
    SyntheticVideoSpec,
    Video,
    VideoSpec,
    write_sequence,
)
from mmreid_uda.datasets.synthetic.video import FRAME_RATE, FRAME_SIZE, Box, _overlap, _visible, cut
from mmreid_uda.utils import InputError

sys.path.append(str(Path(__file__).parents[2] / "tools" / "data"))
import import_tracks
from mot_tracks import read_tracks

CROWD = VideoSpec(cameras=1, people=16, rounds=4, seconds=80.0, switches=0.0)


@pytest.fixture(scope="module")
def crowd() -> Video:
    return Video(CROWD)


def by_track(boxes) -> dict[int, list[Box]]:
    tracks: dict[int, list[Box]] = {}
    for box in boxes:
        tracks.setdefault(box.track, []).append(box)
    return tracks


# ------------------------------------------------------------------ people


def test_nobody_is_in_two_places_at_once_and_everybody_comes_to_every_camera():
    video = Video(VideoSpec(cameras=3, people=12, rounds=6, seconds=84.0))
    passages = [passage for camera in video.passages for passage in camera]
    seen: dict[int, list[tuple[int, int, int]]] = {}
    for camera in range(3):
        for passage in video.passages[camera]:
            frames = [
                frame
                for frame in range(-100, video.num_frames + 100)
                if video._place(passage, frame) is not None
            ]
            seen.setdefault(passage.pid, []).append((frames[0], frames[-1], camera))
    assert len(passages) == 12 * 6
    for times in seen.values():
        times.sort()
        assert all(before[1] < after[0] for before, after in itertools.pairwise(times))
        for half in (times[:3], times[3:]):
            assert {camera for _, _, camera in half} == {0, 1, 2}


def test_people_walk_at_the_speed_of_people(crowd):
    for passage in crowd.passages[0]:
        (x0, z0), (x1, z1) = passage.at(3.0), passage.at(4.0)
        assert 0.75 <= np.hypot(x1 - x0, z1 - z0) <= 1.05, "body heights a second"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(cameras=4), "cameras=4.*at most 3"),
        (dict(seconds=40.0), "seconds=40 .*4 times.*at least 48"),
        (dict(switches=1.5), "switches=1.5"),
    ],
)
def test_what_cannot_be_filmed_is_named(changes, words):
    with pytest.raises(InputError, match=words):
        Video(replace(CROWD, **changes))


# ------------------------------------------------------------------ the tracker


def test_without_mistakes_a_track_is_one_walk_of_one_person(crowd):
    tracks = by_track(crowd.boxes[0])
    assert sorted(tracks) == list(range(1, len(tracks) + 1))
    for boxes in tracks.values():
        assert len({(box.pid, box.round) for box in boxes}) == 1
        gaps = np.diff([box.frame for box in boxes])
        assert (gaps >= 1).all() and (gaps <= 8).all()


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_switches_happen_at_crossings_and_as_often_as_stated(crowd, share):
    video = Video(replace(CROWD, switches=share))
    tracks = by_track(video.boxes[0])
    mixed = [boxes for boxes in tracks.values() if len({box.pid for box in boxes}) > 1]
    assert len(mixed) / len(tracks) == pytest.approx(share, abs=0.5 * 2 / len(tracks) + 0.01)
    truth = {(box.frame, box.pid): box for box in crowd.boxes[0]}
    assert set(truth) == {(box.frame, box.pid) for box in video.boxes[0]}, "the same boxes"
    for boxes in mixed:
        changes = [
            (before, after)
            for before, after in itertools.pairwise(boxes)
            if before.pid != after.pid
        ]
        assert len(changes) == 1
        before, after = changes[0]
        other = truth[before.frame, after.pid]
        assert _overlap(before, other) > 0.35, "the two were in one place"


def test_what_a_nearer_person_covers_is_not_visible():
    box = Box(0, 1, 0, 1, 100.0, 100.0, 50.0, 100.0, 1.0)
    assert _visible(box, []) == 1
    assert _visible(box, [replace(box, top=150.0)]) == pytest.approx(0.5)
    assert _visible(box, [replace(box, left=115.0)]) == pytest.approx(0.5)
    assert _visible(box, [box]) == 0
    assert _visible(replace(box, left=-25.0), []) == pytest.approx(0.5)
    assert _visible(replace(box, top=FRAME_SIZE[0] - 25.0), []) == pytest.approx(0.25)


def test_people_do_cover_each_other(crowd):
    visible = np.array([box.visible for box in crowd.boxes[0]])
    assert visible.min() >= 0.4, "the tracker loses whom it hardly sees"
    assert 0.05 < (visible < 0.7).mean() < 0.3


# ------------------------------------------------------------------ pictures


def test_frames_show_people_in_their_boxes_and_are_repeatable(crowd):
    number = next(
        frame
        for frame, group in itertools.groupby(crowd.boxes[0], key=lambda box: box.frame)
        if len(list(group)) >= 3
    )
    frame = crowd.frame(0, number)
    assert frame.shape == (*FRAME_SIZE, 3)
    np.testing.assert_array_equal(frame, Video(CROWD).frame(0, number))
    assert (frame != Video(replace(CROWD, seed=1)).frame(0, number)).mean() > 0.5

    empty = Video(CROWD)
    empty.passages[0].clear()
    changed = np.abs(frame.astype(int) - empty.frame(0, number)).max(-1) > 40
    inside = np.zeros(FRAME_SIZE, bool)
    for _, place in crowd._seen(0, number):
        column, foot, height = place
        columns = slice(max(0, round(column - 0.5 * height)), round(column + 0.5 * height))
        inside[max(0, round(foot - 1.1 * height)) : round(foot + 0.1 * height), columns] = True
    assert changed[inside].mean() > 0.1
    assert changed[~inside].mean() < 0.001
    box = max((box for box in crowd.boxes[0] if box.frame == number), key=lambda box: box.visible)
    assert cut(frame, box).shape == (128, 64, 3)


@pytest.mark.slow
def test_a_sequence_is_read_and_cut_by_the_import_of_tracks(tmp_path, monkeypatch, capsys):
    video = Video(VideoSpec(cameras=1, people=3, rounds=1, seconds=12.0, seed=2))
    folder = tmp_path / "c1"
    counted: list[int] = []
    write_sequence(video, 0, str(folder), counted.append)
    assert counted == list(range(1, 97))
    tracks = read_tracks(folder / "TRACKS.txt")
    truth = read_tracks(folder / "gt" / "gt.txt")
    boxes = video.boxes[0]
    assert len(boxes) > 40
    np.testing.assert_array_equal(tracks.frames, [box.frame + 1 for box in boxes])
    np.testing.assert_array_equal(tracks.ids, [box.track for box in boxes])
    np.testing.assert_array_equal(truth.ids, [box.pid for box in boxes])
    np.testing.assert_allclose(tracks.boxes[:, 0], [box.left for box in boxes], atol=0.051)
    np.testing.assert_allclose(truth.boxes, tracks.boxes)
    assert tracks.wanted.all()

    command = [str(folder), str(folder / "TRACKS.txt"), "--camera", "c1", "--every", "8"]
    monkeypatch.setattr(sys, "argv", ["import_tracks", *command, "--out", str(tmp_path / "crops")])
    import_tracks.import_crops(import_tracks.parse_args())
    with open(tmp_path / "crops" / "crops.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert 5 <= len(rows) <= len(boxes) / 8 + 5
    times = {float(row["time"]) for row in rows}
    assert max(times) < 12 and len(times) > 3, "the rate of seqinfo.ini makes seconds of frames"


# ------------------------------------------------------------------ the dataset

TINY = dict(num_train_ids=2, num_test_ids=2)


@pytest.mark.slow
def test_dataset_tells_person_camera_time_and_tracklet(tmp_path):
    spec = SyntheticVideoSpec(1, **TINY)
    train, query, gallery = (
        SyntheticVideo(str(tmp_path), split, cameras=1, **TINY)
        for split in ("train", "query", "gallery")
    )
    video = Video(spec.video("train"))
    boxes = [box for box in video.boxes[0] if box.frame % 4 == 0]
    assert len(train) == len(boxes)
    told = set(zip(train.pids.tolist(), np.round(train.evidence.times * FRAME_RATE).tolist()))
    assert told == {(box.pid, float(box.frame)) for box in boxes}
    assert len(set(train.evidence.tracklets)) == len({box.track for box in boxes})
    assert set(train.evidence.cameras) == {0}
    assert set(query.pids) == set(gallery.pids) == {3, 4}
    assert set(query.evidence.cameras) == set(gallery.evidence.cameras) == {-1}
    assert query.evidence.times.max() < gallery.evidence.times.min() + 11
    assert not set(query.evidence.times) & set(gallery.evidence.times)

    job = spec.jobs()[-1]
    again = tmp_path / "again"
    (again / "bounding_box_test").mkdir(parents=True)
    spec.render(str(again), job)
    written = sorted(again.rglob("*.jpg"))
    assert written
    for path in written:
        assert path.read_bytes() == (Path(train.root) / path.relative_to(again)).read_bytes()


def filmed(spec, every=4):
    """Features, people, cameras and times of crops."""
    video = Video(spec)
    crops, told = [], []
    for camera, boxes in enumerate(video.boxes):
        for number, group in itertools.groupby(boxes, key=lambda box: box.frame):
            if number % every == 0:
                frame = video.frame(camera, number)
                for box in group:
                    crops.append(cut(frame, box))
                    told.append((box.pid, camera, number))
    return imagenet_features(crops), *np.array(told).T


@pytest.mark.slow
def test_halves_of_a_video_look_as_alike_as_those_of_a_real_one():
    features, pids, _, times = filmed(replace(CROWD, people=12, seconds=60.0))
    found = mean_cosines(features, pids, times > times.max() / 2)
    np.testing.assert_allclose(found, (0.71, 0.69, 0.62, 0.62), atol=0.03)


@pytest.mark.slow
def test_three_cameras_differ_so_much_that_clusters_hold_one():
    features, pids, cameras, _ = filmed(VideoSpec(cameras=3, people=12, rounds=3, seconds=42.0))
    same, person, camera, other = mean_cosines(features, pids, cameras)
    assert same > 0.68 and camera - other > 0.03 and abs(person - camera) < 0.03
    clusterer = JaccardDBSCAN(k1=10, k2=4, eps=0.55, min_samples=4)
    labels = clusterer(torch.from_numpy(features), seed=0, epoch=0)
    shares = [len(set(cameras[labels == one])) == 1 for one in range(labels.max() + 1)]
    assert len(shares) > 20
    assert np.mean(shares) >= 0.9


# ------------------------------------------------------------------ the command


def test_command_films_what_it_is_told(tmp_path, capsys, monkeypatch):
    import render_synthetic

    monkeypatch.setattr(Video, "frame", lambda *args: np.zeros((*FRAME_SIZE, 3), np.uint8))
    out = tmp_path / "film"
    render_synthetic.main(
        ["video", "--cameras", "2", "--seconds", "12", "--rounds", "1", "--people", "2", "--out", str(out)]
    )  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == ["c1", "c2"]
    assert cv2.imread(str(out / "c2" / "img1" / "000096.jpg")).shape == (*FRAME_SIZE, 3)
    assert "96 frames" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        render_synthetic.main(["video", "--cameras", "2"])
