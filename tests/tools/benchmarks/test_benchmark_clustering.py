"""The clustering's benchmark: its reference is the papers' algorithm, and run small it finds our results equal."""

import json
import sys
from pathlib import Path

import benchmark_clustering as tool
import clustering_costs as costs
import clustering_sides as of_sides
import numpy as np
import pytest
import torch

from mmreid_uda.utils import InputError, kernels_available

ANGLES = np.radians([0, 7, 16, 40, 47, 58, 120, 131])
EIGHT = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).astype(np.float32)
# Jaccard distances of their pairs for k1 = 4, k2 = 2; all others are 1.
FAISS = {(0, 1): 0, (0, 2): 0.202072, (1, 2): 0.202072, (0, 3): 0.940303, (0, 4): 0.940303,
         (1, 3): 0.940303, (1, 4): 0.940303, (2, 3): 0.873202, (2, 4): 0.873202, (2, 5): 0.940458,
         (3, 4): 0, (3, 5): 0.202518, (4, 5): 0.202518, (6, 7): 0}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmark")


def test_the_reference_gives_the_distances_and_labels_of_the_notes():
    settings = of_sides.Settings(k1=4, k2=2, eps=0.5, min_samples=2, gpu=False)
    ranks = of_sides.reference_ranks(EIGHT, settings)
    rows = torch.from_numpy(EIGHT)
    encodings = of_sides.reference_encodings(
        ranks, settings, lambda i, others: rows[[i]] @ rows[others].T
    )
    distances = of_sides.reference_distances(encodings)
    expected = [
        [0 if i == j else FAISS.get((min(i, j), max(i, j)), 1) for i in range(8)] for j in range(8)
    ]
    np.testing.assert_allclose(distances, expected, atol=1e-5)
    labels = of_sides.reference(EIGHT, settings).labels
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 1, 1, 2, 2])


def test_the_sides_of_the_command_line_are_those_that_there_are():
    assert (*of_sides.SIDES,) == tool.SIDES


def test_a_changed_distance_is_noticed():
    from mmreid_uda.neighbors import jaccard_graph

    graph = jaccard_graph(EIGHT, 4, 2)
    dense = np.ones((8, 8), np.float32)
    coo = graph.tocoo()
    dense[coo.row, coo.col] = coo.data
    assert costs.largest_difference(graph, dense) == 0
    dense[0, 7] -= 0.25
    assert costs.largest_difference(graph, dense) == 0.25


def measured(monkeypatch, folder, *arguments):
    output = folder / "in_process.json"
    monkeypatch.setattr(
        costs, "added_memory", lambda *_, **__: None
    )  # processes of their own take seconds
    monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments), "--json", str(output)])
    tool.main()
    return json.loads(output.read_text())


@pytest.mark.slow
def test_real_features_are_measured_and_found_equal(folder, monkeypatch):
    path = folder / "features.npy"
    rng = np.random.default_rng(0)
    np.save(
        path, 3 * (rng.standard_normal((30, 32)).repeat(10, 0) + rng.standard_normal((300, 32)))
    )
    arguments = ("--features", path, "--num-samples", 200, "--repetitions", 1)
    metrics = measured(monkeypatch, folder, *arguments)
    assert (metrics["num_samples"], metrics["dim"]) == (200, 32)
    assert metrics["labels_equal"] is True and metrics["max_distance_difference"] <= 1e-6
    assert metrics["memory_ratio"] is None

    sides = ("--skip-reference", "--sides", "camera-aware")
    metrics = measured(monkeypatch, folder, *arguments, *sides)
    assert metrics["speedup"] is None and metrics["labels_equal"] is None
    assert [*metrics["sides"]] == ["float32", "camera-aware"]
    assert metrics["camera_after_knn"] > 0 and metrics["camera_memory"] is None


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--features", "nowhere.npy"], "nowhere.npy"),
        (["--growth", "400"], "2 sizes"),
    ],
)
def test_bad_arguments_are_named(monkeypatch, arguments, named):
    monkeypatch.setattr(sys, "argv", ["tool", *arguments])
    with pytest.raises(InputError, match=named):
        tool.main()


