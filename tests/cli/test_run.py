"""How a tool ends: with a sentence, or with what its user can do."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import pytest
import torch

from mmreid_uda.cli import (
    run_command,
    run_tool,
)
from mmreid_uda.cli.launch import num_processes
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import groups, rank0_says


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


@pytest.mark.parametrize("name, status", [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_signal_is_a_sentence_and_the_status_of_the_shells(capsys, name, status):
    def main():
        os.kill(os.getpid(), getattr(signal, name))
        _wait()

    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(SystemExit) as stopped:
        run_tool(main, resume="go on")
    assert stopped.value.code == status
    assert capsys.readouterr().err == f"interrupted by {name}; go on\n"
    assert signal.getsignal(getattr(signal, name)) == before


def test_an_error_on_the_way_out_does_not_hide_the_signal(capsys):
    def main():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            _wait()
        finally:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated.")

    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    assert stopped.value.code == 143 and capsys.readouterr().err == "interrupted by SIGTERM\n"


def test_a_forked_process_ends_at_a_signal_without_a_word(capfd):
    def main():
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(there, b"1")
            _wait()
            os._exit(0)
        os.read(here, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 143

    run_tool(main)
    assert capfd.readouterr().err == ""


def test_what_a_command_leaves_to_stop_stops_before_we_do(tmp_path):
    mark = tmp_path / "stopped"
    script = (
        f"trap 'touch {mark}; exit 0' TERM; echo ready > {mark}.ready; while :; do sleep 0.05; done"
    )

    def main():
        waiting = threading.Thread(target=_interrupt_when, args=(Path(f"{mark}.ready"),))
        waiting.start()
        run_command(["bash", "-c", script])

    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    assert stopped.value.code == 143 and mark.exists()


def _wait():
    """Not ``signal.pause``, which sleeps on if the signal comes just before it."""
    for _ in range(400):
        time.sleep(0.05)


def _interrupt_when(path):
    while not path.exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)


def error_of_one_rank(rank, alone):
    """Whether this rank leaves its error to rank 0, when both have it or rank 1 alone."""
    if alone and rank == 0:
        return None
    return rank0_says(InputError("no such file"))


@pytest.mark.slow
@pytest.mark.parametrize("alone, told", [(False, [False, True]), (True, [None, False])])
def test_an_error_is_told_once_by_whoever_has_it(run_ranks, alone, told):
    assert run_ranks(error_of_one_rank, args=(alone,)) == told


def test_a_name_that_is_not_utf_8_is_printed(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    run_tool(lambda: print(b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), flush=True))
    assert stdout.buffer.getvalue() == b"caf\\udce9.jpg\n"


def test_an_output_that_the_shell_has_closed_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    run_tool(lambda: None)


@pytest.mark.parametrize("left", [{"RANK": "1"}, {"RANK": "x"}, {"SLURM_PROCID": "4"}])
def test_a_rank_left_in_the_environment_silences_nobody(capsys, monkeypatch, left):
    def main():
        num_processes("none")
        raise InputError("found nothing")

    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert ends(main, capsys) == (2, "error: found nothing\n")


def test_of_ranks_that_have_not_joined_the_first_tells(capsys, monkeypatch):
    def main():
        num_processes("pytorch")
        raise InputError("found nothing")

    monkeypatch.setattr(groups, "_launched", 0)
    for rank, said in (("0", "error: found nothing\n"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert ends(main, capsys) == (2, said)


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
    assert re.match(r"error: KeyError at \S*test_run\.py:\d+: 'cause'; set MMREID_DEBUG=1", said)
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
        (cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed"), "input_size"),
    ],
)
def test_what_the_machine_lacks_can_be_mended(capsys, error, words):
    def main():
        raise error

    status, said = ends(main, capsys)
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1 and words in said


def test_a_reader_that_has_ended_is_no_error():
    code = "from mmreid_uda.cli import run_tool\nrun_tool(lambda: print('x' * 10**6, flush=True))"
    tool = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    tool.stdout.close()
    assert tool.stderr.read() == b"" and tool.wait() == 141


@pytest.mark.parametrize("rank, said", [("0", "interrupted\n"), ("1", "")])
def test_of_several_processes_that_are_stopped_early_the_first_says_so(
    capsys, monkeypatch, rank, said
):
    """Before what knows of ranks is loaded."""
    monkeypatch.delitem(sys.modules, "mmreid_uda.utils.dist", raising=False)
    monkeypatch.setattr(sys, "argv", ["train.py", "--launcher=pytorch"])
    monkeypatch.setenv("RANK", rank)

    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    assert stopped.value.code == 130 and capsys.readouterr().err == said
