"""What ranks tell each other: the global batch, rank 0's labels, and whether all of them agree."""

from .arrays import (
    all_gather_with_grad,
    broadcast_buffers,
    gather_batch,
    gather_on_rank0,
    gather_turns,
    own_turns,
    share_from_rank0,
)
from .calls import (
    HeldByAll,
    assert_same_on_ranks,
    on_every_rank,
    require_same_kernels,
    run_on_rank0,
)
from .groups import (
    cpu_group,
    launched_rank,
    note_launcher,
    noticing_lost_ranks,
    rank0_says,
    shutdown_dist,
)

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
