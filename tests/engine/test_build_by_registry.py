"""A config trains without our tools: mmengine's registry builds the Runner that the file names."""

import subprocess
import sys

import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS

from mmreid_uda.config import load_config
from mmreid_uda.engine import ReIDRunner

pytestmark = pytest.mark.slow

TRAIN = """
import sys
from mmengine.config import Config
from mmengine.registry import RUNNERS
runner = RUNNERS.build(Config.fromfile(sys.argv[1]))
runner.train()
print("trained", type(runner).__name__, runner.epoch, runner.iter, runner.train_dataloader.dataset.target.labels.max())
"""
ONE_EPOCH = "train_cfg = dict(max_epochs=1, val_interval=1)\n"


def test_the_registry_of_mmengine_builds_a_runner_that_trains(tiny, tmp_path):
    path = tiny("configs/ise/ise_mbv2_syntha.py", ONE_EPOCH)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, path], capture_output=True, text=True, timeout=600
    )
    assert "trained ReIDRunner 1 4" in done.stdout, (done.stdout + done.stderr)[-3000:]
    assert (tmp_path / "work" / "results.json").is_file()


@pytest.mark.parametrize("build", [ReIDRunner.from_cfg, RUNNERS.build])
def test_what_is_set_in_a_loaded_config_stays(build, tiny):
    cfg = load_config(tiny())
    cfg.default_hooks.cluster.interval = 3
    runner = build(cfg)
    assert [hook.interval for hook in runner.hooks if type(hook).__name__ == "ClusterHook"] == [3]
    assert runner.lock is not None
    runner.lock.release()


def test_a_run_without_a_folder_is_named_like_its_config(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(str(tiny(extra="del work_dir\n")))
    runner = ReIDRunner.from_cfg(cfg)
    assert runner.work_dir.endswith("work_dirs/tiny") and "work_dir" not in cfg
    runner.lock.release()
