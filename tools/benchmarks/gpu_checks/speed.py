"""Images per second of a large network, trained and extracted from, beside a bare loop of the same network and loss."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from iteration_costs import OURS, REFERENCE, Trial, time_sides
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState

from .algorithms import read_config
from .findings import Findings
from .machine import REPOSITORY, float32_products, measured, peak_rate, require, synchronize

__all__ = [
    "MODES",
    "check_extraction",
    "check_iteration",
    "check_products",
    "check_profile",
    "check_speed",
]

MODES = ("float32", "bfloat16", "bfloat16, channels last", "bfloat16, compiled")
"""How a network computes. Convolutions in float32 may use TF32 on cards that have it, as is torch's default."""

CONFIG = "configs/cluster_contrast/cluster-contrast_r50_market.py"
"""ResNet-50 with one cluster memory: hardly anything but the network takes time."""

_CLASSES, _TEMPERATURE = 512, 0.05
_TURNS, _MOST, _WARM_UP = 2, 60, 3
_PROFILED, _ROWS, _FLOP_IMAGES = 3, 10, 4
LOSS = 0.02
"""Relative difference of our loss and the bare loop's, of the same weights and images, and of features (1 - cosine)."""


class Bench:
    """A model, a batch of decoded images in memory, and how it computes; random weights and pixels take the usual time.

    Args:
        mode: One of :data:`MODES`.
        device: ``'cuda'`` or ``'cpu'``.
        size: Images of a batch.
        image: Height and width.
        encoder: Config of another encoder than ResNet-50, a path in the repository.

    Attributes:
        flops: Floating-point operations of an image, forward and (forward and backward).
    """

    def __init__(
        self, mode: str, device: str, size: int, image: tuple[int, int], encoder: str | None = None
    ) -> None:
        cfg = read_config(CONFIG, {"input_size": image})
        if encoder:
            cfg.model.encoder = Config.fromfile(str(REPOSITORY / encoder)).encoder
            cfg.model.encoder.backbone.img_size = image
        if "last" in mode:
            cfg.model.encoder.channels_last = True
        # The Runner initialises weights, and those of ImageNet would have to be fetched.
        cfg.model.encoder.backbone.init_cfg = None
        torch.manual_seed(0)
        self.cfg, self.device, self.size = cfg, device, size
        self.dtype = torch.bfloat16 if "bfloat16" in mode else None
        self.model: Any = MODELS.build(cfg.model).to(device).train()
        features = F.normalize(torch.randn(2 * _CLASSES, self.model.encoder.embed_dim), dim=1)
        labels = torch.arange(2 * _CLASSES) % _CLASSES
        self.model.on_relabel(PseudoLabelState(0, labels, features.to(device)))
        self.labels = torch.arange(size) // cfg.num_instances % _CLASSES
        pixels = torch.randint(0, 256, (size, *image, 3), dtype=torch.uint8)
        self.batch = dict(
            inputs=pixels.pin_memory() if device == "cuda" else pixels,
            samples=dict(
                gt_label=self.labels,
                sample_idx=torch.arange(size),
                domain=torch.ones(size, dtype=torch.int64),
            ),
        )
        self.images: Tensor = self.model.data_preprocessor(self.batch, True)["inputs"]
        self.flops = self._count_operations()
        if "compiled" in mode:
            self.model.encoder.compile()

    def autocast(self) -> torch.autocast:
        """Mixed precision, or none."""
        return torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype is not None)

    def optim_wrapper(self) -> dict[str, Any]:
        """Of the config, in our precision."""
        kind = dict(type="AmpOptimWrapper", dtype="bfloat16") if self.dtype else {}
        return {**self.cfg.optim_wrapper, **kind}

    def peak_share(self, images_per_second: float, flops: float) -> float | None:
        """Share of what the card's data sheet promises, None where that is not known."""
        dtype = "bfloat16" if self.dtype else "tf32"
        peak = peak_rate(dtype) if self.device == "cuda" else None
        return None if peak is None else images_per_second * flops / peak

    def _count_operations(self) -> tuple[float, float]:
        """Of an image: forward, and forward and backward."""
        few = self.images[:_FLOP_IMAGES]
        with FlopCounterMode(display=False) as forward:
            output = self.model.encoder(few).embedding
        with FlopCounterMode(display=False) as backward:
            output.float().sum().backward()
        self.model.zero_grad()
        once = forward.get_total_flops()
        return once / len(few), (once + backward.get_total_flops()) / len(few)


def _begin(
    mode: str, device: str, size: int, image: tuple[int, int], encoder: str | None = None
) -> tuple[Findings, Bench]:
    """Empty findings, and a bench on a device that is there."""
    require(device)
    return Findings(), Bench(mode, device, size, image, encoder)


def _note_rates(findings: Findings, bench: Bench, ours: float, bare: float, flops: float) -> None:
    """Note images per second of both sides, and what they mean with so many operations per image."""
    findings.metrics |= {
        "images/s": ours,
        "bare images/s": bare,
        "overhead": bare / ours - 1,
        "GFLOP/image": flops / 1e9,
        "share of the peak": bench.peak_share(ours, flops),
    }


