"""How a tool starts: processes, a Runner, and one sentence when the input is wrong."""

from __future__ import annotations

import inspect
import io
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from torch.nn.parallel import DistributedDataParallel

from mmreid_uda.config.check import Joining, Launcher
from mmreid_uda.engine import ReIDRunner, checkpoint_to_resume, finished_note, read_resumable
from mmreid_uda.utils import InputError, in_a_line, keep_freed_memory, raised_here, sentence_about
from mmreid_uda.utils.dist import (
    launched_rank,
    leave_processes,
    note_launcher,
    rank0_says,
    run_on_rank0,
)
from mmreid_uda.utils.files import find_checkpoint, require_writable_folder
from mmreid_uda.utils.interrupts import Interrupted, interruptible
from mmreid_uda.utils.run_lock import RunLock
from mmreid_uda.utils.values import checked

__all__ = [
    "build_runner",
    "init_processes",
    "nothing_to_train",
    "num_processes",
    "run_command",
    "run_tool",
    "training_command",
]


# Where each launcher says how many processes there are.
_SIZES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}
_RANKS = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}


@checked
def num_processes(launcher: Launcher) -> int:
    """Number of processes of a run, before they have joined.

    Args:
        launcher: ``'none'``, ``'pytorch'`` (torchrun), ``'slurm'`` or ``'mpi'``.

    Raises:
        InputError: This process was not started by the launcher.
    """
    if launcher == "none":
        return 1
    size = os.environ.get(_SIZES[launcher], "")
    if not size.isdigit() or int(size) < 1:
        raise InputError(
            f"found --launcher {launcher} and {_SIZES[launcher]}={size!r} in the environment, expected the number of "
            "processes: start them with tools/dist_train.sh or tools/slurm_train.sh."
        )
    note_launcher(os.environ.get(_RANKS[launcher], ""))
    return int(size)


@checked
def init_processes(launcher: Launcher, dist_cfg: Joining | None = None) -> int:
    """Join the other processes of a distributed run, on GPUs (NCCL) or on CPUs (gloo).

    mmengine insists on a GPU for ``launcher='pytorch'``, but leaves a process group that exists alone: on a machine
    without one the group is made here.

    Args:
        launcher: As for :func:`num_processes`.
        dist_cfg: The config's ``env_cfg.dist_cfg``: ``backend`` of GPUs (``'nccl'``, default, or ``'gloo'``; CPUs have
            gloo), ``timeout`` of a collective in seconds (default: torch's), and what else :class:`Joining` names.

    Returns:
        Number of processes.

    Raises:
        InputError: For another backend, or a time-out that is no number above 0.
    """
    if launcher == "none":
        return 1
    options: dict[str, Any] = {"backend": "nccl", **(dist_cfg or {})}
    timeout = options.get("timeout")
    if torch.cuda.is_available():
        from mmengine.dist import init_dist

        init_dist(launcher, **options)
    else:
        options["backend"] = "gloo"
        if timeout is not None:
            options["timeout"] = timedelta(seconds=timeout)
        dist.init_process_group(**options)
    return dist.get_world_size()


class _TestRunner(ReIDRunner):
    """A Runner that leaves the config in the work dir alone, which is that of the training, and whole."""

    def dump_config(self) -> None:
        """Write nothing; the log's folder has what is tested with."""


def nothing_to_train(cfg: Config) -> str | None:
    """Look at what a training starts from, before data are read and networks are built.

    Args:
        cfg: The config; with ``resume`` and no seed of its own it gets that of the checkpoint.

    Returns:
        A sentence if the run that is to be resumed is complete; None if there is something to train.

    Raises:
        InputError: A checkpoint to start or to go on from is missing, broken, or of another seed.
    """

    def look() -> tuple[str | None, int | None]:
        _require_checkpoints(cfg)
        if not cfg.get("resume"):
            return None, None
        path = checkpoint_to_resume(cfg.work_dir, cfg.get("load_from"))
        if path is None:
            return None, None
        checkpoint = read_resumable(path, cfg.get("randomness", {}).get("seed"))
        return finished_note(cfg, path, checkpoint), checkpoint["meta"].get("seed")

    said, seed = run_on_rank0(look)
    if seed is not None:
        cfg.randomness = dict(cfg.get("randomness", {}), seed=seed)
    return said


def _require_checkpoints(cfg: Config) -> None:
    """Find the files that weights are to be read from; addresses are left for later."""
    names = [] if cfg.get("resume") else [cfg.get("load_from")]
    nodes: list[Any] = [cfg.get("model")]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if node.get("type") == "Pretrained":
                names.append(node.get("checkpoint"))
            nodes += node.values()
        elif isinstance(node, (list, tuple)):
            nodes += node
    for name in names:
        if isinstance(name, str) and "://" not in name:
            find_checkpoint(name)


