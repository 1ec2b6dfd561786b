"""Arrays and tensors that ranks exchange: the global batch, shares of rows, results of rank 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from mmengine.dist import get_comm_device, get_rank, get_world_size
from torch import Tensor, nn

from .calls import run_on_rank0
from .groups import cpu_group, noticing_lost_ranks

__all__ = [
    "all_gather_with_grad",
    "broadcast_buffers",
    "gather_batch",
    "gather_on_rank0",
    "gather_turns",
    "own_turns",
    "share_from_rank0",
]

T = TypeVar("T")


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
            dist.gather(array, parts, dst=0, group=cpu_group())
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
            dist.broadcast(torch.from_numpy(array), src=0, group=cpu_group())
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
        dist.broadcast_object_list(box, src=0, group=cpu_group())
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
