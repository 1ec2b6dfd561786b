"""The benchmark of rendering, run small from its command line."""

import json

import pytest


@pytest.mark.slow
def test_rates_of_all_domains_lie_between_the_slowest_and_the_fastest(run_benchmark, tmp_path):
    file = tmp_path / "rendering.json"
    result = run_benchmark(
        *("rendering", "--variants", "a", "world", "--num-cameras", 2, "--num-images", 4),
        *("--warm-up", 2, "--repetitions", 3, "--json", file),
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads(file.read_text())["rows"]
    assert list(rows) == ["a", "world"]
    for name, row in rows.items():
        assert 0 < row["slowest"] <= row["crops_per_second"] <= row["fastest"]
        assert row["cameras"] == 2 and row["ms_per_place"] > 0
        assert f"{name:10}{row['crops_per_second']:22.0f}" in result.stdout
