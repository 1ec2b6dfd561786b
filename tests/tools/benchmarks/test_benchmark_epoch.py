"""The benchmark of an epoch: parts add up to the whole, and every part of a run has a row."""

import json
import mmap

import numpy as np
import pytest
from epoch_costs import Meter, draw_thumbnails
from measuring import FORGET_PEAK


def test_parts_are_counted_without_those_inside_and_add_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(Meter, "_now", staticmethod(lambda: (now[0], 2 * now[0])))
    meter = Meter()

    def work(seconds):
        now[0] += seconds

    work(1)
    inner = meter.around(work, "inner")
    with meter.part("outer", "later"):
        work(2)
        inner(4)
        inner(8)
        with pytest.raises(ValueError), meter.part("failing"):
            work(16)
            raise ValueError
        work(32)
    work(64)
    meter.close()
    assert meter.seconds == {
        ("start", "everything else"): [65, 130, 0],
        ("later", "outer"): [34, 68, 1],
        ("later", "inner"): [12, 24, 2],
        ("later", "failing"): [16, 32, 1],
    }


@pytest.mark.skipif(not FORGET_PEAK.exists(), reason="Linux tells the memory")
def test_the_peak_of_a_part_holds_that_of_those_inside():
    meter = Meter()
    with meter.part("outer", memory=True), meter.part("inner", memory=True):
        # Not from the heap, which may have as much to spare.
        block = mmap.mmap(-1, 60_000_000)
        np.frombuffer(block, np.uint8)[:] = 1
    assert meter.peaks["start", "inner"] > 5e7
    assert meter.peaks["start", "outer"] >= meter.peaks["start", "inner"]


def test_each_number_of_images_has_a_folder_of_its_own(tmp_path):
    for images in (40, 25, 40):
        folder = draw_thumbnails(tmp_path, images)
        assert len(list((folder / "train").rglob("*.jpg"))) == images
    assert len(list((folder / "query").rglob("*.jpg"))) == 2 * 3


@pytest.mark.slow
def test_an_epoch_is_told_part_by_part(run_benchmark, tmp_path):
    path = tmp_path / "epoch.json"
    result = run_benchmark(
        *("epoch", "--images", 136, "--iters", 2, "--json", path),
        *("--cfg-options", "global_batch_size=16", "encoder.norm.samples_per_group=8"),
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads(path.read_text())
    parts = {(row["phase"], row["part"]): row for row in metrics["rows"]}
    for name in (
        *(("start", "list images"), ("labels", "search neighbors"), ("labels", "Jaccard graph")),
        *(("labels", "DBSCAN"), ("labels", "memory"), ("labels", "health figures")),
        *(("iterations", "losses"), ("iterations", "backward"), ("iterations", "optimiser")),
        *(("checkpoint and report", "CheckpointHook"), ("test", "load images")),
    ):
        assert parts[name]["seconds"] >= 0 and parts[name]["calls"] > 0, name
    assert metrics["iterations"] == dict(run=2, epoch=8)
    forward = parts["iterations", "network forward"]
    assert forward["calls"] == 2 and forward["cpu"] > 0
    assert sum(row["share"] for row in metrics["rows"]) == pytest.approx(1)
    assert "of which 2 were run: parts of iterations are counted 4.0 times" in result.stdout
