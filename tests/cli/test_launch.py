"""How a tool joins other processes."""

from datetime import timedelta

import mmengine.dist
import pytest
import torch

from mmreid_uda.cli.launch import init_processes, num_processes
from mmreid_uda.utils import InputError


@pytest.fixture
def joined(monkeypatch):
    """What a process group is made with, on a CPU and on a GPU, without making one."""
    calls = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda **kw: calls.append(kw))
    monkeypatch.setattr(
        mmengine.dist,
        "init_dist",
        lambda launcher, **kw: calls.append({"launcher": launcher, **kw}),
    )
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    return calls


@pytest.mark.parametrize(
    "dist_cfg, cpu, gpu",
    [
        (None, dict(backend="gloo"), dict(backend="nccl")),
        (dict(backend="gloo"), dict(backend="gloo"), dict(backend="gloo")),
        (
            dict(backend="nccl", timeout=90),
            dict(backend="gloo", timeout=timedelta(seconds=90)),
            dict(backend="nccl", timeout=90),  # mmengine takes seconds
        ),
    ],
)
def test_backend_and_timeout_of_the_config_are_used(monkeypatch, joined, dist_cfg, cpu, gpu):
    for available, expected in ((False, cpu), (True, {"launcher": "pytorch", **gpu})):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert init_processes("pytorch", dist_cfg) == 2
        assert joined.pop() == expected and not joined
    assert init_processes("none", dist_cfg) == 1 and not joined


@pytest.mark.parametrize("dist_cfg", [dict(backend="ncl"), dict(timeout=0), dict(timeout="1h")])
def test_a_wrong_way_to_join_is_one_sentence(joined, dist_cfg):
    with pytest.raises(InputError, match=next(iter(dist_cfg))):
        init_processes("pytorch", dist_cfg)
    assert not joined


def test_the_launcher_says_how_many_processes_there_are(monkeypatch):
    for launcher, name in (("pytorch", "WORLD_SIZE"), ("slurm", "SLURM_NTASKS")):
        monkeypatch.delenv(name, raising=False)
        with pytest.raises(InputError, match=r"dist_train\.sh"):
            num_processes(launcher)
        monkeypatch.setenv(name, "3")
        assert num_processes(launcher) == 3
    assert num_processes("none") == 1
