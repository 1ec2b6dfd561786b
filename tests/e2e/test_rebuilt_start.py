"""Weights that are shipped can be made again: one seed gives one file, to the last bit, on one platform."""

import json

import pytest
from processes import REPOSITORY

pytestmark = pytest.mark.slow

# Eight rendered people before eight cameras at 64 x 32 pixels.
SMALL = """
source = dict(_delete_=True, name="synthworld", num_train_ids=8, num_test_ids=2, images_per_id=4, num_cameras=8)
input_size = (64, 32)
global_batch_size, iters_per_epoch = 16, 3
param_scheduler = []
train_cfg = dict(max_epochs=1)
train_dataloader = dict(num_workers=0, persistent_workers=False)
"""


def make(run_tool, folder):
    """Render, train and publish, each of the last two in a process of its own."""
    folder.mkdir()
    config = folder / "start_mbv2_small.py"
    base = REPOSITORY / "configs/start/start_mbv2_synthworld.py"
    config.write_text(f'_base_ = "{base}"\ndata_root = "{folder / "data"}"\n{SMALL}')
    run_tool("tools/train.py", config, "--seed", 1, "--work-dir", folder / "run")
    words = ("--half", "--name", "start")
    run_tool("tools/deploy/publish_model.py", config, folder / "run", folder, *words)
    return (folder / "start.pth").read_bytes(), json.loads((folder / "start.json").read_text())


def test_a_start_is_rebuilt_bit_for_bit(run_tool, tmp_path):
    first, card = make(run_tool, tmp_path / "first")
    again, other_card = make(run_tool, tmp_path / "again")
    assert first == again and card == other_card and (card["seed"], card["epoch"]) == (1, 1)
