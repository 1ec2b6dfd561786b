"""PTL inside a real Runner: when cells forget, stop and resume, batches of changing size, ranks, students, pictures."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from deployment import call_tool
from mmengine.hooks import Hook
from mmengine.runner.checkpoint import load_checkpoint

from mmreid_uda.config import load_config
from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.engine import build_runner
from mmreid_uda.engine.hooks import LatentStateHook
from mmreid_uda.models.layers import latent_cells
from mmreid_uda.registry import DATASETS, MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
PTL = "configs/ptl/ptl_mbv2_digits.py"
STD = "std_mbv2_digits"
BACKBONE = "backbone_mbv2_digits"
# Forty digits, a quarter of the widths, no ImageNet weights: two iterations of 16 images and a rest of 8.
TINY = {
    "encoder.backbone.trunk.width_mult": 0.25,
    "encoder.backbone.trunk.init_cfg": None,
    "train_dataloader.dataset.indices": 40,
    "train_dataloader.batch_size": 16,
    "val_dataloader.dataset.indices": 20,
    "train_cfg.max_epochs": 2,
    "train_cfg.val_interval": 2,
    "default_hooks.report.evaluate_before": False,
}


def make_runner(folder, config=PTL, **options):
    cfg = load_config(config, {**TINY, "work_dir": str(folder), **options})
    return build_runner(cfg)


class Watch(Hook):
    """Notes what the cells know before and after each iteration."""

    priority = "LOWEST"

    def __init__(self):
        self.before, self.after, self.carry = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        cells = list(latent_cells(runner.model))
        self.before.append([cell.state.clone() for cell in cells])
        self.carry.append({cell.carry for cell in cells})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.after.append([cell.state.clone() for cell in latent_cells(runner.model)])


class Stop(Hook):
    """Ends the process after the checkpoint of the first epoch, as a power cut would."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise RuntimeError("stopped after epoch 1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a run of two epochs, and what was seen in it."""
    folder, watch = tmp_path_factory.mktemp("ptl"), Watch()
    runner = make_runner(folder)
    runner.register_hook(watch)
    runner.train()
    return folder, watch


def test_the_state_is_reset_before_each_epoch_and_carried_within(trained):
    _, watch = trained
    assert len(watch.before) == 4 and len(watch.before[0]) == 5
    for iteration, before in enumerate(watch.before):
        for number, state in enumerate(before):
            if iteration % 2 == 0:
                assert state.numel() == 0
            else:
                assert torch.equal(state, watch.after[iteration - 1][number])
                assert len(state) == 16 and state.abs().sum() > 0


@pytest.mark.parametrize(
    "options, carry",
    [(dict(reset="batch"), [False] * 4), (dict(legacy_val_flag=True), [True] * 2 + [False] * 2)],
)
def test_no_carry_and_the_released_script_forget_in_every_batch(trained, options, carry):
    folder, _ = trained
    hook, seen = LatentStateHook(**options), []
    runner = make_runner(folder / "unused")
    for epoch in range(2):
        runner.train_loop._epoch = epoch
        hook.before_train_epoch(runner)
        for _ in range(2):
            [one] = {cell.carry for cell in latent_cells(runner.model)}
            seen.append(one)
    assert seen == carry


def test_a_hook_without_cells_or_with_a_wrong_word_says_so(trained):
    folder, _ = trained
    with pytest.raises(InputError, match="reset='never'"):
        LatentStateHook(reset="never")
    with pytest.raises(InputError, match="found no BConvCell in ImageClassifier"):
        LatentStateHook().before_train(make_runner(folder / "unused", BACKBONE))


def test_a_run_reports_its_accuracy(trained):
    folder, _ = trained
    results = json.loads((folder / "results.json").read_text())["epochs"]
    assert set(results) == {"2"} and 0 <= results["2"]["accuracy/top1"] <= 100


def test_a_stopped_run_goes_on_as_if_it_had_not_been(trained, tmp_path):
    folder, _ = trained
    runner = make_runner(tmp_path)
    runner.register_hook(Stop())
    with pytest.raises(RuntimeError, match="stopped after epoch 1"):
        runner.train()
    make_runner(tmp_path, resume=True).train()
    whole, halves = (
        torch.load(run / "epoch_2.pth", weights_only=False) for run in (folder, tmp_path)
    )
    assert whole["state_dict"]["encoder.backbone.ladder.rungs.0.cells.0.state"].shape[0] == 16
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, halves["state_dict"][name]), name
    for key, state in whole["optimizer"]["state"].items():
        assert all(torch.equal(state[n], halves["optimizer"]["state"][key][n]) for n in state)


def test_without_the_hook_the_state_outlives_epochs_and_batches_change_in_size(tmp_path):
    watch = Watch()
    runner = make_runner(
        tmp_path, **{"default_hooks.latent_state": None, "train_dataloader.drop_last": False}
    )
    runner.register_hook(watch)
    runner.train()
    # 16, 16, 8 images, then 16 again: the rest moved the first 8 slots and left the others.
    assert [len(states[0]) for states in watch.after] == [16] * 6
    for before, after in zip(watch.before[2], watch.after[2]):
        assert torch.equal(before[8:], after[8:]) and not torch.equal(before[:8], after[:8])
    assert torch.equal(watch.before[3][0], watch.after[2][0])


def test_the_evaluation_of_a_checkpoint_does_not_depend_on_the_batch(trained):
    folder, _ = trained
    for eval_state in ("reset", "frozen"):
        options = {**TINY, "encoder.backbone.cell.eval_state": eval_state}
        model = MODELS.build(load_config(PTL, options).model)
        load_checkpoint(model, str(folder / "epoch_2.pth"), map_location="cpu", strict=True)
        model.eval()
        images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        alone = torch.cat([model.scores(image[None]) for image in images])
        torch.testing.assert_close(model.scores(images), alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            model.scores(images.flip(0)).flip(0), alone, atol=1e-5, rtol=1e-4
        )


@pytest.fixture(scope="module")
def student(trained, tmp_path_factory):
    """Folder of a run of two epochs that the network of :func:`trained` taught, and its options."""
    teacher, folder = trained[0], tmp_path_factory.mktemp("std")
    # The teacher is read from its own file: give it the small widths, too.
    config = folder / "small_teacher.py"
    config.write_text(
        f"_base_ = {str(REPOSITORY / PTL)!r}\n"
        "encoder = dict(backbone=dict(trunk=dict(width_mult=0.25, init_cfg=None)))\n"
    )
    options = {"model.teacher.config": str(config), "model.teacher.checkpoint": str(teacher)}
    make_runner(folder, STD, **options, **{"default_hooks.logger.interval": 1}).train()
    return folder, options


def test_a_student_learns_from_a_run_and_its_checkpoint_is_the_plain_networks(student):
    folder, _ = student
    [log] = folder.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [line for line in lines if "loss" in line]
    assert len(losses) == 4
    assert all({"loss_ce", "loss_kd", "loss_feature"} <= line.keys() for line in losses)
    model = MODELS.build(load_config(BACKBONE, TINY).model)
    load_checkpoint(model, str(folder / "epoch_2.pth"), map_location="cpu", strict=True)


def loss_of_a_run(config, options, folder, teacher):
    """The loss over all training images of what a checkpoint holds, without a Runner."""
    cfg = load_config(config, options)
    model = MODELS.build(cfg.model)
    load_checkpoint(model, str(folder / "epoch_2.pth"), map_location="cpu", strict=True)
    if config == STD:
        load_checkpoint(
            model.teacher.network, str(teacher / "epoch_2.pth"), map_location="cpu", strict=True
        )
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = reid_collate([dataset[number] for number in range(len(dataset))])
    with torch.no_grad():
        losses = model.eval()(**model.data_preprocessor(batch), mode="loss")
    assert ("loss_kd" in losses) == (config == STD)
    return sum(losses.values()).item()


@pytest.mark.parametrize("config", [PTL, STD])
def test_the_loss_surface_is_drawn_around_a_checkpoint(trained, student, config, tmp_path, capsys):
    folder, more = (trained[0], {}) if config == PTL else student
    options = {k: v for k, v in {**TINY, **more}.items() if "hooks" not in k}
    options["train_dataloader.batch_size"] = TINY["train_dataloader.dataset.indices"]
    out = tmp_path / "new" / "surface.png"
    call_tool(
        *("tools/visualization/plot_loss_surface.py", config, folder),
        *("--points", "3", "--batches", "1", "--out", out),
        *("--cfg-options", *(f"{key}={value}" for key, value in options.items())),
    )
    assert cv2.imread(str(out)).std() > 1
    found = np.load(out.with_suffix(".npz"))
    assert found["surface"].shape == (3, 3) and found["steps"].tolist() == [-1, 0, 1]
    expected = loss_of_a_run(config, options, folder, trained[0])
    assert found["surface"][1, 1] == pytest.approx(expected, rel=1e-5)
    assert f"loss {expected:.4f} at the checkpoint" in capsys.readouterr().out


def test_a_loss_surface_around_another_network_is_refused(trained, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        call_tool(
            *("tools/visualization/plot_loss_surface.py", BACKBONE, trained[0]),
            *("--out", tmp_path / "surface.png", "--cfg-options"),
            *(f"{key}={value}" for key, value in TINY.items() if "hooks" not in key),
        )
    assert "do not fit" in capsys.readouterr().err


# ---- ranks

BLOCKS = [
    dict(out_layer="features.3", cells=[(4, 4)], fuse=8),
    dict(out_layer="features.18", cells=[(4, 4)], fuse=16),
]


def train_two_steps(rank, world_size):
    """Two steps of SGD on this rank's share of eight images: losses, the lower cell's state, and the shared one."""
    torch.manual_seed(0)
    trunk = dict(type="MobileNetV2", width_mult=0.25)
    model = MODELS.build(
        dict(
            type="PTL",
            encoder=dict(
                type="ReIDEncoder",
                backbone=dict(
                    type="SideNetworkBackbone", trunk=trunk, blocks=BLOCKS, cell=dict(init_std=0.0)
                ),
                norm=dict(type="GhostBN", samples_per_group=4),
            ),
            head=dict(type="PTLHead", num_classes=4),
        )
    )
    share = slice(8 // world_size * rank, 8 // world_size * (rank + 1))
    parameters = [p for p in model.parameters() if p.requires_grad]
    losses = []
    for step in range(2):
        images = torch.randn(8, 3, 64, 32, generator=torch.Generator().manual_seed(step))
        samples = ReIDDataSample(
            gt_label=torch.arange(8) // 2, domain=torch.zeros(8, dtype=torch.int64)
        )
        loss = sum(model(images[share], samples[share], mode="loss").values())
        loss.backward()
        for parameter in parameters:
            if world_size > 1:
                torch.distributed.all_reduce(parameter.grad)
            parameter.data -= 0.01 / world_size * parameter.grad
            parameter.grad = None
        losses.append(loss.item())
    cell = next(latent_cells(model))
    own = cell.state.tolist()
    LatentStateHook().after_train_epoch(SimpleNamespace(model=model))
    return losses, own, cell.state.tolist()


def test_two_ranks_keep_the_state_of_their_own_images_and_train_as_one(run_ranks):
    losses, state, _ = train_two_steps(0, 1)
    first, second = run_ranks(train_two_steps, args=(2,))
    assert first[0] == pytest.approx(losses, rel=1e-4) and second[0] == first[0]
    joined = torch.tensor(first[1] + second[1])
    torch.testing.assert_close(joined, torch.tensor(state), atol=1e-4, rtol=1e-3)
    assert second[2] == first[2] == first[1] != second[1], "after an epoch all hold rank 0's"


class Statistics(Hook):
    """Notes the running statistics that a validation starts with."""

    def before_val(self, runner):
        self.seen = running_statistics(runner.model.module.state_dict())


def running_statistics(state):
    return {name: tensor.tolist() for name, tensor in state.items() if ".running_" in name}


def train_without_cells(rank, world_size, folder):
    """An epoch of a real run on this rank's images, and the running statistics that it is evaluated with."""
    os.environ["LOCAL_RANK"] = str(rank)
    options = {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1, "launcher": "pytorch"}
    runner, statistics = make_runner(folder, BACKBONE, **options), Statistics()
    runner.register_hook(statistics)
    runner.train()
    return statistics.seen


def test_two_ranks_test_a_network_without_cells_with_the_same_statistics(run_ranks, tmp_path):
    first, second = run_ranks(train_without_cells, args=(2, tmp_path))
    assert len(first) > 50 and second == first
    saved = torch.load(tmp_path / "epoch_1.pth", weights_only=False)["state_dict"]
    assert running_statistics(saved) == first
    [log] = tmp_path.glob("*/*.log")
    assert "Global batch per domain: 32 images = 2 rank(s) x 16" in log.read_text()
