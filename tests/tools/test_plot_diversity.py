"""The figure of ABMT: measures of all starts of a run, one picture, a sentence where there is nothing to draw."""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import pytest

from mmreid_uda.utils import InputError

TOOL = Path(__file__).parents[2] / "tools" / "analysis" / "plot_diversity.py"


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("plot_diversity", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder, start, epochs):
    path = folder / start / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    lines = [{"loss": 1.0, "step": 25}]
    lines += [{"diversity/teacher": value, "step": epoch} for epoch, value in epochs.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_resumed_run_is_one_curve(tool, tmp_path):
    write(tmp_path / "run", "20260101_000000", {1: 0.1, 2: 0.2, 3: 0.9})
    write(
        tmp_path / "run", "20260102_000000", {3: 0.3, 4: 0.4}
    )  # epoch 3 was cut off and trained again
    curves = tool.read_run(tmp_path / "run")
    assert curves["diversity/teacher"] == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    assert curves["diversity/branches"] == {}


def test_runs_are_drawn_into_one_picture(tool, tmp_path, monkeypatch):
    for name in ("first", "second"):
        write(tmp_path / name, "20260101_000000", {1: 0.1, 2: 0.2})
    out = tmp_path / "new" / "picture.png"
    runs = [str(tmp_path / name) for name in ("first", "second")]
    monkeypatch.setattr(sys, "argv", ["plot", *runs, "--out", str(out)])
    tool.main()
    assert cv2.imread(str(out)).std() > 1


def test_a_folder_without_measures_is_named(tool, tmp_path):
    with pytest.raises(InputError, match=r"found no diversity measures in .*nothing"):
        tool.read_run(tmp_path / "nothing")
