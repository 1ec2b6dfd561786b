"""How a tool becomes one of several processes."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from mmreid_uda.config.check import Joining, Launcher
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import note_launcher
from mmreid_uda.utils.values import checked

from .arguments import RANK_VARIABLES

__all__ = ["init_processes", "num_processes"]

# Where each launcher says how many processes there are.
_SIZES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}


@checked
def num_processes(launcher: Launcher) -> int:
    """Number of processes of a run, before they have joined.

    Args:
        launcher: ``'none'``, ``'pytorch'`` (torchrun), ``'slurm'`` or ``'mpi'``.

    Returns:
        At least 1.

    Raises:
        InputError: This process was not started by the launcher.
    """
    if launcher == "none":
        return 1
    size = os.environ.get(_SIZES[launcher], "")
    if not size.isdigit() or int(size) < 1:
        raise InputError(
            f"found --launcher {launcher} and {_SIZES[launcher]}={size!r} in the environment, expected the number of "
            "processes: start them with mmreid train --processes N, tools/dist_train.sh or tools/slurm_train.sh."
        )
    note_launcher(os.environ.get(RANK_VARIABLES[launcher], ""))
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
