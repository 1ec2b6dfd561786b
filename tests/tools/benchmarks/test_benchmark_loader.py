"""The loader's benchmark, run small from its command line."""

import importlib.util
import json

import pytest

from mmreid_uda.utils.parallel import kernels_available


@pytest.fixture(scope="module")
def metrics(run_benchmark, tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "loader.json"
    result = run_benchmark(
        "loader", "--num-images", 64, "--batch-size", 16, "--repetitions", 3, "--json", path
    )
    assert result.returncode == 0, result.stderr
    assert "PIL pipeline" in result.stdout and "with preprocessor" in result.stdout
    return json.loads(path.read_text())


def test_speedup_is_the_quotient_of_its_rows(metrics):
    rows = metrics["rows"]
    peers = {"PIL pipeline"} | (
        {"torchvision"} if importlib.util.find_spec("torchvision") else set()
    )
    assert set(rows) == peers | {"cv2", "pillow", "cv2, cold cache", "cv2, warm cache"}
    quotient = rows["cv2"]["loader"] / rows["PIL pipeline"]["loader"]
    assert metrics["speedup"] == pytest.approx(quotient)
    assert rows["cv2"]["with_preprocessor"] < rows["cv2"]["loader"]
    assert all(rows[one]["with_preprocessor"] == rows[one]["loader"] for one in peers)
    assert metrics["preprocessor"] > rows["cv2"]["loader"]


def test_our_loader_is_clearly_faster_than_pil(metrics):
    # Four times in a full run (see the tool); a few images on a busy machine prove less.
    assert metrics["speedup"] > 2.5
    assert metrics["num_images"] == 64 and 1500 < metrics["mean_bytes"] < 3500


@pytest.mark.skipif(not kernels_available(), reason="numba is not installed")
def test_resizing_as_pillow_does_costs_little(metrics):
    # 0.93 of OpenCV's rate in a full run; Pillow itself reaches 0.4.
    rows = metrics["rows"]
    assert rows["pillow"]["loader"] > 0.6 * rows["cv2"]["loader"]


def test_a_warm_cache_is_faster_than_decoding_and_a_cold_one_costs_little(metrics):
    rates = {name: row["loader"] for name, row in metrics["rows"].items()}
    assert rates["cv2, warm cache"] > 1.3 * rates["cv2"]
    assert rates["cv2, cold cache"] > 0.6 * rates["cv2"]


def test_missing_folder_is_one_sentence(run_benchmark):
    result = run_benchmark("loader", "--images", "nowhere")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr
