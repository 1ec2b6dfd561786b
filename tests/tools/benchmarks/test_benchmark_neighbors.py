"""The benchmark of the lists of neighbours, run small from its command line."""

import json

import pytest

pytest.importorskip("faiss")


@pytest.mark.slow
def test_every_search_is_measured(run_benchmark, tmp_path):
    path = tmp_path / "neighbors.json"
    searches = ("float32", "ivf:2", "ivf:2+6", "ivf:900", "pq:900", "hnsw:200")
    size = ("--num-samples", 2000, "--dim", 32, "--search", *searches)
    result = run_benchmark("neighbors", *size, "--json", path)
    assert result.returncode == 0, result.stderr
    metrics = json.loads(path.read_text())
    rows = {(row["kind"], row["width"], row["refine"]): row for row in metrics["rows"]}
    assert len(rows) == 6 and all(row["cpu_seconds"] > 0 for row in rows.values())
    recall = {key: row["recall"] for key, row in rows.items()}
    assert recall["float32", 64, 0] == 1 and recall["ivf", 900, 0] > 0.999
    assert recall["ivf", 2, 0] < recall["ivf", 2, 6] < recall["ivf", 900, 0]
    assert recall["pq", 900, 0] > 0.9 and recall["hnsw", 200, 0] > 0.9


def test_a_search_that_is_none_is_one_sentence(run_benchmark):
    result = run_benchmark("neighbors", "--search", "ivf:64", "fast")
    assert result.returncode == 2 and "fast" in result.stderr
