"""A run on a pile of images without identities: trained, saved and resumed, and nothing evaluated."""

import cv2
import pytest
from mmengine.logging import MMLogger

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.engine.hooks import VisualizationHook
from mmreid_uda.utils import InputError, make_rng


@pytest.fixture
def pile(tiny, tmp_path):
    """A config whose target is a flat folder."""
    (tmp_path / "pile").mkdir()
    for person in range(8):
        base = make_rng(person, "person").integers(0, 200, (8, 4, 3), dtype="uint8")
        for number in range(4):
            pixels = cv2.resize(base, (32, 64)) + make_rng(person, number).integers(
                0, 20, (64, 32, 3), dtype="uint8"
            )
            cv2.imwrite(str(tmp_path / "pile" / f"{person}_{number}.png"), pixels)
    folder = (
        f"target = dict(_delete_=True, type='FolderReIDDataset', data_root='{tmp_path}/pile')\n"
    )
    return tiny("configs/cluster_contrast/cluster-contrast_mbv2_synthb.py", folder)


def test_a_pile_of_images_is_trained_on_without_evaluation(pile, tmp_path, caplog):
    options = {"train_cfg.max_epochs": 1, "iters_per_epoch": 1, "global_batch_size": 8}
    cfg = load_config(pile, options)
    runner = build_runner(cfg)
    MMLogger.get_current_instance().addHandler(caplog.handler)
    runner.train()
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert caplog.text.count("No labelled test images: nothing is evaluated") == 1
    assert runner.val_loop is None and (tmp_path / "work" / "epoch_1.pth").is_file()
    assert not (tmp_path / "work" / "results.json").exists()
    with pytest.raises(InputError, match="found no test set to draw rank_lists of"):
        VisualizationHook(pictures=["rank_lists"]).before_train(runner)
