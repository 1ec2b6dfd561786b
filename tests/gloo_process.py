"""The body of one process of the fixture ``run_ranks``; a module of its own, so that spawned processes find it."""

from datetime import timedelta

import torch
import torch.distributed as dist


def enter(rank, world_size, port, function, args, queue):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=120),
    )
    try:
        queue.put((rank, function(rank, *args)))
        dist.barrier()
    finally:
        dist.destroy_process_group()
