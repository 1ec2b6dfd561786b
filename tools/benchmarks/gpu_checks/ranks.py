"""Two processes beside one: the same labels, loss and step from the same global batch."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner, unwrap

from .clustering import moved
from .findings import Findings, NotHere
from .machine import float32_products, require
from .training import tiny_config

__all__ = ["check_ranks"]

LOSS, STEP = 1e-3, 0.05
"""Relative difference of the losses, and of the steps that the weights make (norms): a part of the batch that is left
out, or a wrong factor, makes half and more."""


def check_ranks(config: str, device: str, data_root: str, backend: str = "gloo") -> Findings:
    """Train one iteration in one process and in two, by plain SGD and with a backbone that keeps its statistics.

    Args:
        config: Path in the repository.
        device: ``'cuda'`` or ``'cpu'``.
        data_root: Folder for rendered people.
        backend: ``'gloo'``: both processes share the device; ``'nccl'``: each has a GPU of its own.
    """
    require(device, alone=True)
    if backend == "nccl" and torch.cuda.device_count() < 2:
        raise NotHere(f"NCCL needs a GPU for each process, found {torch.cuda.device_count()}")
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(tiny_config(config, Path(folder), data_root, 1, findings))
        runs = []
        for world_size in (1, 2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            seen = str(Path(folder, f"seen{world_size}.pth"))
            arguments = (world_size, port, backend, tiny, folder, seen)
            mp.spawn(_train, arguments, world_size)
            runs.append(torch.load(seen))
    one, two = runs
    findings.at_most("loss", abs(two["loss"] - one["loss"]) / abs(one["loss"]), LOSS)
    apart = (two["step"] - one["step"]).norm() / one["step"].norm()
    findings.at_most("step", apart.item(), STEP)
    if "labels" in one:
        findings.at_most("moved", moved(two["labels"].numpy(), one["labels"].numpy()), 0.0)
    return findings


class _Watch(Hook):
    """Notes weights before the first iteration and after it, and its loss."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.before, self.after, self.loss = torch.empty(0), torch.empty(0), float("nan")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note the weights."""
        self.before = _weights(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note weights and loss."""
        self.after, self.loss = _weights(runner), float(outputs["loss"])


def _weights(runner: Runner) -> Tensor:
    """All that is trained, float32 (P,), on the CPU."""
    trained = [weight for weight in unwrap(runner.model).parameters() if weight.requires_grad]
    return torch.cat([weight.detach().flatten().cpu() for weight in trained])


def _train(
    rank: int, world_size: int, port: int, backend: str, config: str, folder: str, seen: str
) -> None:
    """The life of a process; rank 0 writes down what it saw."""
    card = rank if backend == "nccl" else 0
    os.environ.update(LOCAL_RANK=str(card), RANK=str(rank), WORLD_SIZE=str(world_size))
    if torch.cuda.is_available():
        torch.cuda.set_device(card)
    cfg = load_config(config, world_size=world_size)
    cfg.work_dir = str(Path(folder, f"ranks{world_size}"))
    cfg.train_cfg.max_epochs = 1
    cfg.optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
    cfg.model.encoder.backbone.norm_eval = True
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.report.evaluate_before = False
    if world_size > 1:
        address = f"tcp://127.0.0.1:{port}"
        dist.init_process_group(backend, address, rank=rank, world_size=world_size)
        cfg.launcher = "pytorch"
    runner, watch = build_runner(cfg), _Watch()
    runner.register_hook(watch)
    with float32_products():
        runner.train()
    if rank == 0:
        target = runner.train_dataloader.dataset.target
        metrics = {"loss": watch.loss, "step": watch.after - watch.before}
        if target is not None:
            metrics["labels"] = target.labels.clone()
        torch.save(metrics, seen)
    if world_size > 1:
        dist.barrier()
        dist.destroy_process_group()
