"""The evaluation's benchmark, run small from its command line."""

import json
from pathlib import Path

import pytest

SIZE = ("--num-queries", 150, "--num-gallery", 600, "--dim", 64, "--repetitions", 1)


@pytest.fixture(scope="module")
def metrics(run_benchmark, tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "evaluation.json"
    result = run_benchmark("evaluation", *SIZE, "--skip-memory", "--json", path)
    assert result.returncode == 0, result.stderr
    assert "150 queries × 600 gallery images" in result.stdout
    return json.loads(path.read_text())


@pytest.mark.slow
def test_our_figures_are_those_of_a_stable_sort(metrics):
    differences = metrics["parts"]["ranking"]["difference"]
    assert set(differences) == {"cmc", "mAP", "mINP"}
    assert max(differences.values()) < 1e-9


def test_our_reranked_distances_are_the_official_ones(metrics):
    differences = metrics["parts"]["re-ranking"]["difference"]
    assert differences["distance"] < 1e-6 and differences["share beyond 1e-6"] == 0


def test_speedup_is_the_quotient_of_its_rows(metrics):
    assert set(metrics["parts"]) == {"ranking", "end to end", "re-ranking"}
    ranking = metrics["parts"]["ranking"]
    assert {"python", "ours, plain", "ours"} <= set(ranking["rows"])
    reranking = metrics["parts"]["re-ranking"]
    assert set(reranking["rows"]) == {"official", "ours, plain", "ours"}
    quotient = reranking["rows"]["official"]["seconds"] / reranking["rows"]["ours"]["seconds"]
    assert reranking["speedup"] == pytest.approx(quotient)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the memory")
def test_memory_is_measured_for_our_side_alone(run_benchmark, tmp_path):
    path = tmp_path / "evaluation.json"
    result = run_benchmark(
        "evaluation", *SIZE, "--skip-reference", "--parts", "end to end", "--json", path
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads(path.read_text())["parts"]["end to end"]["rows"]
    assert set(rows) == {"ours"}
    assert 0 <= rows["ours"]["added_bytes"] < 2**27


@pytest.mark.slow
def test_two_ranks_share_the_queries_and_have_the_figures_of_one(run_benchmark, tmp_path):
    path = tmp_path / "evaluation.json"
    parts = ("--parts", "re-ranking", "--skip-reference", "--skip-memory")
    result = run_benchmark("evaluation", *SIZE, *parts, "--ranks", 1, 2, "--json", path)
    assert result.returncode == 0, result.stderr
    rows = json.loads(path.read_text())["over_ranks"]["re-ranking"]
    assert [len(rows[ranks]["cpu_seconds"]) for ranks in ("1", "2")] == [1, 2]
    assert rows["1"]["mAP"] == rows["2"]["mAP"] > 0


def test_a_peer_that_is_not_there_is_one_sentence(run_benchmark, tmp_path):
    result = run_benchmark("evaluation", *SIZE, "--peer", tmp_path)
    assert result.returncode == 2
    assert "no module rank_cy for this Python" in result.stderr and "Traceback" not in result.stderr


def test_an_empty_problem_is_one_sentence(run_benchmark):
    result = run_benchmark("evaluation", "--num-queries", 0)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr
