"""2 epochs + resume + 2 epochs == 4 epochs, bit for bit; a killed run goes on from its last checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from same_state import assert_same_run

REPOSITORY = Path(__file__).parents[2]


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
    assert_same_run(whole / "epoch_4.pth", halves / "epoch_4.pth", 4)
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
    assert_same_run(whole / "epoch_4.pth", killed / "epoch_4.pth", 4)
