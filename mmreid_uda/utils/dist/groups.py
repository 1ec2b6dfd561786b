"""Groups of ranks: how they wait for each other and part, and which of them tells the user what went wrong."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size

from ..errors import InputError

__all__ = [
    "cpu_group",
    "launched_rank",
    "note_launcher",
    "noticing_lost_ranks",
    "rank0_says",
    "shutdown_dist",
]

# Clustering a million images keeps rank 0 busy for longer than any collective's default time-out (30 minutes), and an
# NCCL collective that waits burns a GPU meanwhile. Ranks wait on the CPU, in a group of their own.
_WAIT = timedelta(hours=24)
# Key of rank 0's note that it tells the user about an error, and how many seconds other ranks wait for it.
_TOLD = "mmreid_uda/told"
_MOMENT = 3.0
# The rank that a launcher has given to this process.
_launched = 0
# What gloo says when the process at the other end is gone.
_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Connection refused",
)


@functools.cache
def _waiting_group() -> Any:
    return dist.new_group(backend="gloo", timeout=_WAIT)


def cpu_group() -> Any:
    """The gloo group in which ranks wait for each other and exchange arrays.

    Returns:
        The group; None in a single process.
    """
    return _waiting_group() if get_world_size() > 1 else None


def shutdown_dist(together: bool) -> None:
    """Leave the other processes, and let go of every group while the interpreter is still whole.

    Args:
        together: Wait for the others first, so that none loses a connection it still uses; one that is gone already
            is nobody's business any more. False after an error, which the others may not have.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    if together:
        with suppress(RuntimeError):
            dist.barrier(group=cpu_group())
    _waiting_group.cache_clear()
    dist.destroy_process_group()


def note_launcher(rank: str) -> None:
    """Note that a launcher has started this process as one of several; only then does its environment count.

    Args:
        rank: What the launcher's variable says.
    """
    global _launched
    _launched = int(rank) if rank.isdigit() else 0


def launched_rank() -> int:
    """The rank of this process, also before it has joined the others.

    Returns:
        0 where it is on its own.
    """
    return get_rank() if dist.is_available() and dist.is_initialized() else _launched


def rank0_says(error: Exception) -> bool:
    """Whether it is left to rank 0 to tell the user about an error that ends this process, too.

    Mostly all ranks have the same error. Rank 0 notes in the store of the group that it tells; another rank that finds
    no such note within a moment has met something alone, such as a file that its machine lacks, and tells
    itself.

    Args:
        error: What has ended this process.

    Returns:
        False where this process has to tell it.
    """
    rank = launched_rank()
    if not (dist.is_available() and dist.is_initialized()):
        if rank:
            # A launcher stops the others when one has ended: rank 0, which may be slower, is to come to its sentence.
            time.sleep(_MOMENT)
        return rank != 0
    store = dist.distributed_c10d._get_default_store()
    try:
        if rank == 0:
            store.set(_TOLD, type(error).__name__)
            return False
        # Looked at now and then: a wait that ends in vain is a line on the console.
        for _ in range(30):
            if store.check([_TOLD]):
                return True
            time.sleep(_MOMENT / 30)
    except dist.DistError:  # the store has gone with rank 0, which has told something then
        return rank != 0
    return False


@contextmanager
def noticing_lost_ranks(doing: str) -> Iterator[None]:
    """Turn the error of a closed connection into a sentence about the process that has ended.

    Args:
        doing: What the ranks were about to exchange.

    Raises:
        InputError: Instead of gloo's error.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _LOST):
            raise
        raise InputError(
            f"rank {get_rank()} lost another of the {get_world_size()} processes while {doing}: look for that "
            "process's error (or a kill for lack of memory) further up, then go on with --resume."
        ) from error
