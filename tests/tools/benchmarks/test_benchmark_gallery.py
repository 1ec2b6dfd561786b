"""The benchmark of galleries, run small from its command line."""

import json

import pytest

pytest.importorskip("qdrant_edge")
pytest.importorskip("qdrant_client")


@pytest.mark.slow
def test_every_back_end_is_measured(run_benchmark, tmp_path):
    path = tmp_path / "gallery.json"
    size = ("--num-gallery", 300, "--dim", 16, "--num-queries", 8, "--kills", 1)
    result = run_benchmark(
        "gallery", *size, "--back-ends", "file", "embedded", "server", "--json", path
    )
    assert result.returncode == 0, result.stderr
    assert "1 kills: " in result.stdout and " 0 of " in result.stdout
    metrics = json.loads(path.read_text())
    assert set(metrics["back_ends"]) == {"file", "embedded", "server"}
    for kind, side in metrics["back_ends"].items():
        assert side["deleted"] == 3 and side["items_per_second"] > 0
        assert len(side["searches"]) == (6 if kind == "file" else 12)
        for row in side["searches"]:
            assert row["p95_ms"] >= row["ms"] > 0 and row["recall"] > 0.9
