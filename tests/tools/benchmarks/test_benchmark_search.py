"""The benchmark of the search, run small from its command line."""

import json

import pytest
from deployment import call_tool

pytest.importorskip("faiss")


def test_latency_and_recall_of_every_index_are_measured(run_benchmark, tmp_path):
    path = tmp_path / "search.json"
    size = ("--num-gallery", 2000, "--dim", 32, "--num-queries", 40, "--widths", 4, 2000)
    result = run_benchmark("search", *size, "--json", path)
    assert result.returncode == 0, result.stderr
    metrics = json.loads(path.read_text())
    assert (metrics["num_gallery"], metrics["dim"], metrics["threads"]) == (2000, 32, 1)
    rows = {(row["index"], row["width"]): row for row in metrics["rows"]}
    assert set(rows) == {
        ("flat", None),
        *((kind, e) for kind in ("ivf", "hnsw") for e in (4, 2000)),
    }
    assert all(row["latency_p95_ms"] >= row["latency_ms"] > 0 for row in rows.values())
    assert rows["flat", None]["recall"] == rows["ivf", 2000]["recall"] == 1
    assert rows["ivf", 4]["recall"] < 1 and rows["hnsw", 2000]["recall"] > 0.99


def test_an_empty_problem_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as stopped:
        call_tool("tools/benchmarks/benchmark_search.py", "--num-queries", 0)
    assert stopped.value.code == 2 and "--num-queries: found '0'" in capsys.readouterr().err
