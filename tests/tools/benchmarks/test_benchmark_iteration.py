"""The benchmark of an iteration, run small from its command line."""

import json

import pytest

pytestmark = pytest.mark.slow

SMALL = ("--cfg-options", "input_size=64,32", "global_batch_size=8")


@pytest.mark.parametrize(
    ("config", "teaches"),
    [
        ("mmt/mmt-dbscan_mbv2_syntha2synthb", True),
        ("ptl/ptl_mbv2_synthb", False),
    ],
)
def test_an_iteration_is_measured_beside_its_passes(run_benchmark, tmp_path, config, teaches):
    path, config = tmp_path / "iteration.json", f"configs/{config}.py"
    result = run_benchmark("iteration", config, *SMALL, "--repetitions", 1, "--json", path)
    assert result.returncode == 0, result.stderr
    metrics = json.loads(path.read_text())[config]
    seconds = metrics["seconds"]
    assert metrics["ratio"] == pytest.approx(seconds["iteration"] / seconds["passes and optimiser"])
    assert metrics["ratio_to_passes"] == pytest.approx(seconds["iteration"] / seconds["passes"])
    assert 0 < seconds["losses"] < seconds["iteration"]
    assert (seconds["averages"] > 1e-4) == teaches
    assert f"{metrics['ratio']:.3f} (" in result.stdout


def test_another_kind_of_model_is_one_sentence(run_benchmark):
    result = run_benchmark("iteration", "configs/ptl/ptl_mbv2_digits.py")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "error: found the model ImageClassifier" in result.stderr
