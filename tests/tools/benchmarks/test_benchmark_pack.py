"""The benchmark of packs, run small from its command line."""

import json

import pytest

pytest.importorskip("lmdb")


@pytest.mark.slow
def test_pack_and_files_are_one_dataset_and_the_pack_is_smaller(run_benchmark, tmp_path):
    path = tmp_path / "pack.json"
    words = ("--images", 200, "--sample", 100, "--files", "--folder", tmp_path / "made")
    result = run_benchmark("pack", *words, "--json", path)
    assert result.returncode == 0, result.stderr
    assert "cold, random: images per second" in result.stdout
    rows = json.loads(path.read_text())["rows"]
    assert rows["pack"]["fingerprint"] == rows["files"]["fingerprint"]
    assert rows["pack"]["disk_bytes"] < rows["files"]["disk_bytes"]
    assert rows["pack"]["warm, random"]["disk"] == 0
