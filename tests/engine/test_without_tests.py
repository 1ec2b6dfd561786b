"""A run on a pile of images without identities: trained, saved and resumed, and nothing evaluated."""

import json

import cv2
import pytest

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.engine.hooks import VisualizationHook
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.files import unfinished


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
    return tiny(
        "configs/cluster_contrast/cluster-contrast_mbv2_synthb.py", f"target = '{tmp_path}/pile'\n"
    )


def test_a_pile_of_images_is_trained_on_without_evaluation(pile, tmp_path, caplog):
    options = {"train_cfg.max_epochs": 1, "iters_per_epoch": 1, "global_batch_size": 8}
    work_dir = tmp_path / "work"
    runner = build_runner(load_config(pile, options))
    runner.logger.addHandler(caplog.handler)
    runner.train()
    assert caplog.text.count("No labelled test images: nothing is evaluated") == 1
    assert runner.val_loop is None and (work_dir / "epoch_1.pth").is_file()
    with pytest.raises(InputError, match="found no test set to draw rank_lists of"):
        VisualizationHook(pictures=["rank_lists"]).before_train(runner)
    # What is known without identities is the report.
    first = json.loads((work_dir / "results.json").read_text())
    assert first["epochs"] == {} and first["last_epoch"] == first["max_epochs"] == 1
    assert first["labels"]["0"]["images"] == 32 and "ari_previous" not in first["labels"]["0"]
    assert "Pseudo-labels; nothing was evaluated" in caplog.text
    assert unfinished(work_dir / "results.json") == ""

    runner.lock = None
    best = {"default_hooks.checkpoint.save_best": "market1501/mAP"}
    cfg = load_config(pile, {**options, **best, "train_cfg.max_epochs": 2})
    cfg.resume = True
    runner = build_runner(cfg)
    runner.logger.addHandler(caplog.handler)
    runner.train()
    assert caplog.text.count("save_best: 'market1501/mAP' is kept of no evaluation") == 1
    second = json.loads((work_dir / "results.json").read_text())
    assert second["labels"]["0"] == first["labels"]["0"] and second["last_epoch"] == 2
    assert -1 <= second["labels"]["1"]["ari_previous"] <= 1
