"""2 epochs + resume + 2 epochs == 4 epochs, bit for bit; a killed run goes on from its last checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[2]


def load(path):
    return torch.load(path, map_location="cpu", weights_only=False)


def assert_same_state(first, second, where="checkpoint"):
    """Every tensor of two nested structures is equal, bit for bit."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same_state(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for number, (one, other) in enumerate(zip(first, second)):
            assert_same_state(one, other, f"{where}[{number}]")
    elif isinstance(first, (int, float, str)):
        assert first == second, where


def compare(one, other):
    first, second = load(one), load(other)
    for part in ("state_dict", "optimizer", "param_schedulers", "pseudo_labels"):
        assert_same_state(first[part], second[part], part)
    assert first["meta"]["epoch"] == second["meta"]["epoch"] == 4
    assert first["meta"]["iter"] == second["meta"]["iter"]
    memory = first["state_dict"]["head.memory.centroids"]
    assert memory.shape[0] == first["pseudo_labels"]["labels"].max() + 1 > 1


@pytest.mark.slow
@pytest.mark.parametrize("processes, interval", [(None, 3), (2, 1)])
def test_two_and_two_epochs_are_four(tiny, run_tool, tmp_path, results, processes, interval):
    # With interval=3 the labels of epoch 1 still hold when the run resumes at epoch 3: they come from the checkpoint.
    config = tiny(extra=f"default_hooks['cluster']['interval'] = {interval}\n")
    tool = "tools/train.py" if processes is None else "tools/dist_train.sh"
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    # As a user starts them, the interpreter and torchrun included.
    run_tool(tool, config, "--work-dir", whole, processes=processes, cold=True)
    # The learning-rate schedule and ISE's lambda depend on the length of the run: stop it, do not shorten it.
    stop = tiny(
        extra=f"default_hooks['cluster']['interval'] = {interval}\n"
        "custom_imports = dict(imports=['tests.e2e.stop_hook'])\n"
        "custom_hooks = [dict(type='StopAfterEpoch', epoch=2)]\n",
        name="stopped",
    )
    status, output = run_tool(tool, stop, "--work-dir", halves, processes=processes, check=False)
    assert status != 0 and "stopped after epoch 2" in output
    run_tool(tool, config, "--work-dir", halves, "--resume", processes=processes)
    compare(whole / "epoch_4.pth", halves / "epoch_4.pth")
    assert results(whole) == results(halves)


@pytest.mark.slow
def test_a_killed_run_continues_from_its_last_checkpoint(tiny, run_tool, tmp_path):
    config = tiny()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_tool("tools/train.py", config, "--work-dir", whole)
    process = subprocess.Popen(
        [sys.executable, "tools/train.py", str(config), "--work-dir", str(killed)],
        cwd=REPOSITORY,
        env=dict(os.environ, OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not (killed / "epoch_2.pth").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # in the middle of epoch 3
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (killed / "epoch_2.pth").exists() and not (killed / "epoch_4.pth").exists()
    _, output = run_tool("tools/train.py", config, "--work-dir", killed, "--resume")
    assert "resumed epoch: 2" in output or "resumed epoch: 3" in output
    compare(whole / "epoch_4.pth", killed / "epoch_4.pth")
