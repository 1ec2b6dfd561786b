"""A gallery from the command line: it grows, is searched, is told who is who, and shrinks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from deployment import SMALL_ARGUMENTS, call_tool

from mmreid_uda.gallery import FileGallery, Threshold, open_gallery

TOOL = "tools/gallery.py"
CONFIG = "configs/ise/ise_mbv2_synthb.py"
QUIET = ("--device", "cpu", "--num-workers", "0")


@pytest.fixture
def model(checkpoint):
    """The words that name a small model."""
    return ("--config", CONFIG, "--checkpoint", checkpoint, *SMALL_ARGUMENTS)


@pytest.fixture
def cameras(crops, tmp_path):
    """Eight crops in the folders of two cameras."""
    for number, path in enumerate(crops[:8]):
        place = tmp_path / "shop" / f"camera{number % 2}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), cv2.imread(path))
    return tmp_path / "shop"


def refusal(capsys, *arguments):
    """The sentence of a command that must refuse."""
    with pytest.raises(SystemExit) as stopped:
        call_tool(TOOL, *arguments)
    captured = capsys.readouterr()
    assert stopped.value.code == 2 and captured.err.startswith("error: ")
    return captured.err


@pytest.mark.parametrize("name", ["shop", "shop.npz"])
def test_images_are_added_searched_labeled_and_deleted(
    model, cameras, crops, tmp_path, capsys, name
):
    gallery = tmp_path / "galleries" / name
    add = ("add", gallery, cameras, "--folders", "camera", *QUIET)
    call_tool(TOOL, *add, *model)
    assert "8 added; 8 items" in capsys.readouterr().out
    call_tool(TOOL, *add)  # the gallery knows its model
    assert "8 there already; 8 items" in capsys.readouterr().out

    query = ("search", gallery, *crops[4:6], "--topk", 3, *QUIET)
    call_tool(TOOL, *query, "--json")
    answers = json.loads(capsys.readouterr().out)
    assert [answer["query"] for answer in answers] == crops[4:6]
    for number, answer in zip((4, 5), answers):
        first, second, third = answer["matches"]
        assert first["path"] == str(cameras / f"camera{number % 2}" / f"{number}.png")
        assert first["camera"] == f"camera{number % 2}" and "time" not in first
        assert first["similarity"] > second["similarity"] >= third["similarity"]
    call_tool(TOOL, *query, "--not-camera", "camera0")
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 8 and table[0] == crops[4]
    assert all(line.endswith("camera1") for line in table if line[:6].strip().isdigit())
    call_tool(TOOL, *query, "--together", "--threshold", 0.999, "--json")
    [together] = json.loads(capsys.readouterr().out)
    assert together["query"] == " + ".join(crops[4:6]) and not together["matches"]

    call_tool(TOOL, "label", gallery, "--camera", "camera1", "--as", "Ann")
    assert "4 items are 'Ann' now" in capsys.readouterr().out
    call_tool(TOOL, "info", gallery)
    shown = capsys.readouterr().out
    assert "8 of 8 items, 1280 dimensions" in shown
    assert "camera    2: camera0 (4), camera1 (4)\n" in shown
    assert "identity  1: Ann (4); unknown of 4\n" in shown and CONFIG in shown

    call_tool(TOOL, "delete", gallery, "--identity", "Ann")
    assert "4 deleted; 4 items" in capsys.readouterr().out
    call_tool(TOOL, *add)
    assert "4 added, 4 there already; 8 items" in capsys.readouterr().out


def test_names_that_no_item_has_and_empty_answers_are_told(model, cameras, crops, tmp_path, capsys):
    gallery = tmp_path / "gallery.npz"
    call_tool(TOOL, "add", gallery, cameras, "--folders", "camera", *QUIET, *model)
    capsys.readouterr()
    query = ("search", gallery, crops[4], *QUIET, "--topk", 3)
    call_tool(TOOL, *query, "--camera", "Camera1", "--not-camera", "camera0", "elsewhere")
    told = capsys.readouterr()
    assert told.out == f"{crops[4]}\n        nothing found\n"
    assert told.err.count("no item has the camera") == 2
    assert "no item has the camera 'Camera1'; nearest: camera1, camera0\n" in told.err
    assert "'elsewhere'; known are 2: camera0 (4), camera1 (4)\n" in told.err
    call_tool(TOOL, "label", gallery, "--tracklet", "7", "--as", "Ann")
    told = capsys.readouterr()
    assert "no item has the tracklet '7'; known are none" in told.err
    assert "0 items are 'Ann' now" in told.out
    call_tool(TOOL, *query, "--camera", "camera1", "camera0", "--center")
    told = capsys.readouterr()
    assert "no item" not in told.err and "rank, score that it is ranked by" in told.err


def test_the_table_draws_a_line_at_the_threshold(model, cameras, crops, tmp_path, capsys):
    gallery = tmp_path / "gallery.npz"
    call_tool(TOOL, "add", gallery, cameras, "--folders", "camera", *QUIET, *model)
    capsys.readouterr()
    query = ("search", gallery, crops[4], *QUIET, "--topk", 8)
    call_tool(TOOL, *query)
    plain = capsys.readouterr().out
    found = [float(line.split()[1]) for line in plain.splitlines()[1:]]
    middle = (found[2] + found[3]) / 2
    with open_gallery(gallery) as one:
        one.change_settings(threshold=Threshold(middle, 0.01, 0.9, 10, 1000, 0.01))
    call_tool(TOOL, *query)
    lines = capsys.readouterr().out.splitlines()
    assert lines[4] == f"        ---- below the threshold, {middle:.4f}: likely others"
    assert "\n".join(lines[:4] + lines[5:]) + "\n" == plain
    for other in (("--threshold", 0.1), ("--center",)):
        call_tool(TOOL, *query, *other)
        assert "----" not in capsys.readouterr().out


def test_what_is_told_later_is_kept(model, cameras, tmp_path, capsys):
    gallery = tmp_path / "gallery.npz"
    call_tool(TOOL, "add", gallery, cameras, *QUIET, *model)
    assert FileGallery.load(gallery).values("camera") == {"": 8}
    call_tool(TOOL, "add", gallery, cameras, "--folders", "camera", *QUIET)
    assert "8 changed; 8 items" in capsys.readouterr().out
    assert FileGallery.load(gallery).values("camera") == {"camera0": 4, "camera1": 4}
    call_tool(TOOL, "add", gallery, cameras, *QUIET)
    assert "8 there already; 8 items" in capsys.readouterr().out
    call_tool(TOOL, "add", gallery, cameras, "--camera", "door", *QUIET)
    assert FileGallery.load(gallery).values("camera") == {"door": 8}


def test_broken_images_are_listed_and_left_out(model, cameras, tmp_path, capsys):
    broken = cameras / "b.jpg"
    broken.write_bytes((cameras / "camera0" / "0.png").read_bytes()[:200])
    gallery = tmp_path / "gallery.npz"
    call_tool(TOOL, "add", gallery, cameras, *QUIET, *model)
    captured = capsys.readouterr()
    assert f"skipped, cannot be read: {broken}\n" in captured.err
    assert "8 added, 1 skipped, cannot be read; 8 items" in captured.out


def test_a_gallery_goes_to_a_file_and_back(model, cameras, tmp_path, capsys):
    call_tool(TOOL, "add", tmp_path / "a", cameras, "--folders", "camera", *QUIET, *model)
    call_tool(TOOL, "export", tmp_path / "a", tmp_path / "all.npz")
    call_tool(TOOL, "import", tmp_path / "b", tmp_path / "all.npz")
    assert "8 imported; 8 items" in capsys.readouterr().out
    with open_gallery(tmp_path / "a") as first, open_gallery(tmp_path / "b") as second:
        [one], [other] = first.scan(), second.scan()
        assert one.ids == other.ids and first.settings == second.settings
        np.testing.assert_array_equal(one.features, other.features)
        np.testing.assert_array_equal(one.cameras, other.cameras)


def test_retention_takes_away_what_is_old(model, cameras, tmp_path, capsys):
    gallery = tmp_path / "gallery"
    call_tool(TOOL, "add", gallery, cameras / "camera0", "--retention-days", 30, *QUIET, *model)
    with open_gallery(gallery) as opened:
        [items] = opened.scan()
        days = np.array([0, 10, 40, 50])
        old = time.time() - 86400 * days
        opened.upsert(type(items).of(items.features, items.paths, ids=items.ids, added=old))
    call_tool(TOOL, "add", gallery, cameras / "camera1", *QUIET)
    assert "4 added, 2 deleted by age; 6 items" in capsys.readouterr().out
    call_tool(TOOL, "delete", gallery, "--older-than", 5)
    assert "1 deleted; 5 items" in capsys.readouterr().out
    audit = [json.loads(line) for line in (gallery / "audit.jsonl").read_text().splitlines()]
    assert [one["what"] for one in audit] == ["add", "delete", "add", "delete"]
    assert audit[3]["where"] == {"older_than": 5}


@pytest.mark.slow
def test_a_folder_is_watched_until_the_tool_is_stopped(model, cameras, crops, tmp_path):
    gallery = tmp_path / "gallery.npz"
    words = ("add", gallery, cameras, "--watch", "0.3", "--folders", "camera", *QUIET, *model)
    process = subprocess.Popen(
        [sys.executable, TOOL, *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert "8 added; 8 items" in process.stdout.readline()
        half, late = cameras / "camera1" / "half.tmp", cameras / "camera1" / "late.png"
        half.write_bytes(Path(crops[9]).read_bytes())
        os.replace(half, late)
        assert "1 added; 9 items" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    finally:
        process.kill()
    assert str(late) in FileGallery.load(gallery).items.paths


def test_wrong_calls_are_one_sentence(model, cameras, tmp_path, capsys):
    gallery = tmp_path / "gallery"
    words = refusal(capsys, "add", gallery, cameras, *QUIET)
    assert str(gallery) in words and "--config" in words
    call_tool(TOOL, "add", gallery, cameras / "camera0", *QUIET, *model)
    capsys.readouterr()
    assert "correct the path" in refusal(capsys, "add", gallery, "nowhere", *QUIET)
    assert "--everything" in refusal(capsys, "delete", gallery)
    assert "found no condition" in refusal(capsys, "label", gallery, "--as", "Ann")
    words = refusal(capsys, "add", gallery, cameras, *QUIET, *model[:4])
    assert "fingerprint" in words
    assert "tell identities" in refusal(capsys, "calibrate", gallery)


def test_a_threshold_is_found_on_labeled_items(model, crops, tmp_path, capsys):
    folder = tmp_path / "people"
    for number, path in enumerate(crops[:24]):
        place = folder / Path(path).name.split("_")[0] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(Path(path).read_bytes())
    gallery = tmp_path / "gallery"
    call_tool(TOOL, "add", gallery, folder, "--folders", "identity", *QUIET, *model)
    call_tool(TOOL, "calibrate", gallery, "--far", 0.1)
    assert " pairs of one subject, " in capsys.readouterr().out
    with open_gallery(gallery) as opened:
        [items] = opened.scan()
        threshold = opened.settings.threshold
    similarities = items.features @ items.features.T
    same = items.identities[:, None] == items.identities
    pairs = np.triu(np.ones_like(same), 1)
    accepted = (similarities >= threshold.similarity) & pairs
    assert accepted[~same].sum() <= 0.1 * pairs[~same].sum()
    assert threshold.tpr == pytest.approx(accepted[same].sum() / pairs[same].sum())


@pytest.fixture
def walkers(crops, tmp_path):
    """A config of four people who come to camera 2 twenty seconds after camera 1, and a run's labels of others."""
    for number in range(4):
        for camera, seconds in ((1, 100 * number), (2, 100 * number + 20)):
            place = tmp_path / "walkers" / f"{number}_c{camera}_{seconds}.png"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(Path(crops[6 * number + camera]).read_bytes())
    config = tmp_path / "walkers.py"
    config.write_text(
        f'_base_ = "{Path(CONFIG).resolve()}"\n'
        'target = dict(_delete_=True, type="FolderReIDDataset", name="walkers", '
        f'data_root="{tmp_path}/walkers", pattern=r"(?P<pid>\\d)_c(?P<camid>\\d)_(?P<time>\\d+)")\n'
    )
    run = tmp_path / "run"
    (run / "pseudo_labels").mkdir(parents=True)
    begin = np.arange(30) * 7.0
    np.savez(
        run / "pseudo_labels" / "epoch_010.npz",
        labels=np.repeat(np.arange(30), 2),
        paths=np.array([f"{one}.png" for one in range(60)]),
        cameras=np.tile(["1", "2"], 30),
        times=np.stack([begin, begin + 20], 1).reshape(-1),
    )
    return config, run


