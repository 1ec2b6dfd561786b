"""Answers by the truth: what they are worth, and a training that hears them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmreid_uda.config import load_config
from mmreid_uda.datasets import build_dataset
from mmreid_uda.engine import build_runner

TOOL = "tools/analysis/oracle_corrections.py"


@pytest.mark.slow
def test_answers_are_measured_and_drawn(run_tool, tiny, tmp_path):
    out, picture = tmp_path / "answers.json", tmp_path / "answers.png"
    options = ("--answers", 0, 6, 12, "--batch", 6, "--seeds", 1, 2, "--cache", tmp_path / "cache")
    options += ("--rules", "ask_me", "uniform")
    _, said = run_tool(TOOL, tiny(), *options, "--name", "people", "--out", out)
    result = json.loads(out.read_text())
    assert result["name"] == "people" and result["answers"] == [0, 6, 12] and result["batch"] == 6
    for runs in result["rules"].values():
        assert [[one["answers"] for one in run] for run in runs] == [[0, 6, 12]] * 2
        assert all(0 <= one["f_score"] <= 1 and one["ari"] <= 1 for run in runs for one in run)
    first, second = result["rules"]["ask_me"]
    assert first[0] != second[0]  # of other images
    values = np.array([[one["f_score"] for one in run] for run in (first, second)])
    row = next(line for line in said.splitlines() if line.startswith("| people | ask me | F "))
    assert f"{values[:, 2].mean():.3f} ± {values[:, 2].std(ddof=1):.3f} |" in row
    _, said = run_tool(TOOL, "--draw", out, out, "--picture", picture)
    assert picture.stat().st_size > 5000 and row in said


@pytest.mark.slow
def test_answers_are_written_for_a_training(run_tool, tiny, tmp_path):
    links, config = tmp_path / "links.csv", tiny()
    options = ("--rules", "ask_me", "--seeds", 1, "--answers", 10, "--batch", 5)
    run_tool(TOOL, config, *options, "--write-links", links)
    trained = {"target.links": str(links), "train_cfg.max_epochs": 1, "iters_per_epoch": 1}
    cfg = load_config(config, {**trained, "default_hooks.report": None, "relabel.min_clusters": 2})
    target = build_dataset(cfg.target, "train", data_root=cfg.data_root, labels="unlabeled")
    told = target.evidence.links
    assert len(told) == 10 and not any("say nothing" in note for note in target.notes)
    truth = target.true_labels
    assert np.array_equal(truth[told.first] == truth[told.second], told.must)
    runner = build_runner(cfg)
    runner.train()
    labels = np.load(tmp_path / "work" / "pseudo_labels" / "epoch_001.npz")
    statistics = json.loads(str(labels["statistics"]))
    violated = [value for name, value in statistics.items() if name.endswith("_violated")]
    assert violated and not any(violated)


def test_nothing_to_measure_is_told(run_tool):
    status, said = run_tool(TOOL, check=False)
    assert status == 2 and "found nothing to measure, expected a config or a run" in said
