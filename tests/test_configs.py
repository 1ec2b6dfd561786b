"""Every config builds and takes a training step; the small ones train two epochs for real."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.apis import build_runner, load_config
from mmreid_uda.registry import CLUSTERERS, HOOKS, METRICS, MODELS
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample

CONFIGS = sorted(
    str(path)
    for folder in ("configs", "projects")
    for path in Path(folder).rglob("*.py")
    if "_base_" not in path.parts and (folder == "configs" or "configs" in path.parts)
)
SMALL = [path for path in CONFIGS if "_mbv2_" in path]


def test_configs_are_found():
    assert len(CONFIGS) > 30 and len(SMALL) >= 8


@pytest.mark.parametrize("path", CONFIGS)
def test_a_config_builds_and_its_model_takes_a_step(path):
    cfg = load_config(path)
    assert Path(path).stem.count("_") == 2, "<method>[-<variant>]_<backbone>_<data>.py"
    METRICS.build(cfg.val_evaluator)
    for hook in cfg.default_hooks.values():
        HOOKS.build(hook)
    CLUSTERERS.build(cfg.default_hooks.cluster.clusterer)

    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    features = F.normalize(torch.randn(12, model.encoder.embed_dim), dim=1)
    model.on_relabel(PseudoLabelState(epoch=0, labels=torch.arange(12) % 4, features=features))
    samples = ReIDDataSample(
        gt_label=torch.tensor([0, 0, 1, 1]),
        sample_idx=torch.tensor([0, 4, 1, 5]),
        domain=torch.ones(4, dtype=torch.long),
    )
    memory = model.head.memory.prototypes.clone()
    loss, _ = model.parse_losses(model(torch.randn(4, 3, 64, 32), samples, mode="loss"))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert not torch.equal(model.head.memory.prototypes, memory)


@pytest.mark.slow
@pytest.mark.parametrize("path", SMALL)
def test_a_small_config_trains_two_epochs(path, tmp_path):
    options = {
        "train_cfg.max_epochs": 2,
        "train_cfg.val_interval": 2,
        "iters_per_epoch": 3,
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "val_dataloader.num_workers": 0,
        "default_hooks.report.evaluate_before": False,
        "default_hooks.cluster.num_workers": 0,
        "work_dir": str(tmp_path),
    }
    runner = build_runner(load_config(path, options))
    runner.train()
    assert runner.epoch == 2 and runner.iter == 6
    labels = runner.train_dataloader.dataset.target.labels
    assert labels.max() > 0
    assert (tmp_path / "pseudo_labels" / "epoch_002.npz").exists()
    assert (tmp_path / "results.json").exists()
