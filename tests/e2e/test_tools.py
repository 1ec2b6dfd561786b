"""The tools a user starts: train, test and demo, from the command line."""

import json

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow


def test_a_checkpoint_tests_as_it_did_in_training_and_more(tiny, run_tool, tmp_path, results):
    config = tiny()
    run_tool("tools/train.py", config, "--work-dir", tmp_path / "run")
    before, last = (results(tmp_path / "run")[epoch] for epoch in ("0", "4"))
    out = tmp_path / "figures.json"
    for checkpoint, expected in (((tmp_path / "run" / "epoch_4.pth",), last), ((), before)):
        run_tool(
            "tools/test.py", config, *checkpoint, "--work-dir", tmp_path / "test", "--out", out
        )
        metrics = json.loads(out.read_text())
        assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    run_tool(
        "tools/test.py", config, tmp_path / "run" / "epoch_4.pth", "--rerank", "--flip", "--out", out,
        "--work-dir", tmp_path / "test",
    )  # fmt: skip
    assert json.loads(out.read_text())["synthb/rerank_mAP"] > 0


def test_the_demo_shows_before_and_after_and_can_be_repeated(tiny, run_tool, tmp_path):
    config, work_dir = tiny(), tmp_path / "demo"
    _, output = run_tool("tools/demo.py", "--config", config, "--work-dir", work_dir)
    summary = json.loads((work_dir / "summary.json").read_text())
    assert summary.keys() == {"labels", "before", "after", "config", "seconds"}
    assert summary["labels"]["evidence"] > summary["labels"]["features"] + 0.2
    assert f"{summary['labels']['evidence']:.2f}" in output
    assert summary["before"].keys() == summary["after"].keys() == {"mAP", "R1"}
    assert f"{summary['after']['mAP']:5.1f}" in output
    picture = cv2.imread(str(work_dir / "rank_lists.png"))
    rows = np.split(
        picture, 8
    )  # four queries, each before and after; a caption of 22 pixels above each row
    pairs = zip(rows[0::2], rows[1::2])
    assert any(not np.array_equal(before[22:], after[22:]) for before, after in pairs)
    _, again = run_tool("tools/demo.py", "--config", config, "--work-dir", work_dir)
    assert "Drawing" not in again and "Labelling" not in again
    assert f"{summary['after']['mAP']:5.1f}" in again


def test_mixed_precision_and_gradient_accumulation_train(tiny, run_tool, tmp_path, results):
    options = ("--amp", "--auto-scale-lr", "--seed", "3", "--cfg-options")
    settings = ("optim_wrapper.accumulative_counts=2", "train_cfg.max_epochs=2")
    run_tool("tools/train.py", tiny(), "--work-dir", tmp_path / "run", *options, *settings)
    assert "2" in results(tmp_path / "run")
