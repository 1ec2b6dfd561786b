"""Processes that start warm: forked from a server that has imported the package once, instead of anew each time."""

import atexit
import functools
import gc
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from datetime import timedelta
from pathlib import Path

import mmengine.config.config
import mmengine.dataset.base_dataset
import mmengine.runner.runner
import torch
import torch.distributed as dist

REPOSITORY = Path(__file__).parents[1]

# What tools import sooner or later; the server never runs anything of it, so forks are as clean as new processes.
PRELOADED = (
    "mmreid_uda.apis",
    "mmreid_uda.models",
    "mmreid_uda.visualization",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.datasets",
    "sklearn.metrics",
    "torch._dynamo",
    "processes",
)

# What was imported stays.
gc.freeze()
# mmengine looks through all objects there are for garbage, once for every dataset: a tenth of a second of each test.
mmengine.dataset.base_dataset.gc = types.SimpleNamespace(collect=lambda: 0)
# mmengine lays a config out as handsome code for every Runner: half a second that no test needs.
mmengine.config.config.FormatCode = lambda code, **_: (code, True)
# The machine stays the same from one Runner to the next.
mmengine.runner.runner.collect_env = functools.cache(mmengine.runner.runner.collect_env)


def warm_context():
    """The context of :mod:`multiprocessing` whose processes are forks of the server."""
    # The server finds modules by its environment alone, and passes over those that it does not find.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys([str(REPOSITORY), str(REPOSITORY / "tests"), *_python_path()])
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _python_path():
    return filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))


def run_script(script, *arguments, ranks=None, cwd=REPOSITORY, env=None, timeout=600):
    """Run a Python script as from the command line, in a process of its own that starts warm.

    Args:
        script: The file, relative to ``cwd``.
        *arguments: Its command line.
        ranks: Run so many processes at once, with the environment that torchrun gives them.
        cwd: Working folder.
        env: Environment variables beside this process's.
        timeout: Seconds until the processes are killed.

    Returns:
        A ``subprocess.CompletedProcess`` with texts; of ranks the first status that is not 0, and all texts.
    """
    argv = [str(one) for one in (script, *arguments)]
    places = [{}] if ranks is None else _rank_environments(ranks)
    context = warm_context()
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for number, place in enumerate(places):
            files = [Path(folder, f"{number}.{name}") for name in ("out", "err")]
            process = context.Process(
                target=_as_main,
                args=(argv, str(cwd), {**os.environ, **(env or {}), **place}, files),
            )
            process.start()
            started.append((process, files))
        _wait([process for process, _ in started], timeout)
        texts = [
            "".join(files[stream].read_text(errors="replace") for _, files in started)
            for stream in (0, 1)
        ]
        status = next((p.exitcode for p, _ in started if p.exitcode), 0)
    return subprocess.CompletedProcess(argv, status, *texts)


def _rank_environments(ranks):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        {
            **dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks)),
            **dict(LOCAL_WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)),
        }
        for rank in range(ranks)
    ]


def _wait(processes, timeout):
    """Wait for all; as under torchrun, the others of a rank that fails get thirty seconds to stop by themselves."""
    deadline = time.monotonic() + timeout
    while any(process.is_alive() for process in processes):
        if any(process.exitcode for process in processes):
            deadline = min(deadline, time.monotonic() + 30)
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        for process in processes:
            process.join(timeout=0.02)


def _as_main(argv, cwd, environment, files):
    """The body of a forked process: become the script."""
    for stream, file in zip((1, 2), files):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    threads = int(environment.get("OMP_NUM_THREADS", 0))
    if threads:
        torch.set_num_threads(threads)
    sys.argv = argv
    sys.path.insert(0, str(Path(argv[0]).resolve().parent))
    try:
        runpy.run_path(argv[0], run_name="__main__")
    finally:
        # multiprocessing leaves a process without them.
        atexit._run_exitfuncs()


def enter_rank(rank, world_size, port, function, args, queue):
    """The body of one process of the fixture ``run_ranks``."""
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
