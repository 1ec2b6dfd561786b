"""A tiny run: two dozen rendered people, a ResNet-18 without pretrained weights, seconds per epoch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

TINY = """
_base_ = "{base}"

data_root = "{data_root}"
target = dict(
    _delete_=True, name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6
)
input_size = (64, 32)
global_batch_size = 16
num_instances = 4
iters_per_epoch = 4
encoder = dict(norm=dict(samples_per_group=8))
train_cfg = dict(max_epochs=4, val_interval=2)
auto_scale_lr = dict(base_batch_size=16)
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0)
default_hooks = dict(
    logger=dict(interval=2),
    checkpoint=dict(max_keep_ckpts=-1),
    cluster=dict(num_workers=0, clusterer=dict(eps=0.7, k1=8, k2=3, min_samples=2)),
)
"""


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """Rendered once for all tests of the session (each worker of pytest-xdist has its own)."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def tiny(tmp_path, data_root):
    """Write a tiny config that inherits from a real one; more lines may follow."""

    def write(base="configs/ise/ise_mbv2_synthb.py", extra="", name="tiny"):
        path = tmp_path / f"{name}.py"
        path.write_text(TINY.format(base=REPOSITORY / base, data_root=data_root) + extra)
        return path

    return write


@pytest.fixture
def run_tool():
    """Run a tool through its command line and return (exit status, stdout + stderr)."""

    def run(*command, processes=None, check=True):
        arguments = [str(one) for one in command]
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHON=sys.executable)
        if processes is None:
            arguments.insert(0, sys.executable)
        else:
            tool, config, *rest = arguments
            arguments = [str(REPOSITORY / tool), config, str(processes), *rest]
        done = subprocess.run(
            arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output[-4000:]
        return done.returncode, output

    return run


@pytest.fixture
def results():
    """Read the results of a run."""
    return lambda work_dir: json.loads((Path(work_dir) / "results.json").read_text())["epochs"]
