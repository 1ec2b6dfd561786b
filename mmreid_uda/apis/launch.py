"""How a tool starts: processes, a Runner, and one sentence when the input is wrong."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner

from mmreid_uda.utils import InputError, keep_freed_memory
from mmreid_uda.utils.dist import leave_processes
from mmreid_uda.utils.files import require_writable

__all__ = ["build_runner", "init_processes", "run_tool", "training_command"]


def init_processes(launcher: str) -> int:
    """Join the other processes of a distributed run, on GPUs (NCCL) or on CPUs (gloo).

    mmengine insists on a GPU for ``launcher='pytorch'``, but leaves a process group that exists alone: on a machine
    without one the group is made here.

    Args:
        launcher: ``'none'``, ``'pytorch'`` (torchrun), ``'slurm'`` or ``'mpi'``.

    Returns:
        Number of processes.
    """
    if launcher == "none":
        return 1
    if torch.cuda.is_available():
        from mmengine.dist import init_dist

        init_dist(launcher)
    else:
        dist.init_process_group("gloo")
    return dist.get_world_size()


class _TestRunner(Runner):
    """A Runner that leaves the config in the work dir alone, which is that of the training, and whole."""

    def dump_config(self) -> None:
        """Write nothing; the log's folder has what is tested with."""


def build_runner(cfg: Config, dump_config: bool = True) -> Runner:
    """Build the Runner of a loaded config (:func:`load_config`), also where there is no GPU.

    There, ranks are joined without device ids, memory is not pinned, and what is freed is kept for the next step.

    Args:
        cfg: The config.
        dump_config: Write it to the work dir, as training does. Defaults to True.

    Raises:
        InputError: The work dir cannot be written.
    """
    if cfg.get("work_dir"):
        require_writable(Path(cfg.work_dir, "last_checkpoint"))
    if not torch.cuda.is_available():
        keep_freed_memory()
        for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
            if name in cfg:
                cfg[name].pin_memory = False
        cfg.model_wrapper_cfg = dict(
            type="MMDistributedDataParallel",
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get("find_unused_parameters", False),
        )
    return (Runner if dump_config else _TestRunner).from_cfg(cfg)


def run_tool(main: Callable[[], None], resume: str = "") -> None:
    """Run a tool's ``main``; an :class:`InputError` becomes one sentence on stderr and exit status 2.

    Args:
        main: Reads the command line, and works.
        resume: How to go on after an interruption, where the tool can.
    """
    # File names need not be UTF-8, and a tool must not fail at printing them.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main()
    except InputError as error:
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"error: {error}", file=sys.stderr, flush=True)
        leave_processes(together=False)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"interrupted; {resume}" if resume else "interrupted", file=sys.stderr)
        leave_processes(together=False)
        sys.exit(130)
    leave_processes(together=True)


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
