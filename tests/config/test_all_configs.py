"""Every config builds and takes a training step; a small one of each folder trains two epochs for real."""

from pathlib import Path

import pytest
import torch

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.registry import CLUSTERERS, HOOKS, METRICS
from mmreid_uda.structures import SoftLabels
from mmreid_uda.testing import random_batch, ready_model

CONFIGS = sorted(
    str(path)
    for folder in ("configs", "projects")
    for path in Path(folder).rglob("*.py")
    if "_base_" not in path.parts and (folder == "configs" or "configs" in path.parts)
)


def words(path):
    return set(Path(path).stem.replace("-", "_").split("_"))


# Trained by tests of their own: projects (beside them), digits, students of a trained teacher and PTL's ablations
# (test_ptl_runs.py).
ELSEWHERE = {"digits", "std", "nocarry", "backbone"}
SMALL = [
    path
    for path in CONFIGS
    if "_mbv2_" in path and path.startswith("configs") and not ELSEWHERE & words(path)
]


# Variants differ by a key or two, which the step of each has shown to work: the shortest name stands for a folder.
TRAINED = {Path(path).parent: path for path in sorted(SMALL, key=len, reverse=True)}


def test_configs_are_found():
    assert len(CONFIGS) > 30 and len(SMALL) >= 8 and len(TRAINED) >= 5


# Models that have taken their step: configs that differ in the names of data sets alone share one.
STEPPED = set()


@pytest.mark.parametrize("path", CONFIGS)
def test_a_config_builds_and_its_model_takes_a_step(path, tmp_path):
    cfg = load_config(path, {"stage1": None})
    assert Path(path).stem.count("_") == 2, "<method>[-<variant>]_<backbone>_<data>.py"
    METRICS.build(cfg.val_evaluator)
    for hook in filter(None, cfg.default_hooks.values()):
        HOOKS.build(hook)
    if cfg.default_hooks.get("cluster"):
        CLUSTERERS.build(cfg.default_hooks.cluster.clusterer)
    if str(cfg.model) not in STEPPED:
        STEPPED.add(str(cfg.model))
        teach(cfg, tmp_path)
        take_a_step(cfg)


def teach(cfg, folder):
    """A student of label distillation reads what a teacher says about the twelve images of a trial."""
    if cfg.model.get("head", {}).get("soft_labels"):
        labels = torch.arange(12) % 4
        SoftLabels(labels, torch.eye(4)[labels], labels >= 0, "twelve images").save(
            folder / SoftLabels.FILE
        )
        cfg.model.head.soft_labels = str(folder)


def take_a_step(cfg):
    """One training step of the model on random images; what it remembers must have moved afterwards."""
    model = ready_model(cfg)
    before = {name: tensor.clone() for name, tensor in memories(model).items()}
    loss, _ = model.parse_losses(model(*random_batch(cfg), mode="loss"))
    loss.backward()
    if hasattr(model, "update_teachers"):
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        model.update_teachers(0)
    assert torch.isfinite(loss) and loss > 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in memories(model).items())


def memories(model):
    """What training moves besides the optimiser: a memory of clusters, or the classifiers of teachers."""
    if hasattr(model.head, "memory"):
        return dict(memory=model.head.memory.prototypes)
    teachers = getattr(model, "teachers", [])
    return {str(number): one.module.head.weight for number, one in enumerate(teachers)}


@pytest.mark.slow
@pytest.mark.parametrize("path", TRAINED.values())
def test_a_small_config_trains_two_epochs(path, tmp_path):
    options = {
        "train_cfg.max_epochs": 2,
        "train_cfg.val_interval": 2,
        "iters_per_epoch": 3,
        "stage1": None,
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "val_dataloader.num_workers": 0,
        "default_hooks.report.evaluate_before": False,
        "work_dir": str(tmp_path),
    }
    cfg = load_config(path, options)
    clusters = bool(cfg.default_hooks.get("cluster"))
    if clusters:
        cfg.default_hooks.cluster.num_workers = 0
        cfg.default_hooks.cluster.interval = 2  # one clustering: extraction is what takes the time
    if cfg.model.head.get("soft_labels"):
        cfg.model.head.soft_labels = None  # like stage1: no earlier run
    runner = build_runner(cfg)
    runner.train()
    assert runner.epoch == 2 and runner.iter == 6
    assert (tmp_path / "results.json").exists()
    if clusters:
        assert runner.train_dataloader.dataset.target.labels.max() > 0
        assert (tmp_path / "pseudo_labels" / "epoch_001.npz").exists()