def test_a_time_prior_ranks_who_can_have_come_first(walkers, checkpoint, tmp_path, capsys):
    config, run = walkers
    gallery = tmp_path / "gallery.npz"
    model = ("--config", config, "--checkpoint", checkpoint, *SMALL_ARGUMENTS)
    call_tool(TOOL, "add", gallery, "target", "--split", "gallery", *QUIET, *model)
    times = FileGallery.load(gallery).items.times.tolist()
    assert times == [0, 20, 100, 120, 200, 220, 300, 320]
    words = (TOOL, "search", gallery, "target", "--split", "gallery", "--time-prior", run)
    words = (*words, "--bin-seconds", 2, "--bandwidth", 1, *QUIET)
    capsys.readouterr()
    call_tool(*words, "--json", "--topk", 8)
    captured = capsys.readouterr()
    assert "ranked by looks and by 30 ways between cameras" in captured.err
    answers = json.loads(captured.out)
    for answer in answers:
        scores = [match["score"] for match in answer["matches"]]
        assert len(scores) == 8 and scores == sorted(scores, reverse=True)
    # The images of a query's own camera have no probability; the person twenty seconds away is the best of the others.
    for number, answer in enumerate(answers):
        paths = [one["path"] for one in answer["matches"]]
        best = next(one for one in paths if f"_c{2 - number % 2}_" in one)
        assert Path(best).name.startswith(f"{number // 2}_c")
    images = tmp_path / "walkers"
    words = ("search", gallery, images, "--time-prior", run, *QUIET)
    assert "queries without cameras and times" in refusal(capsys, *words)


@pytest.mark.slow
def test_figures_with_a_time_prior_have_names_of_their_own(walkers, checkpoint, tmp_path):
    config, run = walkers
    out = tmp_path / "figures.json"
    words = (config, checkpoint, "--time-prior", run, "--out", out, "--work-dir", tmp_path / "w")
    words = (*words, "--bin-seconds", 2, "--bandwidth", 1, "--num-bins", 100)
    call_tool("tools/test.py", *words, "--cfg-options", "input_size=(64,32)")
    figures = json.loads(out.read_text())
    assert figures["walkers/time_mAP"] == 100 and {"walkers/mAP", "walkers/time_R1"} <= set(figures)