def check_speed(
    mode: str,
    device: str,
    size: int = 256,
    image: tuple[int, int] = (256, 128),
    seconds: float = 2.0,
    encoder: str | None = None,
) -> Findings:
    """Train by mmengine's loop and hooks, and by a bare loop on images that are on the device already.

    Args:
        mode: One of :data:`MODES`.
        device: ``'cuda'`` or ``'cpu'``.
        size: Images of a batch.
        image: Height and width.
        seconds: About so long a turn takes; 0 makes one iteration.
        encoder: As for :class:`Bench`.
    """
    findings, bench = _begin(mode, device, size, image, encoder)
    memory = bench.model.head.memory.prototypes.clone()
    bare = BareLoop(bench, memory)
    with bench.autocast():
        data = bench.model.data_preprocessor(bench.batch, True)
        ours, _ = bench.model.parse_losses(bench.model(**data, mode="loss"))
    theirs = bare.loss().item()
    findings.at_most("loss beside the bare loop's", abs(ours.item() - theirs) / theirs, LOSS)
    torch.backends.cudnn.benchmark = True
    iterations = _iterations(device, bare.step, seconds)
    turns: dict[str, list[float]] = {"ours": [], "bare": []}
    mib: dict[str, float | None] = {}
    for _ in range(_TURNS if seconds else 1):
        mean, mib["ours"] = _framework_cost(bench, iterations)
        turns["ours"].append(mean)
        mean, _, mib["bare"] = measured(
            device, lambda: _mean_seconds(device, bare.step, iterations)
        )
        turns["bare"].append(mean)
    per_second = {side: size / min(times) for side, times in turns.items()}
    _note_rates(findings, bench, per_second["ours"], per_second["bare"], bench.flops[1])
    findings.metrics |= {"MiB": mib["ours"], "bare MiB": mib["bare"]}
    findings.metrics["iterations"] = iterations
    return findings


def check_extraction(
    mode: str,
    device: str,
    size: int = 256,
    image: tuple[int, int] = (256, 128),
    seconds: float = 2.0,
    encoder: str | None = None,
) -> Findings:
    """Extract features as the cluster hook does of decoded images, and by the bare network.

    Arguments are those of :func:`check_speed`.
    """
    findings, bench = _begin(mode, device, size, image, encoder)
    model = bench.model.eval()

    @torch.no_grad()
    def ours() -> Tensor:
        batch = model.data_preprocessor(bench.batch, False)
        with bench.autocast():
            return model(batch["inputs"], batch["data_samples"], mode="tensor").float()

    @torch.no_grad()
    def bare() -> Tensor:
        with bench.autocast():
            return F.normalize(model.encoder(bench.images).embedding.float(), dim=1)

    torch.backends.cudnn.benchmark = True
    apart = 1 - (ours() * bare()).sum(1).min().item()
    findings.at_most("features beside the bare network's", apart, LOSS)
    iterations = _iterations(device, bare, seconds)
    rate, beside = (size / _mean_seconds(device, work, iterations) for work in (ours, bare))
    _note_rates(findings, bench, rate, beside, bench.flops[0])
    return findings


def check_iteration(
    config: str, device: str, repetitions: int = 10, options: dict[str, Any] | None = None
) -> Findings:
    """Time an iteration of a mean teacher beside the bare passes of its networks, in float32.

    Args:
        config: Path in the repository.
        device: ``'cuda'`` or ``'cpu'``.
        repetitions: Turns, of which medians are taken.
        options: Dotted keys -> values merged into the config.
    """
    require(device)
    findings = Findings()
    read_config(config, options)  # from the repository's root, where the trial finds it, too
    metrics = time_sides(Trial(config, options, device), repetitions)
    for side, seconds in metrics["seconds"].items():
        findings.metrics[f"s of {side}"] = seconds
    findings.metrics[f"{OURS} / {REFERENCE}"] = metrics["ratio"]
    findings.true("timed", min(metrics["seconds"].values()) > 0, "a side took no time")
    return findings


def check_profile(
    mode: str, device: str, size: int = 256, image: tuple[int, int] = (256, 128)
) -> Findings:
    """Where the time of our training step goes: the ten operations that take most.

    Arguments are those of :func:`check_speed`.
    """
    findings, bench = _begin(mode, device, size, image)
    wrapper = build_optim_wrapper(bench.model, bench.optim_wrapper())
    for _ in range(_WARM_UP):
        bench.model.train_step(bench.batch, wrapper)
    synchronize(device)
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(_PROFILED):
            bench.model.train_step(bench.batch, wrapper)
        synchronize(device)
    clock = f"self_{'device' if device == 'cuda' else 'cpu'}_time_total"
    # An operation has the time of its kernels, which have rows of their own besides.
    operations = [
        row for row in profiler.key_averages() if row.device_type == torch.autograd.DeviceType.CPU
    ]
    rows = sorted(operations, key=lambda row: -getattr(row, clock))
    total = sum(getattr(row, clock) for row in rows)
    findings.true("has rows", bool(rows) and total > 0, "the profiler saw nothing")
    findings.metrics["ms per iteration"] = total / 1e3 / _PROFILED
    findings.metrics["largest"] = [
        {
            "operation": row.key[:80],
            "calls per iteration": row.count / _PROFILED,
            "ms per iteration": getattr(row, clock) / 1e3 / _PROFILED,
            "share": getattr(row, clock) / total,
        }
        for row in rows[:_ROWS]
    ]
    return findings


