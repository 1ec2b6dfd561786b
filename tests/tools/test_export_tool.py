"""``mmreid export``: every target from the command line, compared before it ends; what does not fit is a sentence."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from deployment import SMALL_ARGUMENTS, call_tool

from mmreid_uda.apis import ReIDInferencer
from mmreid_uda.cli.main import main

CONFIG = "ise_mbv2_synthb"


@pytest.fixture
def mmreid(monkeypatch, capsys):
    """Run a command as from a shell; gives the status, and what was printed and complained about."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mmreid", *map(str, words)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        status = 0
        try:
            main()
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return run


def test_boxmot_is_compared_on_rendered_crops(mmreid, checkpoint, tmp_path):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "tracker.onnx"
    words = ("export", CONFIG, checkpoint, out, "--to", "boxmot", "--threads", 1)
    status, said, error = mmreid(*words, *SMALL_ARGUMENTS)
    assert status == 0, error
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "tracker.onnx",
        "tracker.onnx.metadata.json",
    ]
    assert "1 - cosine, of 27 images of the size of the input: " in said
    least = float(said.rstrip().rpartition(" ")[2])
    assert 0.5 < least < 1  # resized bilinearly there, by OpenCV's bicubic kernel here


def test_a_folder_serves_every_tool_that_asks_for_a_model(
    mmreid, checkpoint, inferencer, crops, tmp_path
):
    pytest.importorskip("safetensors")
    pytest.importorskip("onnxruntime")
    out = tmp_path / "hub"
    words = ("export", CONFIG, checkpoint, out, "--to", "pretrained", "--verify", *crops[:3])
    status, said, error = mmreid(*words, *SMALL_ARGUMENTS)
    assert status == 0 and "features of 3 images are bit for bit those of the model" in said, error
    features = tmp_path / "f.npz"
    call_tool("tools/extract_features.py", out, crops[2], "--out", features, "--device", "cpu")
    with np.load(features) as written:
        assert written["fingerprint"] == inferencer.fingerprint
        np.testing.assert_allclose(written["features"], inferencer(crops[2]), atol=1e-6)
    graph = tmp_path / "m.onnx"
    status, _, error = mmreid("export", out, graph, "--verify", crops[0], "--threads", 1)
    assert status == 0, error
    description = json.loads(graph.with_suffix(".json").read_text())
    assert description["fingerprint"] == inferencer.fingerprint
    assert description["config"] == CONFIG


def test_features_that_a_folder_does_not_give_are_told(
    mmreid, checkpoint, crops, tmp_path, monkeypatch
):
    pytest.importorskip("safetensors")
    right = ReIDInferencer.from_pretrained.__func__

    def nearly(cls, *words):
        again = right(cls, *words)
        again.model.flip = True
        return again

    monkeypatch.setattr(ReIDInferencer, "from_pretrained", classmethod(nearly))
    words = ("export", CONFIG, checkpoint, tmp_path / "hub", "--to", "pretrained")
    status, _, error = mmreid(*words, "--verify", crops[0], *SMALL_ARGUMENTS)
    assert status == 2 and "are not those of the model on 1 images" in error


@pytest.mark.slow
def test_a_conversion_that_is_wrong_is_not_deployed(
    mmreid, checkpoint, crops, tmp_path, monkeypatch
):
    pytest.importorskip("onnxruntime")
    from mmreid_uda.apis import export_boxmot

    monkeypatch.setattr(export_boxmot, "_MEAN", (0.3, 0.4, 0.5))
    words = ("export", CONFIG, checkpoint, tmp_path / "m.onnx", "--to", "boxmot")
    good, _, error = mmreid(*words, "--verify", crops[0], *SMALL_ARGUMENTS)
    assert good == 0, error  # undone in the graph what is done outside
    prepared = export_boxmot.BoxMOTReader._prepared
    monkeypatch.setattr(
        export_boxmot.BoxMOTReader, "_prepared", lambda self, one: prepared(self, one)[::-1].copy()
    )
    status, _, error = mmreid(*words, "--verify", crops[0], *SMALL_ARGUMENTS)
    assert status == 2 and "differ by up to" in error and "do not deploy it" in error


@pytest.mark.parametrize(
    "words, said",
    [
        (("out", "--to", "boxmot"), "expected a name in .onnx"),
        (("out", "--to", "onnx"), "expected a name in .onnx"),
        (("file", "--to", "pretrained"), "cannot be written"),
        (("file/x", "--to", "roboflow"), "cannot be written"),
        (("m.onnx", "--to", "tflite"), "invalid choice: 'tflite'"),
        (("m.onnx", "--to", "boxmot", "--fp16"), "found --fp16 with --to boxmot"),
        (("out", "--to", "roboflow"), "cannot express this model: the backbone is MobileNetV2"),
    ],
)
def test_what_does_not_fit_is_one_sentence(mmreid, checkpoint, tmp_path, monkeypatch, words, said):
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    status, _, error = mmreid("export", CONFIG, checkpoint, *words, *SMALL_ARGUMENTS)
    assert status == 2 and said in error and len(error.splitlines()) == 1, error
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
