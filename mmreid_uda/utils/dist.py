"""What ranks tell each other: the global batch, rank 0's labels, and whether all of them agree."""

from __future__ import annotations

import functools
import hashlib
import itertools
import pickle
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from mmengine.dist import get_comm_device, get_rank, get_world_size
from torch import Tensor, nn

from .errors import InputError
from .parallel import kernels_available

__all__ = [
    "HeldByAll",
    "all_gather_with_grad",
    "assert_same_on_ranks",
    "broadcast_buffers",
    "cpu_group",
    "gather_batch",
    "gather_on_rank0",
    "gather_turns",
    "launched_rank",
    "note_launcher",
    "noticing_lost_ranks",
    "on_every_rank",
    "own_turns",
    "rank0_says",
    "require_same_kernels",
    "run_on_rank0",
    "share_from_rank0",
    "shutdown_dist",
]

T = TypeVar("T")

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


def gather_batch(tensor: Tensor) -> Tensor:
    """Join the batches of all ranks in rank order, without gradient.

    Args:
        tensor: (B, ...), the same shape on every rank.

    Returns:
        (world_size * B, ...), identical on every rank; ``tensor`` itself, detached, in a single process.
    """
    tensor = tensor.detach()
    if get_world_size() == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def all_gather_with_grad(tensor: Tensor) -> Tensor:
    """Join the batches of all ranks in rank order, keeping the gradient of this rank's own part.

    Every rank then computes the loss of the *global* batch, and backpropagates it into its own images only. Summed over
    ranks these gradients are those of a single process; because ``DistributedDataParallel`` averages, the gradient
    is multiplied by the world size here. So W ranks equal one rank on the same global batch, without
    a custom autograd function.

    Args:
        tensor: (B, ...), the same shape on every rank.

    Returns:
        (world_size * B, ...); ``tensor`` itself in a single process.
    """
    world_size = get_world_size()
    if world_size == 1:
        return tensor
    own = tensor.view_as(tensor)
    if own.requires_grad:
        own.register_hook(lambda grad: grad * world_size)
    parts = list(gather_batch(tensor).split(len(tensor)))
    parts[get_rank()] = own
    return torch.cat(parts)


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


def gather_on_rank0(arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]] | None:
    """Bring arrays of every rank to rank 0.

    Args:
        arrays: Of the same shapes and types on every rank.

    Returns:
        On rank 0 the arrays of rank 0, those of rank 1, ...; None elsewhere.

    Raises:
        InputError: If another rank has ended.
    """
    if get_world_size() == 1:
        return [list(arrays)]
    gathered: list[list[np.ndarray]] = [[] for _ in range(get_world_size())]
    for array in map(torch.from_numpy, arrays):
        parts = [torch.empty_like(array) for _ in gathered] if get_rank() == 0 else None
        with noticing_lost_ranks("the results of all ranks were gathered"):
            dist.gather(array, parts, dst=0, group=_waiting_group())
        for rank, part in enumerate(parts or ()):
            gathered[rank].append(part.numpy())
    return gathered if get_rank() == 0 else None


