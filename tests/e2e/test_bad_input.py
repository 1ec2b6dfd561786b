"""Bad input: one sentence that can be acted on, exit status 2, before the first training iteration."""

import os
import pickle
import shutil

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow


def refused(run_tool, config, *arguments, tool="tools/train.py"):
    """Run a tool that must refuse, and return its sentence."""
    status, output = run_tool(tool, config, *arguments, check=False)
    sentences = [line for line in output.splitlines() if line.startswith("error: ")]
    assert status == 2, output[-3000:]
    assert len(sentences) == 1 and "Traceback" not in output, output[-3000:]
    assert "Epoch(train)" not in output
    return sentences[0]


def photographs(folder, people, images=4, cameras=None, prefix=""):
    """A folder of small random pictures, one sub-folder per person."""
    rng = np.random.default_rng(0)
    for person in range(people):
        own = folder / f"{prefix}{person:02d}"
        own.mkdir(parents=True, exist_ok=True)
        base = rng.integers(0, 255, (8, 4, 3), dtype=np.uint8)
        for number in range(images):
            picture = cv2.resize(base, (32, 64)) // 2 + rng.integers(
                0, 90, (64, 32, 3), dtype=np.uint8
            )
            cv2.imwrite(str(own / f"{number}.jpg"), picture)
    return folder


def folder_target(folder, **more):
    more = {"folders": "identity", **more}
    return f"target = dict(_delete_=True, type='FolderReIDDataset', data_root={str(folder)!r}, **{more!r})\n"


def test_a_missing_data_root(tiny, run_tool, tmp_path):
    config = tiny(extra="target = dict(_delete_=True, name='market1501')\n")
    message = refused(run_tool, config, "--cfg-options", f"data_root={tmp_path}/nowhere")
    assert "nowhere' of market1501 is not a folder" in message and "data_root" in message


def test_an_empty_folder(tiny, run_tool, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "found" in refused(run_tool, tiny(extra=folder_target(tmp_path / "empty")))


def test_one_identity_only(tiny, run_tool, tmp_path):
    folder = photographs(tmp_path / "one", people=1, images=24)
    message = refused(run_tool, tiny(extra=folder_target(folder)))
    assert "found one identity among 24 queries" in message


def test_one_camera_only(tiny, run_tool, tmp_path):
    folder = photographs(tmp_path / "people", people=6)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in folder.rglob("*.jpg"):
        shutil.copy(path, flat / f"{path.parent.name}_c1_{path.name}")
    config = tiny(extra=folder_target(flat, pattern=r"(?P<pid>\d+)_c(?P<camid>\d+)"))
    assert "share one camera" in refused(run_tool, config)


def test_fewer_clusters_than_a_batch_needs(tiny, run_tool):
    message = refused(run_tool, tiny(), "--cfg-options", "global_batch_size=64", "num_instances=2")
    assert "32" in message and "global_batch_size" in message


def test_a_corrupt_jpeg_is_named_or_skipped(tiny, run_tool, tmp_path):
    folder = photographs(tmp_path / "people", people=8)
    broken = folder / "03" / "2.jpg"
    broken.write_bytes(broken.read_bytes()[:60])
    loose = "default_hooks['cluster'].update(min_clusters=2, policy='relax_eps')\n"
    message = refused(run_tool, tiny(extra=folder_target(folder) + loose))
    assert str(broken) in message and "corrupt" in message
    config = tiny(extra=folder_target(folder, corrupt="skip") + loose, name="skip")
    _, output = run_tool(
        "tools/train.py", config, "--cfg-options", "train_cfg.max_epochs=1", check=False
    )
    assert "1 of 32 images cannot be decoded" in output


def test_nan_features(tiny, run_tool):
    # A learning rate that breaks the network in the first epoch; the second clustering must say so.
    options = (
        "optim_wrapper.optimizer.lr=1e30",
        "default_hooks.report.evaluate_before=False",
        "train_cfg.val_interval=9",
    )
    status, output = run_tool("tools/train.py", tiny(), "--cfg-options", *options, check=False)
    assert status == 2 and "Traceback" not in output, output[-3000:]
    message = next(line for line in output.splitlines() if line.startswith("error: "))
    assert "NaN" in message and "lr" in message


def test_everything_an_outlier(tiny, run_tool):
    message = refused(run_tool, tiny(), "--cfg-options", "clusterer.min_samples=40")
    assert "without a cluster" in message and "eps" in message


def test_a_misspelled_key(tiny, run_tool):
    message = refused(run_tool, tiny(), "--cfg-options", "model.head.temprature=0.1")
    assert "`temperature`" in message


def test_a_file_that_is_no_checkpoint(tiny, run_tool, tmp_path):
    (tmp_path / "notes.pth").write_text("not weights")
    message = refused(run_tool, tiny(), tmp_path / "notes.pth", tool="tools/test.py")
    assert "notes.pth" in message


def test_a_malicious_pickle_does_not_run(tiny, run_tool, tmp_path):
    victim = tmp_path / "executed"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {victim}",)

    (tmp_path / "weights.pth").write_bytes(pickle.dumps({"state_dict": Attack()}))
    message = refused(run_tool, tiny(), tmp_path / "weights.pth", tool="tools/test.py")
    assert "weights.pth" in message
    message = refused(run_tool, tiny(), "--resume", tmp_path / "weights.pth")
    assert "weights.pth" in message
    assert not victim.exists()
