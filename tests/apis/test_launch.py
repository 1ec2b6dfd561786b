"""How a tool starts, joins other processes, and ends: with a sentence, or with what its user can do."""

import errno
import io
import os
import re
import subprocess
import sys
from datetime import timedelta

import mmengine.dist
import pytest
import torch

from mmreid_uda.apis import build_runner, init_processes, load_config, num_processes, run_tool
from mmreid_uda.utils import InputError


def test_bad_input_is_one_sentence_and_an_exit_status(capsys):
    def main():
        raise InputError("found 3 wheels, expected 4.")

    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: found 3 wheels, expected 4.\n"


@pytest.mark.parametrize(
    "advice, said", [({}, "interrupted\n"), ({"resume": "go on"}, "interrupted; go on\n")]
)
def test_only_a_tool_that_can_go_on_says_how(capsys, advice, said):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        run_tool(main, **advice)
    assert stopped.value.code == 130 and capsys.readouterr().err == said


def test_a_name_that_is_not_utf_8_is_printed(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    run_tool(lambda: print(b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), flush=True))
    assert stdout.buffer.getvalue() == b"caf\\udce9.jpg\n"


# ---- processes


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


def test_a_deterministic_run_prepares_cublas_and_cudnn(tiny, tmp_path, monkeypatch):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    options = {"work_dir": str(tmp_path / "run"), "randomness.deterministic": True}
    try:
        for value in (None, ":16:8"):
            monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
            if value:
                monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", value)
            runner = build_runner(load_config(tiny(), options))
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (value or ":4096:8")
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.backends.cudnn.benchmark
            runner.lock.release()
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def ends(main, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    return stopped.value.code, capsys.readouterr().err


def test_an_unexpected_error_is_one_sentence_with_its_place(capsys, monkeypatch):
    def main():
        try:
            {}["cause"]
        except KeyError as error:
            raise RuntimeError("the frame around it") from error

    status, said = ends(main, capsys)
    assert status == 1 and said.count("\n") == 1 and "Traceback" not in said
    assert re.match(r"error: KeyError at \S*test_launch\.py:\d+: 'cause'; set MMREID_DEBUG=1", said)
    monkeypatch.setenv("MMREID_DEBUG", "1")
    status, said = ends(main, capsys)
    assert status == 1 and "Traceback (most recent call last)" in said and "KeyError at" in said


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.ENOSPC, "No space left on device", "out.npz"), "at 'out.npz': free some"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "at 'out': name another"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "one part is a file"),
        (MemoryError(), "the memory does not suffice"),
        (torch.OutOfMemoryError("CUDA out of memory."), "lower global_batch_size"),
    ],
)
def test_what_the_machine_lacks_can_be_mended(capsys, error, words):
    def main():
        raise error

    status, said = ends(main, capsys)
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1 and words in said


def test_a_reader_that_has_ended_is_no_error():
    code = "from mmreid_uda.apis import run_tool\nrun_tool(lambda: print('x' * 10**6, flush=True))"
    tool = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    tool.stdout.close()
    assert tool.stderr.read() == b"" and tool.wait() == 141
