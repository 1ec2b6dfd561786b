"""What several tests need: two real processes, quiet threads."""

import socket
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

torch.set_num_threads(1)


def _enter(rank, world_size, port, function, args, queue):
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


@pytest.fixture
def run_ranks():
    """Run ``function(rank, *args)`` in real gloo processes and return the results in rank order."""

    def run(function, world_size=2, args=()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        queue = mp.get_context("spawn").SimpleQueue()
        context = mp.spawn(
            _enter, (world_size, port, function, args, queue), world_size, join=False
        )
        results = {}
        while len(results) < world_size:
            while not queue.empty():
                rank, result = queue.get()
                results[rank] = result
            if context.join(timeout=0.1) and queue.empty():
                break
        return [results[rank] for rank in range(world_size)]

    return run
