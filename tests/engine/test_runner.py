"""What goes wrong around the iterations, in Runners of a network of three weights: the rows of docs/robustness.md."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmreid_uda.checkpoint import load_from_local, non_finite, noted_checkpoint, write_checkpoint
from mmreid_uda.compat import quiet
from mmreid_uda.config import load_config
from mmreid_uda.engine import (
    ReIDRunner,
    build_runner,
    checkpoint_to_resume,
    finished_note,
    read_resumable,
)
from mmreid_uda.engine.hooks import CheckpointHook, FiniteHook
from mmreid_uda.utils import InputError, loading_processes, num_cores
from mmreid_uda.utils.run_lock import RunLock


class Slope(BaseModel):
    """``loss = (w·x)²``, with a buffer for a memory; NaN from a given step on."""

    def __init__(self, nan_from=None, spoil=False):
        super().__init__()
        self.fc = nn.Linear(2, 1)
        self.register_buffer("memory", torch.zeros(3))
        self.nan_from, self.spoil, self.step = nan_from, spoil, 0

    def forward(self, inputs, mode="loss"):
        self.step += 1
        loss = self.fc(inputs).pow(2).mean()
        if self.nan_from is not None and self.step >= self.nan_from:
            if self.spoil:  # the loss is finite, what is learned from is not
                self.memory[1] = float("inf")
            else:
                loss = loss * float("nan")
        return {"loss_slope": loss}


def make(work_dir, model=None, epochs=2, hooks=None, **kwargs):
    cfg = Config(dict(train_cfg=dict(max_epochs=epochs), optim_wrapper={}))
    hooks = {
        "checkpoint": {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 2},
        "finite": {"type": "FiniteHook"},
        **(hooks or {}),
    }
    keywords = {
        "train_dataloader": {
            "dataset": [{"inputs": torch.ones(2) * i} for i in range(8)],
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "batch_size": 2,
            "num_workers": 0,
            "persistent_workers": True,
            "collate_fn": {"type": "default_collate"},
        },
        "train_cfg": {"by_epoch": True, "max_epochs": epochs},
        "optim_wrapper": {"optimizer": {"type": "Adam", "lr": 0.1}},
        "param_scheduler": {"type": "StepLR", "step_size": 1, "gamma": 0.5},
        "visualizer": {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
        "default_hooks": hooks,
        "default_scope": "mmreid_uda",
        "randomness": {"seed": 1},
        "experiment_name": f"runner{make.count}",
        "cfg": cfg,
        **kwargs,
    }
    make.count += 1
    return ReIDRunner(model or Slope(), work_dir=str(work_dir), **keywords)


make.count = 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two epochs, which tests copy."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    make(folder).train()
    return folder


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def log_of(runner):
    return Path(runner.logger.log_file).read_text()


# ---- the last checkpoint, and going on from it


def test_a_moved_run_goes_on_and_an_old_note_is_read(run, trained):
    assert (run / "last_checkpoint").read_text() == "epoch_2.pth"
    for note in ("epoch_2.pth", str(trained / "epoch_2.pth"), "/somewhere/else/epoch_2.pth"):
        (run / "last_checkpoint").write_text(note)
        assert checkpoint_to_resume(run) == run / "epoch_2.pth"
    runner = make(run, epochs=3, resume=True)
    runner.train()
    assert "resumed epoch: 2" in log_of(runner)
    assert noted_checkpoint(run) == run / "epoch_3.pth"


def test_a_broken_last_checkpoint_names_the_newest_whole_one(run):
    last = run / "epoch_2.pth"
    whole = last.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>404</html>"):
        last.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_resumable(checkpoint_to_resume(run), 1)
        assert str(last) in str(caught.value) and "is not a PyTorch checkpoint" in str(caught.value)
        assert f"go on with --resume {run / 'epoch_1.pth'}" in str(caught.value)
    make(run, epochs=3, resume=True, load_from=str(run / "epoch_1.pth")).train()
    assert (run / "epoch_3.pth").exists()


def test_a_last_checkpoint_that_is_gone_names_another_or_none(run):
    (run / "epoch_2.pth").unlink()
    with pytest.raises(
        InputError, match=r"is epoch_2.pth, which is gone; .* --resume .*epoch_1.pth"
    ):
        checkpoint_to_resume(run)
    (run / "epoch_1.pth").unlink()
    with pytest.raises(InputError, match="no other one to go on from: start anew without --resume"):
        checkpoint_to_resume(run)


def test_without_a_note_the_newest_checkpoint_is_the_last(run, tmp_path):
    for content in (None, "", " \n"):
        if content is None:
            (run / "last_checkpoint").unlink()
        else:
            (run / "last_checkpoint").write_text(content)
        assert checkpoint_to_resume(run) == run / "epoch_2.pth"
    assert checkpoint_to_resume(tmp_path / "nothing here") is None
    runner = make(tmp_path / "fresh", epochs=1, resume=True)
    runner.train()
    assert "no checkpoint in" in log_of(runner) and "starting at epoch 1" in log_of(runner)


def test_weights_alone_cannot_be_resumed(run):
    content = torch.load(run / "epoch_2.pth", weights_only=False)
    torch.save(content["state_dict"], run / "weights.pth")
    with pytest.raises(InputError, match=r"lacks state_dict, optimizer, .* load_from"):
        read_resumable(checkpoint_to_resume(run, str(run / "weights.pth")))
    with pytest.raises(InputError, match=r"none\.pth does not exist"):
        checkpoint_to_resume(run, str(run / "none.pth"))


def test_a_resumed_run_is_of_the_same_seed_and_says_what_else_is_different(run):
    with pytest.raises(InputError, match="trained with seed 1, found seed 5: go on with --seed 1"):
        read_resumable(run / "epoch_2.pth", 5)
    with pytest.raises(InputError, match="seed 5"):
        make(run, resume=True, randomness={"seed": 5}).train()
    content = torch.load(run / "epoch_2.pth", weights_only=False)
    assert content["meta"]["world_size"] == 1
    content["meta"]["world_size"] = 4
    torch.save(content, run / "epoch_2.pth")
    runner = make(run, epochs=3, resume=True)
    runner.load_or_resume()
    said = log_of(runner)
    assert "train_cfg.max_epochs: 2 -> 3" in said and "processes: 4 -> 1" in said


def test_other_data_are_refused(run):
    content = torch.load(run / "epoch_2.pth", weights_only=False)
    content["meta"]["images"] = "of another list"
    torch.save(content, run / "epoch_2.pth")
    with pytest.raises(InputError, match="another list of images"):
        make(run, resume=True).train()


def test_a_checkpoint_of_another_network_or_optimizer_is_refused(run):
    content = torch.load(run / "epoch_2.pth", weights_only=False)
    content["state_dict"]["fc.weight"] = torch.zeros(1, 3)
    torch.save(content, run / "epoch_2.pth")
    with pytest.raises(InputError, match=r"1 tensors of .*epoch_2.pth do not fit the 3 of Slope"):
        make(run, resume=True).train()
    content["state_dict"]["fc.weight"] = torch.zeros(1, 2)
    content["optimizer"]["param_groups"] = content["optimizer"]["param_groups"] * 2
    torch.save(content, run / "epoch_2.pth")
    with pytest.raises(InputError, match="written with another optimiser or schedule"):
        make(run, resume=True).train()


def test_a_finished_run_has_nothing_left(run):
    cfg = Config(dict(work_dir=str(run), train_cfg=dict(max_epochs=2), default_hooks={}))
    checkpoint = read_resumable(run / "epoch_2.pth")
    assert "nothing is left to train" in finished_note(cfg, run / "epoch_2.pth", checkpoint)
    cfg.train_cfg.max_epochs = 3
    assert finished_note(cfg, run / "epoch_2.pth", checkpoint) is None
    # Trained to the end, but stopped before the last evaluation: that is still to be made.
    cfg = Config(
        dict(
            work_dir=str(run),
            train_cfg=dict(max_epochs=2),
            val_cfg=dict(),
            default_hooks=dict(report=dict()),
        )
    )
    assert finished_note(cfg, run / "epoch_2.pth", checkpoint) is None
    (run / "results.json").write_text(json.dumps(dict(epochs={"0": {}, "2": {}})))
    assert "nothing is left" in finished_note(cfg, run / "epoch_2.pth", checkpoint)


# ---- what is written


def test_only_so_many_checkpoints_are_kept_and_old_ones_go_last(tmp_path, monkeypatch):
    seen = []
    save = ReIDRunner.save_checkpoint

    def watch(self, *args, **kwargs):
        save(self, *args, **kwargs)
        seen.append(sorted(path.name for path in tmp_path.glob("run/*.pth")))

    monkeypatch.setattr(ReIDRunner, "save_checkpoint", watch)
    hooks = {"checkpoint": {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 1}}
    make(tmp_path / "run", epochs=3, hooks=hooks).train()
    # Each time the new one is there before the old one goes.
    assert seen == [["epoch_1.pth"], ["epoch_1.pth", "epoch_2.pth"], ["epoch_2.pth", "epoch_3.pth"]]
    assert [path.name for path in tmp_path.glob("run/*.pth")] == ["epoch_3.pth"]


def test_the_old_best_goes_after_the_new_one_also_in_a_moved_run(run):
    runner = make(run, resume=True, hooks={"checkpoint": best_hook()})
    runner.message_hub.update_info("best_ckpt", "/gone/best_mAP_epoch_1.pth")
    runner.message_hub.update_info("best_score", 10.0)
    (run / "best_mAP_epoch_1.pth").write_bytes(b"old best")
    hook = next(one for one in runner.hooks if type(one).__name__ == "CheckpointHook")
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.train_loop._epoch = 2
    hook.before_train(runner)
    hook.after_val_epoch(runner, {"mAP": 5.0})  # no new best
    assert (run / "best_mAP_epoch_1.pth").exists() and hook.best_ckpt_path
    hook.after_val_epoch(runner, {"mAP": 20.0})
    assert sorted(path.name for path in run.glob("best*")) == ["best_mAP_epoch_2.pth"]
    assert runner.message_hub.get_info("best_ckpt") == str(run / "best_mAP_epoch_2.pth")


def test_a_figure_that_no_evaluation_gives_is_told(run):
    hook = CheckpointHook(save_best="a/R2", rule="greater")
    loader = SimpleNamespace(dataset=SimpleNamespace(set_names=["a", "b"]))
    hook._require_metrics(loader)
    with pytest.raises(InputError, match="save_best='a/R2', expected 'auto' or one of 'a/mAP'"):
        hook._save_best_checkpoint(None, {"a/mAP": 1.0})
    CheckpointHook(save_best="auto", rule="greater")._require_metrics(loader)
    # Before the training where the name of the test set is missing.
    hook = CheckpointHook(save_best="mAP", rule="greater")
    hook._require_metrics(None)
    with pytest.raises(InputError, match=r"save_best='mAP'.* such as 'a/mAP'"):
        hook._require_metrics(loader)


def test_the_state_of_another_optimizer_is_told_before_the_first_step(run):
    other = {"optimizer": {"type": "SGD", "lr": 0.1}}
    with pytest.raises(InputError, match=r"another optimiser or schedule \(KeyError: 'dampening'"):
        make(run, resume=True, epochs=3, optim_wrapper=other).train()


def best_hook():
    return dict(type="CheckpointHook", interval=1, save_best="mAP", rule="greater")


def test_a_full_disk_leaves_the_old_checkpoint_and_no_half_one(tmp_path):
    path = tmp_path / "epoch_1.pth"
    write_checkpoint({"state_dict": {"w": torch.ones(4)}}, str(path))
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limit[1]))
        with pytest.raises(InputError, match=r"epoch_1.pth'? cannot be written"):
            write_checkpoint({"state_dict": {"w": torch.ones(1 << 20)}}, str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_run_that_cannot_save_says_what_is_kept(run, monkeypatch):
    def full(checkpoint, filename, **others):
        raise InputError(f"{filename} cannot be written (No space left on device)")

    monkeypatch.setattr("mmengine.runner.runner.save_checkpoint", full)
    with pytest.raises(InputError, match=r"No space left.*earlier epochs are kept.*--resume"):
        make(run, epochs=3, resume=True).train()
    assert checkpoint_to_resume(run) == run / "epoch_2.pth"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_checkpoint_with_such_values_is_written_or_read(tmp_path, value):
    state = {"w": torch.ones(3), "memory": torch.tensor([0.0, value]), "n": torch.tensor(3)}
    assert non_finite({"state_dict": state}) == non_finite(state) == ["memory"]
    path = tmp_path / "epoch_1.pth"
    with pytest.raises(InputError, match="memory for one, hold NaN or infinite"):
        write_checkpoint({"state_dict": state}, str(path))
    assert not list(tmp_path.iterdir())
    torch.save({"state_dict": state}, path)
    with pytest.raises(InputError, match="NaN or infinite values in 1 tensors, memory for one"):
        load_from_local(str(path))


# ---- divergence


def test_a_nan_loss_stops_before_anything_is_saved_over(run):
    with pytest.raises(InputError) as caught:
        make(run, Slope(nan_from=2), epochs=4, resume=True).train()
    said = str(caught.value)
    assert "NaN or infinite" in said and "epoch 3, iterations 1 to 4" in said
    assert str(run / "epoch_2.pth") in said and "lower optim_wrapper.optimizer.lr" in said
    assert sorted(path.name for path in run.glob("*.pth")) == ["epoch_1.pth", "epoch_2.pth"]


def test_a_spoilt_memory_is_not_saved_though_the_loss_is_finite(run):
    with pytest.raises(
        InputError, match=r"memory for one, .* epoch_3.pth was not written.*load_from"
    ):
        make(run, Slope(nan_from=1, spoil=True), epochs=4, resume=True).train()
    assert checkpoint_to_resume(run) == run / "epoch_2.pth" and not (run / "epoch_3.pth").exists()


def test_the_loss_is_read_at_the_interval(tmp_path):
    with pytest.raises(InputError, match=r"\(loss_slope\) in epoch 1, iterations 3 to 4"):
        hooks = {"finite": {"type": "FiniteHook", "interval": 2}}
        make(tmp_path, Slope(nan_from=3), hooks=hooks).train()
    with pytest.raises(InputError, match="interval=0"):
        FiniteHook(interval=0)


def test_steps_that_a_loss_scaler_skips_do_not_count(tmp_path):
    runner = make(tmp_path)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = type("Wrapper", (), {})()
    runner.optim_wrapper.loss_scaler = torch.amp.GradScaler("cpu")
    hook, bad = FiniteHook(), {"loss": torch.tensor(float("inf"))}
    for _ in range(3):
        for _ in range(19):
            hook.after_train_iter(runner, 0, outputs=bad)
        hook.after_train_iter(runner, 0, outputs={"loss": torch.tensor(1.0)})
        hook.after_train_epoch(runner)
    for _ in range(20):
        hook.after_train_iter(runner, 0, outputs=bad)
    with pytest.raises(InputError, match="diverged"):
        hook.after_train_epoch(runner)


def both_ranks_stop(rank, folder):
    try:
        make(folder, Slope(nan_from=2 if rank else None)).train()
    except InputError as error:
        return str(error)


@pytest.mark.slow
def test_all_ranks_stop_when_one_has_lost_its_loss(run_ranks, tmp_path):
    said = run_ranks(both_ranks_stop, args=(str(tmp_path),))
    assert said[0] == said[1] and "NaN or infinite" in said[0]
    assert not list(tmp_path.glob("*.pth"))


# ---- one run at a time


HOLD = """
import sys, time
from mmreid_uda.utils.run_lock import RunLock
lock = RunLock(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_run_is_refused_until_the_first_has_ended_in_any_way(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError) as caught:
            RunLock(tmp_path)
        assert f"another run (process {holder.pid} on " in str(caught.value)
        assert "--work-dir" in str(caught.value)
        half = tmp_path / f".{holder.pid}.epoch_3.pth"
        half.write_bytes(b"what the other was writing")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    lock = RunLock(tmp_path)
    assert not half.exists()
    lock.release()


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_work_dir_that_cannot_be_is_one_sentence(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        RunLock(tmp_path / name)


# ---- console, loaders, figures


def test_long_records_stay_off_the_console(tmp_path, capsys):
    runner = make(tmp_path)
    runner.logger.info("short")
    runner.logger.info("\n".join(map(str, range(50))))
    shown, logged = capsys.readouterr().out, log_of(runner)
    assert "System environment" in logged and "Hooks will be executed" in logged
    assert "System environment" not in shown and "Hooks will be executed" not in shown
    assert "short" in shown and "\n49" in logged and "\n49" not in shown
    assert runner.logger.log_file in shown
    assert "WARN" not in logged


def test_a_full_disk_costs_figures_of_the_log_and_not_the_run(run, monkeypatch, caplog):
    runner = make(run, epochs=3, resume=True)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmengine.visualization.vis_backend.dump", full)
    for handler in runner.logger.handlers:
        monkeypatch.setattr(handler, "flush", full)
    runner.visualizer.add_scalars({"loss": 1.0})
    runner.visualizer.add_scalars({"loss": 2.0})
    runner.train()
    assert (run / "epoch_3.pth").exists()
    assert log_of(runner).count("Figures cannot be written") == 1


def test_loading_processes_follow_the_machine(monkeypatch):
    monkeypatch.setattr("mmreid_uda.utils.parallel.num_cores", lambda: 16)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert loading_processes() == 8 and loading_processes(0) == 0 and loading_processes(3) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert loading_processes("auto") == 2
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert loading_processes("auto") == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert loading_processes("auto") == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4(x2)")
    assert loading_processes("auto") == 8
    for wrong in (-1, 1.5, True, "many"):
        with pytest.raises(InputError, match="num_workers"):
            loading_processes(wrong)


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= num_cores() <= os.cpu_count()


def test_loaders_without_processes_drop_what_needs_them(tmp_path):
    config = dict(
        dataset=[1, 2, 3],
        sampler=dict(type="DefaultSampler", shuffle=False),
        batch_size=1,
        persistent_workers=True,
        prefetch_factor=4,
    )
    assert ReIDRunner.build_dataloader({**config, "num_workers": 0}).num_workers == 0
    loader = ReIDRunner.build_dataloader({**config, "num_workers": "auto"})
    assert loader.num_workers == loading_processes() and loader.persistent_workers
    assert config["prefetch_factor"] == 4


@pytest.mark.parametrize(
    "error, said",
    [
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "loading process",
        ),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to"), "ran out of memory"),
        (MemoryError(), "ran out of memory"),
        (RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1"), "lost another"),
        (RuntimeError("Expected to have finished reduction in"), "find_unused_parameters"),
        (OSError(28, "No space left on device", "x.log"), "x.log cannot be written"),
    ],
)
def test_failures_from_outside_are_sentences(tmp_path, monkeypatch, error, said):
    runner = make(tmp_path)

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(Slope, "train_step", fail)
    with pytest.raises(InputError, match=said):
        runner.train()
    monkeypatch.setattr(Slope, "train_step", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(tmp_path).train()
    assert MMLogger.get_current_instance() is not None


def test_more_loading_processes_than_cores_are_said_once_without_a_warning(tmp_path):
    config = dict(
        dataset=[1, 2, 3],
        sampler=dict(type="DefaultSampler", shuffle=False),
        batch_size=1,
        num_workers=num_cores() + 2,
    )
    runner = make(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        quiet()
        list(runner.build_dataloader(config))
    assert not [one for one in caught if "worker" in str(one.message)]
    assert f"{num_cores() + 2} per rank, for {num_cores()} cores" in log_of(runner)


class Waits(TorchDispatchMode):
    """Counts the operators that would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "item"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_looking_at_a_loss_waits_for_no_device(tmp_path):
    runner, hook = make(tmp_path), FiniteHook(interval=50)
    with Waits() as waits:
        for number in range(49):
            hook.after_train_iter(runner, number, outputs={"loss": torch.tensor(1.0)})
        assert not waits.found
        hook.after_train_iter(runner, 49, outputs={"loss": torch.tensor(1.0)})
    assert waits.found == ["_local_scalar_dense"]


def test_two_runs_of_one_second_share_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("mmengine.runner.runner.time.strftime", lambda *_: "20300101_000000")
    runs = [
        build_runner(load_config(tiny(), {"work_dir": str(tmp_path / name)}))
        for name in ("one", "two")
    ]
    assert len({run.experiment_name for run in runs}) == 2
    for run, name in zip(runs, ("one", "two")):
        run.logger.info(f"this is {name}")
        [log] = (tmp_path / name).glob("*/*.log")
        assert f"this is {name}" in log.read_text()
    assert runs[0].message_hub is not runs[1].message_hub
    assert runs[0].visualizer is not runs[1].visualizer
