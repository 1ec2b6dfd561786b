"""The benchmark of the exports, run small from its command line."""

import json
from pathlib import Path

import pytest
from deployment import SMALL_ARGUMENTS, call_tool

pytestmark = pytest.mark.slow

TOOL = "tools/benchmarks/benchmark_export.py"
NAMES = r"(?P<pid>\d+)_c(?P<camid>\d+)"


def test_cosine_and_map_of_targets_are_measured(checkpoint, crops, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("safetensors")
    path = tmp_path / "export.json"
    data = ("--data", Path(crops[0]).parent, "--pattern", NAMES)
    words = ("--to", "boxmot", "pretrained", "--json", path, *SMALL_ARGUMENTS)
    call_tool(TOOL, "ise_mbv2_synthb", checkpoint, *data, *words)
    boxmot, pretrained = json.loads(path.read_text())["rows"]
    assert boxmot["conversion"] < 1e-5 and 0.5 < boxmot["least"] < boxmot["mean"] < 1
    assert 0 < boxmot["map"] < 100 and boxmot["map"] != boxmot["map_exported"]
    assert pretrained["map"] == pretrained["map_exported"] == boxmot["map"]
    assert pretrained["least"] == pytest.approx(1)
    assert f"mAP {boxmot['map']:.2f} -> {boxmot['map_exported']:.2f}" in capsys.readouterr().out


def test_another_network_is_not_taken_for_the_same(checkpoint, crops, capsys):
    pytest.importorskip("timm")
    data = ("--data", Path(crops[0]).parent, "--pattern", NAMES)
    words = ("--to", "roboflow", "--timm", "resnet10t", *SMALL_ARGUMENTS)
    with pytest.raises(SystemExit):
        call_tool(TOOL, "ise_mbv2_synthb", checkpoint, *data, *words)
    assert "expected the same shapes in the same order" in capsys.readouterr().err
