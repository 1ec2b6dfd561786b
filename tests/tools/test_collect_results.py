"""The table of several runs, from its command line."""

import json

import pytest
from processes import run_script


@pytest.fixture
def collect_results(tmp_path):
    """Write runs (name -> epoch -> figures) and tabulate them."""

    def run(runs, *arguments):
        for name, epochs in runs.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "results.json").write_text(json.dumps(dict(epochs=epochs)))
            (tmp_path / name / "teacher.json").write_text(json.dumps(dict(found=epochs["10"])))
        return run_script("tools/analysis/collect_results.py", f"{tmp_path}/*", *arguments)

    return run


RUNS = {
    "fat-seed1": {"0": {"b/mAP": 1.0, "b/R1": 2.0}, "10": {"b/mAP": 50.0, "b/R1": 60.0}},
    "fat-seed2": {"2": {"b/mAP": 9.0, "b/R1": 9.0}, "10": {"b/mAP": 54.0, "b/R1": 64.0}},
    "ce": {"10": {"b/mAP": 40.0, "b/R1": 45.0, "a/mAP": 7.0}},
}


def test_the_last_epochs_of_the_seeds_are_one_row(collect_results, tmp_path):
    done = collect_results(RUNS, "--out", str(tmp_path / "table.md"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "| run | seeds | b/mAP | b/R1 | a/mAP |",
        "|---|---|---|---|---|",
        "| ce | 1 | 40.0 | 45.0 | 7.0 |",
        "| fat | 2 | 52.0 ± 2.8 | 62.0 ± 2.8 | – |",
    ]
    assert (tmp_path / "table.md").read_text() == done.stdout


def test_a_stopped_run_is_a_row_of_its_own(collect_results, tmp_path):
    assert collect_results(RUNS).returncode == 0
    for name, planned in (("fat-seed1", 10), ("fat-seed2", 50)):
        results = tmp_path / name / "results.json"
        results.write_text(json.dumps({**json.loads(results.read_text()), "max_epochs": planned}))
    done = collect_results({})
    assert done.stdout.splitlines()[3:] == [
        "| fat | 1 | 50.0 | 60.0 | – |",
        "| fat (unfinished: 10 of 50 epochs) | 1 | 54.0 | 64.0 | – |",
    ]
    # What all have reached may be compared.
    assert "unfinished" not in collect_results({}, "--epoch", "10").stdout


def test_runs_without_evaluation_have_figures_of_their_labels(collect_results, tmp_path):
    assert collect_results(RUNS).returncode == 0
    for seed, ari in ((1, 0.5), (2, 0.7)):
        results = tmp_path / f"fat-seed{seed}" / "results.json"
        labels = {str(epoch): dict(outliers=9.0 * epoch, ari_previous=ari) for epoch in range(10)}
        content = dict(epochs={}, last_epoch=10, max_epochs=10, labels=labels)
        results.write_text(json.dumps(content))
    done = collect_results({}, "--metrics", "mAP", "outliers", "ari_previous")
    assert done.stdout.splitlines() == [
        "| run | seeds | b/mAP | a/mAP | cluster/outliers | cluster/ari_previous |",
        "|---|---|---|---|---|---|",
        "| ce | 1 | 40.0 | 7.0 | – | – |",
        "| fat | 2 | – | – | 81 ± 0 | 0.6 ± 0.141 |",
    ]
    done = collect_results({})
    assert (
        "found no mAP or R1 in" in done.stderr and "evaluated after the epochs none" in done.stderr
    )


def test_other_files_are_read_too(collect_results):
    done = collect_results(RUNS, "--file", "teacher.json", "--metrics", "R1")
    assert done.stdout.splitlines()[0] == "| run | seeds | found/b/R1 |"
    assert done.stdout.splitlines()[-1] == "| fat | 2 | 62.0 ± 2.8 |"


def test_runs_without_figures_are_named_in_one_sentence(collect_results):
    done = collect_results(RUNS, "--epoch", "2")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "ce" in done.stderr and "epochs 10" in done.stderr


def test_half_a_file_is_named(collect_results, tmp_path):
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "results.json").write_text('{"epochs": {"10": {"b/m')
    done = collect_results({})
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "cut/results.json' is no JSON" in done.stderr
