"""How a run starts: what it goes on from, and a Runner also where there is no GPU."""

from __future__ import annotations

import inspect
import os
from typing import Any

import torch
from mmengine.config import Config
from torch.nn.parallel import DistributedDataParallel

from mmreid_uda.checkpoint import find_checkpoint
from mmreid_uda.utils import InputError, in_a_line, keep_freed_memory, raised_here
from mmreid_uda.utils.dist import run_on_rank0
from mmreid_uda.utils.files import require_writable_folder
from mmreid_uda.utils.run_lock import RunLock

from .resume import checkpoint_to_resume, finished_note, read_resumable
from .runner import ReIDRunner

__all__ = ["build_runner", "nothing_to_train"]


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