def test_a_number_out_of_range_is_an_error_of_usage(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tool", "--repetitions", "0"])
    with pytest.raises(SystemExit):
        tool.main()
    assert "argument --repetitions: found '0', expected" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_sentence(run_benchmark):
    result = run_benchmark("clustering", "--gpu")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert result.stderr.startswith("error: found no CUDA device")


# ---- the command line, with its processes for the memory of each side


@pytest.fixture(scope="module")
def metrics(run_benchmark, folder):
    pytest.importorskip("matplotlib")
    path = folder / "clustering.json"
    result = run_benchmark(
        "clustering",
        *("--num-samples", 500, "--dim", 64, "--repetitions", 2, "--growth", 200, 400),
        *("--json", path, "--figure", folder / "clustering.png"),
    )
    assert result.returncode == 0, result.stderr
    assert "GFLOP/s" in result.stdout and "labels equal: True" in result.stdout
    return json.loads(path.read_text())


@pytest.mark.slow
def test_ours_equals_the_dense_algorithm(metrics):
    assert metrics["labels_equal"] is True
    assert metrics["max_distance_difference"] <= 1e-6
    assert metrics["same_neighbors"]["reference"] == 1
    assert metrics["sides"]["float32"]["num_clusters"] > 5


@pytest.mark.slow
def test_every_side_is_measured(metrics):
    sides = {"reference", "float32", "JaccardDBSCAN", "camera-aware"}
    if kernels_available():
        sides |= {"int8", "without kernels"}
        assert metrics["same_neighbors"]["int8"] == 1
    assert set(metrics["sides"]) == sides
    expected = metrics["sides"]["reference"]["num_clusters"]
    for side, row in metrics["sides"].items():
        assert 0 < row["after_knn"] < row["seconds"]
        assert row["num_clusters"] == expected or side == "camera-aware"
    if Path("/proc/self/clear_refs").exists():
        assert metrics["sides"]["reference"]["added_bytes"] > 4 * 500**2


@pytest.mark.slow
def test_quotients_are_those_of_the_rows(metrics):
    sides = metrics["sides"]
    for key, side, of in [("speedup", "float32", "seconds"), ("speedup_int8", "int8", "seconds"),
                          ("speedup_without_kernels", "without kernels", "seconds"),
                          ("speedup_after_knn", "float32", "after_knn")]:  # fmt: skip
        if side in sides:
            assert metrics[key] == pytest.approx(sides["reference"][of] / sides[side][of])
    camera, plain = sides["camera-aware"], sides["float32"]
    for key, of in (("camera_after_knn", "after_knn"), ("camera_memory", "added_bytes")):
        if plain[of]:
            assert metrics[key] == pytest.approx(camera[of] / plain[of])
    floor = 500**2 * 64 / metrics["product_rate"]
    assert metrics["gemm_floor_ratio"] == pytest.approx(sides["float32"]["seconds"] / floor)


@pytest.mark.slow
def test_growth_has_a_row_per_size_and_the_figure_is_drawn(metrics, folder):
    assert metrics["growth"]["num_samples"] == [200, 400]
    row = metrics["growth"]["sides"]["float32"]
    assert len(row["seconds"]) == 2
    slope = np.log(row["seconds"][1] / row["seconds"][0]) / np.log(2)
    assert row["exponent_seconds"] == pytest.approx(slope)
    after = [row["cpu"][step] for step in ("encodings", "distances", "dbscan")]
    np.testing.assert_allclose(row["cpu"]["after kNN"], np.sum(after, 0))
    assert set(row["cpu_exponents"]) == set(row["cpu"])
    assert (folder / "clustering.png").read_bytes().startswith(b"\x89PNG")
