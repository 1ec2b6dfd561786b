"""The benchmark of the server, run small: every case is measured, and a kill loses nothing that was acknowledged."""

import json

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("qdrant_edge")


@pytest.mark.slow
def test_searches_are_measured_and_a_kill_loses_nothing(run_benchmark, tmp_path):
    path = tmp_path / "serve.json"
    size = ("--num-gallery", 300, "--dim", 16, "--seconds", 0.2, "--clients", 1, 2, "--kills", 1)
    result = run_benchmark("serve", *size, "--json", path)
    assert result.returncode == 0, result.stderr
    metrics = json.loads(path.read_text())
    cases = [(row["search"], row["filter"], row["clients"]) for row in metrics["rows"]]
    assert len(set(cases)) == len(cases) == 8
    for row in metrics["rows"]:
        assert row["searches_per_second"] > 0 and row["recall"] > 0.9
        assert row["latency_p95_ms"] >= row["latency_ms"] > 0
    crashes = metrics["crashes"]
    assert crashes["kills"] == 1 and crashes["acknowledged"] >= 1
    assert crashes["lost"] == crashes["broken_extra"] == 0
    assert "1 kills while 4 clients added" in result.stdout
