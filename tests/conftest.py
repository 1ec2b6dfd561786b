"""What several tests need: two real processes, a tiny config, quiet threads."""

import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from deployment import SMALL, SMALL_ARGUMENTS, call_tool, make_model, write_checkpoint
from processes import enter_rank, run_script, warm_context

from mmreid_uda.apis import ReIDInferencer
from mmreid_uda.checkpoint import rendered
from mmreid_uda.datasets import build_dataset
from mmreid_uda.utils import kernels_available, without_kernels

torch.set_num_threads(1)

REPOSITORY = Path(__file__).parents[1]

# Eighteen rendered people at 64 x 32 pixels: seconds per epoch.
TINY = """
_base_ = "{base}"

data_root = "{data_root}"
work_dir = "{work_dir}"
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


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no worker of pytest-xdist begins one while the others have finished."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """Rendered once for all tests of the session (each worker of pytest-xdist has its own)."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def write_tiny(data_root):
    """Write a tiny config into a folder; it inherits from a real one, and more lines may follow."""

    def write(folder, base="configs/ise/ise_mbv2_synthb.py", extra="", name="tiny"):
        path = folder / f"{name}.py"
        path.write_text(
            TINY.format(base=REPOSITORY / base, data_root=data_root, work_dir=folder / "work")
            + extra
        )
        return path

    return write


@pytest.fixture
def tiny(tmp_path, write_tiny):
    """Write a tiny config that inherits from a real one; more lines may follow."""
    return functools.partial(write_tiny, tmp_path)


@pytest.fixture(scope="session")
def crops(data_root):
    """Paths of the rendered gallery that the tiny config tests on."""
    people = dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)
    return build_dataset(people, "gallery", data_root=str(data_root)).paths


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint of the small ISE model with ImageNet weights, for 64 x 32 pixels."""
    path = tmp_path_factory.mktemp("run") / "epoch_7.pth"
    return write_checkpoint(path, make_model("ise_mbv2_synthb", initial=True))


@pytest.fixture(scope="session")
def inferencer(checkpoint):
    """The inferencer of :func:`checkpoint`."""
    return ReIDInferencer("ise_mbv2_synthb", checkpoint, "cpu", options=SMALL)


@pytest.fixture(scope="session")
def published_start(checkpoint, tmp_path_factory):
    """A folder with the weights of :func:`checkpoint` under the name ``tiny``, as those that are shipped are made."""
    folder = tmp_path_factory.mktemp("starts")
    arguments = ("--half", "--name", "tiny", *SMALL_ARGUMENTS)
    call_tool("tools/deploy/publish_model.py", "ise_mbv2_synthb", checkpoint, folder, *arguments)
    return folder


@pytest.fixture
def starts(published_start, tmp_path_factory, monkeypatch):
    """A copy of it, where ``rendered://tiny`` is looked up."""
    folder = tmp_path_factory.mktemp("starts")
    for path in published_start.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(rendered, "_STARTS", folder)
    return folder


@pytest.fixture
def run_tool():
    """Run a tool through its command line and return (exit status, stdout + stderr).

    With ``processes`` the tool is a ``tools/dist_*.sh``. They start warm; ``cold=True`` starts them as a user does.
    """

    def run(*command, processes=None, check=True, cwd=REPOSITORY, cold=False):
        arguments = [str(one) for one in command]
        environment = dict(OMP_NUM_THREADS="1", PYTHON=sys.executable)
        if cold:
            if processes is None:
                arguments.insert(0, sys.executable)
            else:
                arguments[:2] = [str(REPOSITORY / arguments[0]), arguments[1], str(processes)]
            done = subprocess.run(
                arguments,
                cwd=cwd,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=600,
            )
        else:
            if processes is not None:
                arguments[0] = arguments[0].replace("dist_", "").replace(".sh", ".py")
                arguments += ["--launcher", "pytorch"]
            done = run_script(*arguments, ranks=processes, cwd=cwd, env=environment)
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output[-4000:]
        return done.returncode, output

    return run


@pytest.fixture
def run_ranks():
    """Run ``function(rank, *args)`` in real gloo processes and return the results in rank order."""

    def run(function, world_size=2, args=()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        queue = warm_context().SimpleQueue()
        context = mp.start_processes(
            enter_rank,
            (world_size, port, function, args, queue),
            world_size,
            join=False,
            start_method="forkserver",
        )
        results = {}
        while len(results) < world_size:
            while not queue.empty():
                rank, result = queue.get()
                results[rank] = result
            if context.join(timeout=0.1) and queue.empty():
                break
        return [results[rank] for rank in range(world_size)]

    return run


@pytest.fixture(params=["kernels", "plain"])
def engine(request):
    """Run a test twice: with the compiled kernels and without them."""
    if request.param == "plain":
        with without_kernels():
            yield request.param
        return
    if not kernels_available():
        pytest.skip("numba is not installed")
    yield request.param
