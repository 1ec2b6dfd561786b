"""Two processes train what one process trains on the same global batch."""

import json

import pytest
import torch

pytestmark = pytest.mark.slow


def losses(work_dir):
    """Loss of every logged iteration."""
    [log] = work_dir.glob("*/vis_data/*.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize(
    "base",
    ["configs/ise/ise_mbv2_synthb.py", "configs/cluster_contrast/cluster-contrast_mbv2_synthb.py"],
)
def test_two_ranks_are_one_rank(tiny, run_tool, tmp_path, base):
    config = tiny(
        base,
        extra="default_hooks['logger'] = dict(interval=1)\nlog_processor = dict(window_size=1)\n",
    )
    checkpoints = []
    for name, tool, processes in (
        ("one", "tools/train.py", None),
        ("two", "tools/dist_train.sh", 2),
    ):
        options = ("--cfg-options", "train_cfg.max_epochs=1", "train_cfg.val_interval=1")
        run_tool(tool, config, "--work-dir", tmp_path / name, *options, processes=processes)
        checkpoints.append(torch.load(tmp_path / name / "epoch_1.pth", weights_only=False))
    one, two = checkpoints
    assert torch.equal(one["pseudo_labels"]["labels"], two["pseudo_labels"]["labels"])
    first, second = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(first) == 4 and first == pytest.approx(second, rel=1e-4)
    for name, tensor in one["state_dict"].items():
        torch.testing.assert_close(
            two["state_dict"][name],
            tensor,
            rtol=1e-3,
            atol=1e-3,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    results = [
        json.loads((tmp_path / name / "results.json").read_text())["epochs"]
        for name in ("one", "two")
    ]
    assert results[0]["0"] == results[1]["0"], (
        "the evaluation does not depend on the number of processes"
    )
