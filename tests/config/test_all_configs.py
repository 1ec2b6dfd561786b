"""Every config builds and takes a training step; a small one of each folder trains two epochs for real."""

import ast

import pytest
import torch

from mmreid_uda.config import load_config, model_index, read_config
from mmreid_uda.engine import build_runner
from mmreid_uda.registry import CLUSTERERS, HOOKS, METRICS
from mmreid_uda.structures import SoftLabels
from mmreid_uda.testing import build_model, random_batch

CONFIGS = model_index()


def for_a_cpu(name):
    """Whether a recipe is a small one, with values of its own, in place of one of a paper."""
    return name.split("_")[1].startswith(("mbv2", "vit-t"))


def words(name):
    return set(name.replace("-", "_").split("_"))


def project_of(name):
    """The folder of a paper in configs/, or of a project."""
    return CONFIGS[name].file.parts[-2 if "projects" not in CONFIGS[name].file.parts else -3]


# Trained by tests of their own: projects (beside them), digits, students of a trained teacher and PTL's ablations
# (test_ptl_runs.py), recipes for images of one's own (test_own_cameras.py).
ELSEWHERE = {"digits", "std", "nocarry", "backbone", "photos", "cameras", "video"}
SMALL = [
    name
    for name, model in CONFIGS.items()
    if "_mbv2_" in name and "projects" not in model.file.parts and not ELSEWHERE & words(name)
]


# Variants differ by a key or two, which the step of each has shown to work: the shortest name stands for a folder.
TRAINED = {project_of(name): name for name in sorted(SMALL, key=len, reverse=True)}


def test_configs_are_found():
    assert len(CONFIGS) > 200 and len(SMALL) >= 8 and len(TRAINED) >= 5


def depth(file):
    """Files in the longest chain from a config to a base without one."""
    bases = []
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_":
            bases = ast.literal_eval(node.value)
    bases = [bases] if isinstance(bases, str) else bases
    return 1 + max((depth((file.parent / base).resolve()) for base in bases), default=0)


def test_no_chain_of_files_is_longer_than_three():
    files = {model.file for model in CONFIGS.values()}
    depths = {file.name: depth(file) for file in files}
    assert len(files) < 130 and max(depths.values()) == 3, depths


# Models that have taken their step: configs that differ in the names of datasets alone share one.
STEPPED = set()


@pytest.mark.parametrize(
    "name",
    [name if for_a_cpu(name) else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS],
)
def test_a_config_builds_and_its_model_takes_a_step(name, tmp_path):
    cfg = load_config(name, {"stage1": None})
    assert name.count("_") == 2, "<method>[-<variant>]_<backbone>_<data>.py"
    if "val_evaluator" in cfg:  # images of one's own may have no identities
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
    model = build_model(cfg)
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


def few_people(dataset):
    """A rendered data set of a recipe with a quarter of its images; others as they are."""
    name = dataset.get("name") if isinstance(dataset, dict) else dataset
    if not (name or "").startswith("synth"):
        return dataset
    return dict(_delete_=True, name=name, num_train_ids=40, num_test_ids=20, images_per_id=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED.values())
def test_a_small_config_trains_two_epochs(name, tmp_path):
    options = {
        "train_cfg.max_epochs": 2,
        "train_cfg.val_interval": 2,
        "global_batch_size": 16,
        "iters_per_epoch": 3,
        "stage1": None,
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "val_dataloader.num_workers": 0,
        "default_hooks.report.evaluate_before": False,
        "work_dir": str(tmp_path),
    }
    sets = read_config(name)
    options.update({key: few_people(sets.get(key)) for key in ("source", "target") if key in sets})
    cfg = load_config(name, options)
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
