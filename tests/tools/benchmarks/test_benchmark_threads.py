"""The benchmark of threads runs each policy, and how threads wait changes no gradient."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_waiting_changes_no_bit(run_benchmark, tmp_path):
    path = tmp_path / "threads.json"
    small = ("--busy", 0, "--steps", 2, "--batch", 2, "--repetitions", 1)
    result = run_benchmark("threads", *small, "--json", path)
    assert result.returncode == 0, result.stderr
    policies = json.loads(path.read_text())["0"]
    assert policies["one"]["threads"] == 1 and policies["passive"]["policy"] == ["PASSIVE"]
    gradients = {policies[name]["gradients"] for name in ("spin", "spin 10000", "passive", "tools")}
    assert len(gradients) == 1
    assert all(one["seconds"] > 0 for one in policies.values())
