"""A run from a pack is that from its files, also where it goes on from a checkpoint of either, bit for bit."""

import shutil
import sys
from pathlib import Path

import cv2
import pytest
from same_state import assert_same_run

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.utils import make_rng

sys.path.append(str(Path(__file__).parents[2] / "tools" / "data"))
from pack import pack_folder

pytestmark = pytest.mark.slow
pytest.importorskip("lmdb")
pytest.importorskip("faiss")

# The work of an epoch at its smallest; neighbours of the epoch before, and features in a file.
SMALL = {
    "iters_per_epoch": 1,
    "global_batch_size": 8,
    "default_hooks.report": None,
    "default_hooks.checkpoint.save_best": None,
    "default_hooks.cluster.features": "disk",
    "clusterer.search": "ivf",
    "clusterer.warm_start": True,
}


@pytest.fixture
def train(tiny, tmp_path):
    """Train for four epochs, or go on from a checkpoint."""

    def train(target, name, start=None):
        options = {**SMALL, "target": str(target), "work_dir": str(tmp_path / name)}
        if start is not None:
            options.update(resume=True, load_from=str(start))
        config = tiny("configs/cluster_contrast/cluster-contrast_mbv2_synthb.py")
        build_runner(load_config(config, options)).train()
        return tmp_path / name

    return train


def test_epochs_from_files_and_from_a_pack_are_those_from_files(train, tmp_path):
    crops, pack = tmp_path / "crops", tmp_path / "crops.pack"
    crops.mkdir()
    for person in range(8):
        look = make_rng(person, "person").integers(0, 200, (8, 4, 3), dtype="uint8")
        for number in range(4):
            noise = make_rng(person, number).integers(0, 20, (64, 32, 3), dtype="uint8")
            pixels = cv2.resize(look, (32, 64)) + noise
            cv2.imwrite(str(crops / f"{person}_{number}.png"), pixels)
    pack_folder(str(crops), str(pack))
    whole = train(crops, "whole")
    shutil.rmtree(crops)  # from here on there is the pack alone
    second = train(pack, "second", whole / "epoch_2.pth")
    third = train(pack, "third", second / "epoch_3.pth")
    assert not (second / "epoch_2.pth").exists() and not (third / "epoch_3.pth").exists()
    for resumed in (second, third):
        saved = assert_same_run(whole / "epoch_4.pth", resumed / "epoch_4.pth", 4)
    # Neighbours of the epoch before were there to begin from.
    assert saved["pseudo_labels"]["clusterer"]["clusterer"]["last_found"].shape[0] == 32
