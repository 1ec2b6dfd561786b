"""The benchmark of threads: how threads wait changes no gradient."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_waiting_changes_no_bit(run_benchmark, tmp_path):
    path = tmp_path / "threads.json"
    small = ("--busy", 0, "--steps", 2, "--batch", 2, "--repetitions", 1)
    result = run_benchmark("threads", *small, "--policies", "spin", "passive", "--json", path)
    assert result.returncode == 0, result.stderr
    policies = json.loads(path.read_text())["0"]
    assert (policies["spin"]["policy"], policies["passive"]["policy"]) == ([""], ["PASSIVE"])
    assert policies["spin"]["threads"] == policies["passive"]["threads"]
    assert policies["spin"]["gradients"] == policies["passive"]["gradients"] > 0
    assert all(one["seconds"] > 0 for one in policies.values())
