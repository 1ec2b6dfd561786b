"""The test tool: it tests what the checkpoint holds or nothing, and leaves the run's folder as training left it."""

import json
import os
import subprocess
import sys

import pytest
from deployment import REPOSITORY, call_tool, make_model, write_checkpoint

ABMT = "configs/abmt/abmt_mbv2_syntha2synthb.py"
DIGITS = "configs/ptl/ptl_mbv2_digits.py"


def refused(capsys, *arguments):
    """Run the tool, which must refuse, and return its sentence."""
    with pytest.raises(SystemExit) as stopped:
        call_tool("tools/test.py", *arguments)
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2 and sentence.startswith("error: ")
    return sentence


@pytest.mark.slow
def test_a_checkpoint_that_lacks_tested_weights_is_refused(tiny, checkpoint, tmp_path, capsys):
    clusters = "default_hooks['cluster'].pop('clusterer')\nstage1 = None\n"
    config = tiny(ABMT, extra=clusters)
    sentence = refused(capsys, config, checkpoint)
    assert "tensors of ABMT with AsymmetricBranchEncoder that are tested" in sentence


def test_a_classifier_is_tested_with_its_head(tmp_path, capsys):
    model = make_model(DIGITS)
    path = write_checkpoint(tmp_path / "whole.pth", model)
    out, work_dir = tmp_path / "figures.json", tmp_path / "work"
    call_tool("tools/test.py", DIGITS, path, "--work-dir", work_dir, "--out", out)
    assert 0 <= json.loads(out.read_text())["accuracy/top1"] <= 100
    model.head = None
    path = write_checkpoint(tmp_path / "headless.pth", model)
    sentence = refused(capsys, DIGITS, path, "--work-dir", work_dir)
    assert "tensors of ImageClassifier" in sentence and "head." in sentence


@pytest.mark.slow
def test_the_config_that_training_left_stays(tiny, checkpoint, tmp_path):
    config, run = tiny(), tmp_path / "work"
    run.mkdir()
    (run / config.name).write_text("the whole config\n")
    call_tool("tools/test.py", config, checkpoint, "--out", tmp_path / "one.json")
    assert [log.parents[1] for log in tmp_path.rglob("*.log")] == [run / "test"]
    # On two processes, with the folder of the training by name: the same figures.
    command = [REPOSITORY / "tools" / "dist_test.sh", config, checkpoint, 2]
    command += ["--work-dir", run, "--out", tmp_path / "two.json"]
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHON=sys.executable)
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one == pytest.approx(two) and "synthb/mAP" in one
    assert (run / config.name).read_text() == "the whole config\n"
