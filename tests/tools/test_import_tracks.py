"""Crops of tracked subjects out of a rendered video, from the command line to the data set."""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "tools" / "data"))
import import_tracks
from mot_tracks import (
    Frames,
    choose_boxes,
    covered_shares,
    read_tracks,
    recording_name,
)

from mmreid_uda.datasets import build_dataset
from mmreid_uda.utils import InputError, make_rng

SIZE = (160, 120)
# Walkers by id: left edge in the first frame, pixels per frame, lower edge, color. The second passes before the first.
WALKERS = {
    1: (10, 4, 100, (0, 0, 250)),
    2: (110, -4, 110, (0, 250, 0)),
    7: (140, 4, 90, (250, 0, 0)),
}
WIDTH, HEIGHT, NUM_FRAMES = 24, 60, 20


def boxes_of(frame):
    """Id, left, top of the walkers in a frame counted from 0."""
    return [
        (one, left + frame * step, low - HEIGHT) for one, (left, step, low, _) in WALKERS.items()
    ]


def picture(frame):
    image = np.full((*SIZE[::-1], 3), 128, np.uint8)
    for one, left, top in sorted(boxes_of(frame), key=lambda box: box[2]):
        left = max(left, 0)
        image[top : top + HEIGHT, left : left + WIDTH] = WALKERS[one][3]
    return image


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A video, the same frames as a sequence of MOTChallenge, and their tracks."""
    root = tmp_path_factory.mktemp("scene")
    writer = cv2.VideoWriter(str(root / "door.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, SIZE)
    images = root / "MOT17-02-DPM" / "img1"
    images.mkdir(parents=True)
    lines = []
    for frame in range(NUM_FRAMES):
        writer.write(picture(frame))
        cv2.imwrite(str(images / f"{frame + 1:08d}.png"), picture(frame))
        # 1-based in frames and pixels.
        lines += [
            f"{frame + 1},{one},{left + 1},{top + 1},{WIDTH},{HEIGHT},0.9,-1,-1,-1"
            for one, left, top in boxes_of(frame)
        ]
    writer.release()
    (images.parent / "seqinfo.ini").write_text(
        "[Sequence]\nname=MOT17-02-DPM\nimDir=img1\nframeRate=20\nseqLength=20\nimWidth=160\n"
    )
    (root / "tracks.txt").write_text("\n".join(lines) + "\n")
    return root


def run(scene, out, *more, frames="door.avi", camera="door", tracks="tracks.txt"):
    words = [scene / frames, scene / tracks, "--camera", camera, "--out", out, *more]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["import_tracks", *map(str, words)])
        import_tracks.main()


def table(out):
    with (out / "crops.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_video_becomes_a_data_set_with_cameras_times_and_tracklets(scene, tmp_path, capsys):
    run(scene, tmp_path / "out", "--every", 2, "--max-covered", 1)
    run(scene, tmp_path / "out", "--min-width", 24, frames="MOT17-02-DPM", camera="hall")
    text = capsys.readouterr()
    assert "tracklets of camera door are in" in text.out and "left out: " in text.out
    assert "camera hall: " in text.err and text.err.count("\n") == 2  # no terminal: one line each
    data = build_dataset(str(tmp_path / "out" / "crops.csv"), "train", labels="unlabeled")
    told = data.evidence
    assert data.camera_names == ["door", "hall"] and np.isfinite(told.times).all()
    door = [place for place, path in enumerate(data.paths) if "/door/" in path]
    # Frames 1, 3, ... at 10 per second; the third walker leaves the frame: 20, 12, 4 pixels of it are left.
    assert sorted(set(told.times[door])) == pytest.approx(np.arange(0, 2, 0.2))
    assert len(door) == 2 * 10 + 1 and len(set(told.tracklets[door])) == 3
    hall = [place for place, path in enumerate(data.paths) if "/hall/" in path]
    assert sorted(set(told.times[hall])) == pytest.approx(np.arange(20) / 20)
    assert not set(told.tracklets[door]) & set(told.tracklets[hall])
    for path in data.paths:
        one = int(path.split("_")[-2])
        crop = cv2.imread(path)
        assert crop.shape == (HEIGHT, 20 if one == 7 else WIDTH, 3)
        # Nearly all pixels are the walker's, to the accuracy of JPEG; the first one is passed in front of.
        share = (np.abs(crop[5:-5, 3:-3].astype(int) - WALKERS[one][3]).max(axis=2) < 60).mean()
        assert share > 0.9 or one == 1, path


def test_what_is_hidden_or_small_is_left_out(scene, tmp_path):
    tracks = read_tracks(scene / "tracks.txt")
    assert len(tracks.ids) == 3 * NUM_FRAMES
    assert tracks.boxes[0].tolist() == [10, 40, 34, 100] and tracks.wanted.all()
    places, pixels, left_out = choose_boxes(tracks, SIZE, min_size=(20, 32), max_covered=0.5)
    # Both walk towards each other, 8 pixels a frame, from 100 apart: 12 or less is half of the width.
    apart = {frame: abs(100 - 8 * frame) for frame in range(NUM_FRAMES)}
    hidden = [f for f, gap in apart.items() if max(24 - gap, 0) * 50 / (24 * 60) > 0.5]
    kept = {(int(tracks.frames[place]) - 1, int(tracks.ids[place])) for place in places}
    assert {frame for frame in range(NUM_FRAMES) if (frame, 1) not in kept} == set(hidden)
    assert all((frame, 2) in kept for frame in range(NUM_FRAMES))
    assert {frame for frame, one in kept if one == 7} == {0}
    assert left_out == {
        "smaller than 20×32 pixels": NUM_FRAMES - 1,
        "hidden to more than 50%": len(hidden),
    }
    assert pixels[-1].tolist() == [34, 50, 58, 110]
    # Without a smallest width the third one leaves when more than half is outside: 4 pixels more in each frame.
    places, _, _ = choose_boxes(tracks, SIZE, min_size=(1, 1), max_covered=0.5)
    kept = {int(tracks.frames[place]) - 1 for place in places if tracks.ids[place] == 7}
    assert kept == {0, 1, 2}


def test_covered_shares_are_those_of_counted_pixels():
    rng = make_rng(0, "boxes")
    for _ in range(20):
        corner = rng.integers(0, 20, (6, 2))
        boxes = np.concatenate([corner, corner + rng.integers(1, 20, (6, 2))], axis=1)
        masks = np.zeros((6, 40, 40), bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes):
            mask[top:bottom, left:right] = True
        slow = [
            max(
                (masks[one] & masks[other]).sum() / masks[one].sum()
                for other in range(6)
                if other != one and boxes[other, 3] >= boxes[one, 3]
            )
            if any(boxes[other, 3] >= boxes[one, 3] for other in range(6) if other != one)
            else 0
            for one in range(6)
        ]
        assert covered_shares(boxes.astype(float)).tolist() == pytest.approx(slow)
    assert covered_shares(np.array([[0.0, 0, 1, 1]])).tolist() == [0]


def test_an_import_that_was_cut_off_goes_on(scene, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        encode, calls = cv2.imencode, []

        def fail(*arguments):
            calls.append(1)
            if len(calls) > 7:
                raise KeyboardInterrupt
            return encode(*arguments)

        patch.setattr(cv2, "imencode", fail)
        with pytest.raises(KeyboardInterrupt):
            run(scene, out, "--every", 2)
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            run(scene, out)  # other crops: begins anew
    crops = {path: path.stat().st_mtime_ns for path in (out / "door").glob("*.jpg")}
    assert len(crops) == 7 and not (out / "crops.csv").exists()
    run(scene, out)
    assert all(path.stat().st_mtime_ns == written for path, written in crops.items())
    rows = table(out)
    assert {row["path"] for row in rows} == {
        f"door/{path.name}" for path in (out / "door").glob("*.jpg")
    }
    alone = tmp_path / "alone"
    run(scene, alone)
    assert table(alone) == rows
    for row in rows:
        assert (alone / row["path"]).read_bytes() == (out / row["path"]).read_bytes()
    written = (out / "crops.csv").stat().st_mtime_ns
    run(scene, out)  # complete: nothing is done again
    assert (out / "crops.csv").stat().st_mtime_ns == written


def test_another_import_of_a_recording_asks_first(scene, tmp_path):
    out = tmp_path / "out"
    run(scene, out)
    run(scene, out, camera="hall")
    many = len(table(out))
    with pytest.raises(
        InputError, match="holds an import of 'door' by camera 'door' with other tr"
    ):
        run(scene, out, "--every", 5)
    run(scene, out, "--every", 5, "--replace")
    rows = table(out)
    door = [row for row in rows if row["camid"] == "door"]
    assert {int(row["frame"]) for row in door} == {1, 6, 11, 16}
    assert len(rows) - len(door) == many // 2 and len(list((out / "door").glob("*.jpg"))) == len(
        door
    )
    with pytest.raises(
        InputError, match="has the recording 'door' already, and 'night' would begin"
    ):
        run(scene, out, "--recording", "night")
    run(scene, out, "--recording", "night", "--start", 3600, "--every", 5)
    times = {row["tracklet"]: float(row["time"]) for row in table(out) if row["camid"] == "door"}
    assert times["night-2"] == times["door-2"] + 3600


def test_ground_truth_tells_who_is_a_subject_and_how_much_is_seen(tmp_path):
    path = tmp_path / "gt.txt"
    path.write_text(
        "1,1,1,1,20,40,1,1,0.9\n1,2,21,1,20,40,1,7,1\n1,3,41,1,20,40,0,1,1\n1,4,61,1,20,40,1,1,0.2\n"
        "1,5,81,1,20,40,1,3,1\n"
    )
    tracks = read_tracks(path)
    assert tracks.wanted.tolist() == [True, False, False, True, False]
    assert read_tracks(path, (1, 7)).wanted.tolist() == [True, True, False, True, False]
    places, _, left_out = choose_boxes(tracks, (200, 100), max_covered=0.5)
    assert tracks.ids[places].tolist() == [1]
    assert left_out == {"no subject": 3, "hidden to more than 50%": 1}
    # MOT15 has a flag where results have a confidence, which may be negative.
    path.write_text("1,1,1,1,9,9,1,-1,-1,-1\n2,1,1,1,9,9,0,-1,-1,-1\n")
    assert read_tracks(path).wanted.tolist() == [True, False]
    path.write_text("1 1 1.5 1 9 9 -0.3 -1 -1 -1\n2 1 1 1 9 9 0 -1 -1 -1\n")
    assert read_tracks(path).wanted.all()
    assert read_tracks(path).boxes[0].tolist() == [0.5, 0, 9.5, 9]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "found no line in"),
        ("1,1,1,1,9\n", r"tracks\.txt:1 reads '1,1,1,1,9', expected a box of a track"),
        ("frame,id,left,top,width,height\n", "expected a box of a track"),
        ("1,1,1,1,9,0,1\n", "with a width and height above 0"),
        ("1,1,1,1,9,nan,1\n", "expected a box of a track"),
        ("1,1,1,1,9,9,1\n1,2,1,1,9,9\n", "has 6 columns and the lines above 7"),
        ("1,-1,1,1,9,9,1\n", "1 of the 1 lines .* have the id -1: they are detections"),
        ("1,3,1,1,9,9\n1,3,2,1,9,9\n", "track 3 has 2 boxes in frame 1 of"),
        ("1,3,1,1,9,9,1,99,1\n", "nine columns .* but its last two are no class"),
        ("0,3,1,1,90,90\n", "the tracks have boxes in the frames 0 to 0, and .* has 1 to 20"),
        ("1,3,1,1,90,90\n99,3,1,1,90,90\n", "frame 99 of .* is not there or cannot be decoded"),
        ("1,3,1,1,9,90\n", "found no box to crop among the 1 of .* 1 smaller than 16×32 pixels"),
    ],
)
def test_tracks_that_cannot_be_used_are_told(scene, tmp_path, text, words):
    path = tmp_path / "tracks.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        run(scene, tmp_path / "out", tracks=path)
    assert not (tmp_path / "out" / "crops.csv").exists()


def test_frames_that_cannot_be_used_are_told(scene, tmp_path):
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "a.png"), picture(0))
    (tmp_path / "text.mp4").write_text("no video")
    for frames, words in (
        ("no.mp4", "found nothing at"),
        (tmp_path / "text.mp4", "no frame of .* can be decoded"),
        (tmp_path / "frames", r"'a\.png' in .* does not end in a number of its own"),
    ):
        with pytest.raises(InputError, match=words):
            run(scene, tmp_path / "out", frames=frames)
    for frame in range(NUM_FRAMES):
        cv2.imwrite(str(tmp_path / "frames" / f"{frame + 1}.png"), picture(frame))
    (tmp_path / "frames" / "a.png").unlink()
    with pytest.raises(InputError, match=r"found no frame rate of .* give --frame-rate"):
        run(scene, tmp_path / "out", frames=tmp_path / "frames")
    run(
        scene,
        tmp_path / "out",
        "--frame-rate",
        4,
        "--start",
        "2026-05-01",
        frames=tmp_path / "frames",
    )
    times = sorted({float(row["time"]) for row in table(tmp_path / "out")})
    assert times[0] == 1777593600 and times[1] == times[0] + 0.25
    with pytest.raises(InputError, match=r"--camera '\.\./up', expected a name without slashes"):
        run(scene, tmp_path / "out", camera="../up")


def test_recordings_are_named_by_their_sequence(scene):
    assert recording_name(scene / "MOT17-02-DPM") == "MOT17-02"
    assert recording_name(scene / "MOT17-02-DPM" / "img1") == "MOT17-02"
    assert recording_name(scene / "door.avi") == "door"
    frames = Frames(scene / "MOT17-02-DPM" / "img1")
    assert frames.rate == 20 and frames.numbers == (1, 20) and frames.size == SIZE
    video = Frames(scene / "door.avi", first=0)
    assert video.rate == 10 and video.numbers == (0, 19)
    (number, image), (last, _) = video.read([3, 19])
    assert (number, last) == (3, 19) and np.abs(image.astype(int) - picture(3)).mean() < 8