def share_from_rank0(function: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Run a function on rank 0 only and give its arrays to every rank, without pickling them.

    Args:
        function: Called without arguments.

    Returns:
        Its arrays, the same on every rank; on rank 0 themselves.

    Raises:
        InputError: As :func:`run_on_rank0`, which errors are raised as.
        RuntimeError: Likewise.
    """
    arrays: list[np.ndarray] = []

    def run() -> list[tuple[tuple[int, ...], str]]:
        arrays.extend(np.ascontiguousarray(array) for array in function())
        return [(array.shape, array.dtype.str) for array in arrays]

    kinds = run_on_rank0(run)
    if get_world_size() == 1:
        return arrays
    if get_rank() != 0:
        arrays = [np.empty(shape, dtype) for shape, dtype in kinds]
    for array in arrays:
        with noticing_lost_ranks("the results of rank 0 were handed out"):
            dist.broadcast(torch.from_numpy(array), src=0, group=_waiting_group())
    return arrays


def own_turns(items: Sequence[T]) -> Sequence[T]:
    """This rank's share of what is dealt to all ranks in turn.

    Args:
        items: The same on every rank.

    Returns:
        Every ``world_size``-th of them; all in a single process.
    """
    return items[get_rank() :: get_world_size()]


def gather_turns(
    parts: Sequence[Tensor], size: int, rows_per_turn: int, group: Any = None
) -> Tensor:
    """Put rows together again that :func:`own_turns` has dealt out, a block of them at each turn.

    Args:
        parts: Of each own turn its rows (rows_per_turn, D), on one device; those of the very last turn may be fewer. A
            rank without a turn gives none.
        size: N, rows of all turns.
        rows_per_turn: Rows of a block.
        group: Exchanges them; None is the training's. Tensors on a CPU may take :func:`cpu_group`.

    Returns:
        (N, D) in the order of the turns, the same on every rank.

    Raises:
        InputError: If another rank has ended.
    """
    world_size = get_world_size()
    if world_size == 1:
        return torch.cat(list(parts))
    with noticing_lost_ranks("the rows of all ranks were gathered"):
        # Every rank pads to the same number of full turns; width and device are rank 0's, which always has one.
        box: list[Any] = [(parts[0].shape[1], parts[0].dtype) if parts else None]
        dist.broadcast_object_list(box, src=0, group=_waiting_group())
        (width, dtype), turns = box[0], -(-size // (rows_per_turn * world_size))
        device = parts[0].device if parts else get_comm_device(group)
        padded = torch.zeros(turns * rows_per_turn, width, device=device, dtype=dtype)
        for turn, part in enumerate(parts):
            padded[turn * rows_per_turn : turn * rows_per_turn + len(part)] = part
        gathered = [torch.empty_like(padded) for _ in range(world_size)]
        dist.all_gather(gathered, padded, group=group)
    # (world, turns, rows, D) -> (turns, world, rows, D): the order in which turns were dealt out.
    in_order = torch.stack(gathered).view(world_size, turns, rows_per_turn, width).transpose(0, 1)
    return in_order.reshape(turns * world_size * rows_per_turn, width)[:size].contiguous()


def on_every_rank(function: Callable[[], T]) -> list[T]:
    """Run a function on every rank and give all (picklable) results to each of them.

    An error of one rank is raised on every rank, so that none is left waiting: the own one where there is one, else
    that of the first rank that has one, as :func:`run_on_rank0` does.

    Args:
        function: Called without arguments.

    Returns:
        The results in the order of the ranks.

    Raises:
        InputError: On every rank, if the function raises one on some rank.
        RuntimeError: On the other ranks, if it raises another.
    """
    if get_world_size() == 1:
        return [function()]
    own, outcome = _outcome(function)
    outcomes: list[Any] = [None] * get_world_size()
    with noticing_lost_ranks("waiting for the results of all ranks"):
        dist.all_gather_object(outcomes, outcome, group=_waiting_group())
    try:
        if own is not None:
            raise own
        return [_value(outcome, rank) for rank, outcome in enumerate(outcomes)]
    except Exception as error:
        error.known_to_all = True  # type: ignore[attr-defined]
        raise


def _outcome(function: Callable[[], Any]) -> tuple[Exception | None, tuple[bool, Any]]:
    """The error of a function, and what other ranks are told: whether it succeeded, with its value or sentence."""
    try:
        return None, (True, function())
    except Exception as error:
        return error, (False, (isinstance(error, InputError), f"{error}"))


def _value(outcome: tuple[bool, Any], rank: int) -> Any:
    """The value of a rank's outcome; its error is raised."""
    succeeded, value = outcome
    if succeeded:
        return value
    is_input_error, message = value
    raise InputError(message) if is_input_error else RuntimeError(f"rank {rank} failed: {message}")


def run_on_rank0(function: Callable[[], T]) -> T:
    """Run a function on rank 0 only and give its (picklable) result to every rank.

    An error of rank 0 is raised on every rank, so that none is left waiting: an :class:`InputError` with its sentence,
    anything else as a ``RuntimeError`` that quotes it (rank 0 raises the original).

    Args:
        function: Called without arguments.

    Returns:
        Its result.

    Raises:
        InputError: On every rank, if the function raises one.
        RuntimeError: On the other ranks, if it raises another.
    """
    if get_world_size() == 1:
        return function()
    box: list[Any] = [None]
    error: Exception | None = None
    if get_rank() == 0:
        with _leading():
            error, box[0] = _outcome(function)
    with noticing_lost_ranks("waiting for the result of rank 0"):
        dist.broadcast_object_list(box, src=0, group=_waiting_group())
        while isinstance(box[0], _Call):
            # What ends the method ends it on rank 0 as well, whose result tells of it.
            with suppress(Exception):
                box[0].answer()
            dist.broadcast_object_list(box, src=0, group=_waiting_group())
    if error is not None:
        raise error
    return _value(box[0], 0)


class HeldByAll:
    """An object that every rank holds, and of which rank 0 can call methods on all ranks.

    It can while the others wait for it in :func:`run_on_rank0`. Ranks create such objects together, in one order.
    """

    def __init__(self) -> None:
        self._number = next(_numbers)
        _held[self._number] = self

    def on_all_ranks(self, method: str, *arguments: Any) -> Any:
        """Call a method on every rank; where others do not wait, on this one alone.

        Args:
            method: Its name. It is told whether all ranks take part, as ``together``. What fails on one of them is told
                to the others when they call :func:`on_every_rank` next; what they exchange otherwise must follow such
                a call, with nothing between that may fail.
            *arguments: Of the method, picklable.

        Returns:
            What the method returns on this rank.

        Raises:
            InputError: As :func:`on_every_rank`.
            RuntimeError: Likewise.
        """
        if not _leaders:
            return getattr(self, method)(*arguments, together=False)
        call = _Call(self._number, method, arguments)
        with noticing_lost_ranks("rank 0 shared its work"):
            dist.broadcast_object_list([call], src=0, group=_waiting_group())
        return call.answer()


_held: weakref.WeakValueDictionary[int, HeldByAll] = weakref.WeakValueDictionary()
_numbers = itertools.count()
# Calls of run_on_rank0 that this process, being rank 0 of several, is within.
_leaders = 0


@dataclass(frozen=True)
class _Call:
    """A method that rank 0 calls on all ranks."""

    number: int
    method: str
    arguments: tuple[Any, ...]

    def answer(self) -> Any:
        """Take part in it, to its end on all ranks."""
        try:
            result = getattr(_held[self.number], self.method)(*self.arguments, together=True)
        except Exception as error:
            if not getattr(error, "known_to_all", False):
                with suppress(Exception):
                    on_every_rank(functools.partial(_fail, error))
            raise
        on_every_rank(lambda: None)
        return result


def _fail(error: Exception) -> None:
    raise error


@contextmanager
def _leading() -> Iterator[None]:
    """Inside, the other ranks wait for this one."""
    global _leaders
    _leaders += 1
    try:
        yield
    finally:
        _leaders -= 1


def _digest(value: Any) -> str:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().numpy()
    if isinstance(value, np.ndarray):
        value = (value.dtype.str, value.shape, value.tobytes())
    return hashlib.sha256(pickle.dumps(value)).hexdigest()[:16]


def assert_same_on_ranks(what: dict[str, Any]) -> None:
    """Check that all ranks hold the same values, by comparing their hashes.

    Args:
        what: Name of each value -> the value (a tensor, an array, or anything that pickles deterministically).

    Raises:
        InputError: On every rank, naming the values that differ and on which ranks.
    """
    if get_world_size() == 1:
        return
    digests: list[dict[str, str]] = [{}] * get_world_size()
    with noticing_lost_ranks("comparing data and weights"):
        dist.all_gather_object(
            digests, {name: _digest(value) for name, value in what.items()}, group=_waiting_group()
        )
    for name in what:
        strangers = [
            rank for rank, digest in enumerate(digests) if digest[name] != digests[0][name]
        ]
        if strangers:
            raise InputError(
                f"{name} on rank(s) {strangers} differs from rank 0: every process must see the same files, "
                "configuration and package versions; compare data_root and the installed packages of the machines."
            )


def require_same_kernels() -> None:
    """Check that all ranks compute with compiled kernels, or none: how work is dealt out depends on them.

    Raises:
        InputError: On every rank, if some do and others do not.
    """
    assert_same_on_ranks({"the use of compiled kernels (package numba)": kernels_available()})


def broadcast_buffers(model: nn.Module) -> None:
    """Give every rank the floating-point buffers of rank 0 (batch-norm statistics, memories), in one message.

    The statistics of rank 0 are *the* statistics, as in ``torch``'s own ``broadcast_buffers=True``, but once before
    they are used instead of at every forward pass. With them go the parameters that ``DistributedDataParallel`` leaves
    alone (rows of classifiers): every rank computes their whole gradient, and unlike GPUs may round it differently.

    Args:
        model: The same on every rank; changed in place on all but rank 0.
    """
    if get_world_size() == 1:
        return
    apart = set(getattr(model, "_ddp_params_and_buffers_to_ignore", ()))
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    buffers += [tensor.data for name, tensor in model.named_parameters() if name in apart]
    flat = torch.cat([buffer.reshape(-1).float() for buffer in buffers])
    dist.broadcast(flat, src=0)
    for buffer, values in zip(buffers, flat.split([buffer.numel() for buffer in buffers])):
        buffer.copy_(values.view_as(buffer))
