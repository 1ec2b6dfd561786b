"""The benchmark of a mean teacher's iteration, run small from its command line."""

import json

import pytest

pytestmark = pytest.mark.slow

SMALL = (
    "--cfg-options",
    "input_size=64,32",
    "global_batch_size=8",
    "encoder.norm.samples_per_group=8",
)


def test_an_iteration_is_measured_beside_its_passes(run_benchmark, tmp_path):
    path = tmp_path / "iteration.json"
    result = run_benchmark(
        *("iteration", "configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py", *SMALL),
        *("--repetitions", 1, "--json", path),
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads(path.read_text())
    seconds = metrics["seconds"]
    assert metrics["ratio"] == pytest.approx(seconds["iteration"] / seconds["passes and optimiser"])
    assert metrics["ratio_to_passes"] == pytest.approx(seconds["iteration"] / seconds["passes"])
    assert f"alone: {metrics['ratio_to_passes']:.3f}" in result.stdout


def test_a_model_without_teachers_is_one_sentence(run_benchmark):
    result = run_benchmark("iteration", "configs/ise/ise_mbv2_synthb.py")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "error: found the model ISE" in result.stderr