def check_products(device: str, size: int = 8192) -> Findings:
    """The rate of large products of random matrices: what the card gives at best, in TFLOP/s.

    Args:
        device: ``'cuda'`` or ``'cpu'``.
        size: Rows and columns.
    """
    require(device)
    findings = Findings()
    for name, dtype, exact in (
        ("float32", torch.float32, True),
        ("tf32", torch.float32, False),
        ("bfloat16", torch.bfloat16, True),
    ):
        if not exact and device != "cuda":
            continue
        left, right = torch.randn(2, size, size, device=device, dtype=dtype)
        with float32_products():
            torch.backends.cuda.matmul.allow_tf32 = not exact

            def multiply(left: Tensor = left, right: Tensor = right) -> Tensor:
                return left @ right

            rate = 2 * size**3 / _mean_seconds(device, multiply, 10 if device == "cuda" else 1)
        findings.metrics[f"{name} TFLOP/s"] = rate / 1e12
        peak = peak_rate(name) if device == "cuda" else None
        if peak is not None:
            findings.metrics[f"{name}, share of the peak"] = rate / peak
    return findings


class BareLoop:
    """The same network, loss and optimiser in plain PyTorch: no labels from files, no hooks, no memory that moves.

    Args:
        bench: Its encoder is trained.
        memory: float32 (K, D), unit rows that images are contrasted with.
    """

    def __init__(self, bench: Bench, memory: Tensor) -> None:
        self._bench, self._memory = bench, memory
        self._labels = bench.labels.to(bench.device)
        kind = dict(bench.cfg.optim_wrapper.optimizer)
        self._optimizer = getattr(torch.optim, kind.pop("type"))(
            bench.model.encoder.parameters(), **kind
        )

    def loss(self) -> Tensor:
        """InfoNCE of the batch."""
        with self._bench.autocast():
            embedding = self._bench.model.encoder(self._bench.images).embedding
        scores = F.normalize(embedding.float(), dim=1) @ self._memory.T / _TEMPERATURE
        return F.cross_entropy(scores, self._labels)

    def step(self) -> None:
        """One iteration."""
        self._optimizer.zero_grad()
        self.loss().backward()
        self._optimizer.step()


class _Clock(Hook):
    """Mean seconds of the iterations behind the first ones, and the most bytes on the card.

    The logger resets the peak of the memory whenever it logs: this hook looks before it, in every iteration.
    """

    def __init__(self, device: str, warm_up: int) -> None:
        self._device, self._warm_up = device, warm_up
        self._started, self.seconds, self.peak = 0.0, float("nan"), 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start behind the warm-up."""
        if batch_idx == self._warm_up:
            synchronize(self._device)
            self._started = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look at the memory."""
        if self._device == "cuda":
            self.peak = max(self.peak, torch.cuda.max_memory_allocated())

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop."""
        synchronize(self._device)
        timed = runner.max_iters - self._warm_up
        self.seconds = (time.perf_counter() - self._started) / timed


class _Repeated:
    """A loader that has its one batch in memory."""

    def __init__(self, batch: dict[str, Any], count: int) -> None:
        self._batch, self._count = batch, count
        self.dataset: tuple[()] = ()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return itertools.repeat(self._batch, self._count)


def _framework_cost(bench: Bench, iterations: int) -> tuple[float, float | None]:
    """Seconds of an iteration of mmengine's Runner with its hooks, and MiB beyond those before, None on a CPU."""
    cuda = bench.device == "cuda"
    before = torch.cuda.memory_allocated() if cuda else 0
    warm_up = _WARM_UP if iterations > 1 else 0
    clock = _Clock(bench.device, warm_up)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            bench.model,
            folder,
            train_dataloader=_Repeated(bench.batch, iterations + warm_up),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=bench.optim_wrapper(),
            default_hooks=dict(checkpoint=None),
            env_cfg=dict(cudnn_benchmark=True, dist_cfg=dict(backend="gloo")),
            default_scope="mmreid_uda",
            experiment_name=f"speed-{time.monotonic_ns()}",
        )
        runner.register_hook(clock)
        runner.train()
    return clock.seconds, (clock.peak - before) / 2**20 if cuda else None


def _mean_seconds(device: str, work: Callable[[], Any], iterations: int) -> float:
    """Mean seconds of several turns, once warm."""
    work()
    synchronize(device)
    started = time.perf_counter()
    for _ in range(iterations):
        work()
    synchronize(device)
    return (time.perf_counter() - started) / iterations


def _iterations(device: str, work: Callable[[], Any], seconds: float) -> int:
    """How many turns take about so many seconds: 1 to 60; warms up."""
    if not seconds:
        return 1
    for _ in range(_WARM_UP):
        work()
    return max(1, min(_MOST, int(seconds / _mean_seconds(device, work, 2))))
