"""FAT's benchmark, run small from its command line."""

import json

import pytest


def test_costs_and_exponents_are_written(run_benchmark, tmp_path):
    small = ("--dim", 16, "--num-ids", 8, "--repetitions", 1, "--skip-memory")
    sizes = [
        argument
        for side in ("full-triplet", "batch-hard", "fat")
        for argument in (f"--sizes-{side}", 256, 512)
    ]
    json_file, figure = tmp_path / "fat.json", tmp_path / "fat.png"
    done = run_benchmark("fat", *small, *sizes, "--json", json_file, "--figure", figure)
    assert done.returncode == 0, done.stderr
    assert "time ~ N^" in done.stdout and figure.stat().st_size > 1000
    sides = json.loads(json_file.read_text())["sides"]
    assert sides.keys() == {"full triplet", "batch-hard", "FAT"}
    for row in sides.values():
        assert row["num_samples"] == [256, 512] and min(row["seconds"]) > 0
        slope = row["seconds"][1] / row["seconds"][0]
        assert 2 ** row["exponent_seconds"] == pytest.approx(slope)


def test_a_single_size_is_refused_in_one_sentence(run_benchmark):
    done = run_benchmark("fat", "--sizes-full-triplet", 512, "--skip-memory")
    assert done.returncode == 2 and done.stderr.startswith("error: ")