def build_runner(cfg: Config, dump_config: bool = True) -> ReIDRunner:
    """Build the Runner of a loaded config (:func:`load_config`), also where there is no GPU.

    There, ranks are joined without device ids, memory is not pinned, and what is freed is kept for the next step.
    A training has its work dir to itself as long as the Runner lives.

    Args:
        cfg: The config.
        dump_config: Write it to the work dir, as training does. Defaults to True.

    Raises:
        InputError: The work dir cannot be written, another run is at work there, or mmengine or a plug-in refuses what
            the config says.
    """
    locks: list[RunLock] = []

    def claim() -> None:
        if cfg.get("work_dir"):
            require_writable_folder(cfg.work_dir)
            if dump_config and "train_cfg" in cfg:
                locks.append(RunLock(cfg.work_dir))

    run_on_rank0(claim)
    if cfg.get("randomness", {}).get("deterministic"):
        # cuBLAS reads it when its first product is computed; a value of the user's stays.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        cfg.env_cfg = dict(cfg.get("env_cfg", {}), cudnn_benchmark=False)
    if not torch.cuda.is_available():
        keep_freed_memory()
        for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
            if name in cfg:
                cfg[name].pin_memory = False
    cfg.setdefault("model_wrapper_cfg", _wrapper(cfg))
    try:
        runner = (ReIDRunner if dump_config else _TestRunner).from_cfg(cfg)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError) or raised_here(error):
            raise
        raise InputError(
            f"a part of the config cannot be built ({type(error).__name__}: {in_a_line(error)}): correct that key."
        ) from error
    runner.lock = next(iter(locks), None)
    return runner


def _wrapper(cfg: Config) -> dict[str, Any]:
    """The config of DistributedDataParallel: buffers are shared once per epoch, by the consistency hook."""
    names = inspect.signature(DistributedDataParallel.__init__).parameters
    # The newer name of what it otherwise warns of.
    sync = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    return {
        "type": "MMDistributedDataParallel",
        "device_ids": [int(os.environ.get("LOCAL_RANK", 0))] if torch.cuda.is_available() else None,
        sync: False,
        "find_unused_parameters": cfg.get("find_unused_parameters", False),
    }


def run_tool(main: Callable[[], None], resume: str = "") -> None:
    """Run a tool's ``main``; whatever goes wrong there becomes one sentence on stderr and an exit status.

    ===== ==========================================================================================
    0     all is done
    1     an error that nothing expected: a fault of this package, of a plug-in or of the machine
    2     something that the user can mend (:class:`InputError`), a full disk or a missing right among it
    ===== ==========================================================================================

    With ``MMREID_DEBUG=1`` in the environment the traceback stands before the sentence.

    A signal that asks to stop (SIGINT, SIGTERM, SIGHUP) becomes one too, with the exit status of the shells: 128 and
    the signal's number.

    Args:
        main: Reads the command line, and works.
        resume: How to go on after an interruption, where the tool can.
    """
    # File names need not be UTF-8, and a tool must not fail at printing them.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with interruptible():
            main()
            if sys.stdout is not None:  # as it is where the shell has closed it
                sys.stdout.flush()
    except Exception as error:  # the one door behind which no traceback is meant for the user
        status = _say(error)
        leave_processes(together=False)
        sys.exit(status)
    except KeyboardInterrupt as stopped:
        by = f" by {stopped}" if isinstance(stopped, Interrupted) else ""
        if launched_rank() == 0:
            print(f"interrupted{by}; {resume}" if resume else f"interrupted{by}", file=sys.stderr)
        leave_processes(together=False)
        sys.exit(stopped.status if isinstance(stopped, Interrupted) else 130)
    leave_processes(together=True)


def _say(error: Exception) -> int:
    """Print the sentence about an error; the exit status."""
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        return 141  # as the shell has it for such a program
    if os.environ.get("MMREID_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    sentence, expected = sentence_about(error)
    if not rank0_says(error):
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    return 2 if expected else 1


def _nobody_reads() -> bool:
    """Whether what the tool prints goes to a program that has ended, such as ``head``; no more is printed then."""
    if sys.stdout is None:
        return False
    output = sys.stdout.fileno()
    pipe = select.poll()
    pipe.register(output, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in pipe.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def run_command(command: Sequence[str], **streams: Any) -> int:
    """Run a command to its end; if this process is to stop, the command stops by itself first, with its children.

    Args:
        command: Words.
        **streams: ``stdout`` and ``stderr``, as for ``subprocess.Popen``.

    Returns:
        Its exit status; below 0 the number of the signal that ended it.
    """
    process = subprocess.Popen(command, **streams)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def training_command(
    tools: Path, config: str, flags: Sequence[str], num_processes: int = 1
) -> list[str]:
    """The command that trains a config.

    Args:
        tools: The folder of ``train.py`` and ``dist_train.sh``.
        config: Config file.
        flags: Of ``tools/train.py``.
        num_processes: GPUs, or CPU processes.

    Returns:
        Words for ``subprocess.run``.
    """
    if num_processes > 1:
        start = [str(tools / "dist_train.sh"), config, str(num_processes)]
    else:
        start = [sys.executable, str(tools / "train.py"), config]
    return [*start, *flags]
