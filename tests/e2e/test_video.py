"""From the frames of three cameras and the tracks in them to a model that is searched, one command each."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_video_is_imported_trained_on_and_searched(tiny, run_tool, tmp_path):
    film, crops, work_dir = tmp_path / "film", tmp_path / "crops", tmp_path / "work"
    render = ("tools/data/render_synthetic.py", "video", "--out", film)
    run_tool(*render, "--people", 8, "--rounds", 1, "--seconds", 12, "--cameras", 3)
    for camera in ("c1", "c2", "c3"):
        words = (film / camera, film / camera / "TRACKS.txt", "--camera", camera, "--out", crops)
        run_tool("tools/data/import_tracks.py", *words, "--every", 2)
    status, output = run_tool("tools/data/check_dataset.py", crops / "crops.csv")
    assert status == 0 and "100%" in output and "has no labelled test images" in output
    base = "configs/cluster_contrast/cluster-contrast_mbv2_synthb.py"
    config = tiny(base, f"target = '{crops}/crops.csv'\ntrain_cfg = dict(max_epochs=1)\n")
    evidence = ("clusterer._delete_=True", "clusterer.type=ConstrainedLinkage")
    evidence += ("evidence.tracklets=True", "evidence.time=True", "evidence.camera=auto")
    run_tool(
        "tools/train.py",
        config,
        "--cfg-options",
        *evidence,
        "relabel.min_clusters=2",
        "global_batch_size=8",
    )
    [first] = json.loads((work_dir / "results.json").read_text())["labels"].values()
    # Tracklets are nodes, of which several images each are labelled together.
    assert 3 <= first["nodes"] < first["images"] / 3 and first["seen_together"] == 0
    gallery, query = tmp_path / "gallery.npz", sorted((crops / "c1").glob("*.jpg"))[0]
    run_tool("tools/search_gallery.py", "build", config, work_dir, crops, "--out", gallery)
    _, output = run_tool("tools/search_gallery.py", "query", config, work_dir, gallery, query)
    assert output.count(f"{crops}/c") >= 10 and f"1.0000  {query}" in output
