"""What an iteration of a mean teacher costs beside the bare passes of its networks."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from operator import truediv
from typing import Any

import torch
from measuring import added_memory, take_turns
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from mmreid_uda.config import load_config
from mmreid_uda.models.algorithms import MeanTeacher
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import InputError

__all__ = ["OURS", "REFERENCE", "Trial", "measure", "report", "time_sides"]

OURS, REFERENCE, PASSES = "iteration", "passes and optimiser", "passes"
NUM_CLUSTERS = 150


class Trial:
    """A model of a config with random weights, its optimiser, a batch of noise, and both sides.

    Args:
        config: Config file.
        options: Dotted keys -> values merged into it.
        device: ``cpu`` or ``cuda``; None takes a GPU if there is one.
    """

    def __init__(self, config: str, options: dict[str, Any] | None, device: str | None) -> None:
        # The time does not depend on the weights: no first stage is needed.
        cfg = load_config(config, {**(options or {}), "stage1": None})
        self.model: Any = MODELS.build(cfg.model)
        if not isinstance(self.model, MeanTeacher):
            raise InputError(
                f"found the model {type(self.model).__name__} in {config}, expected one with teachers: give a config "
                "of MMT, ABMT or the strong baseline."
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model.to(self.device).train()
        self.optim: Any = build_optim_wrapper(self.model, cfg.optim_wrapper)
        generator = torch.Generator().manual_seed(0)
        size, views = cfg.global_batch_size, len(self.model.students)
        [(width, height)] = [step.scale for step in cfg.test_pipeline if step.type == "Resize"]
        shape = (size, *([views] if views > 1 else []), height, width, 3)
        self.batch = dict(
            inputs=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            samples=dict(
                gt_label=torch.arange(size) // cfg.num_instances % NUM_CLUSTERS,
                sample_idx=torch.arange(size),
                domain=torch.ones(size, dtype=torch.int64),
            ),
            num_source=0,
        )
        images = self.model.data_preprocessor(self.batch)["inputs"]
        self.images: tuple[Tensor, ...] = images if isinstance(images, tuple) else (images,)
        features = torch.randn(2 * NUM_CLUSTERS, self.model.encoder.embed_dim, generator=generator)
        labels = torch.arange(2 * NUM_CLUSTERS) % NUM_CLUSTERS
        self.model.on_relabel(PseudoLabelState(0, labels, features.to(self.device)))
        self.step = 0

    def iteration(self) -> None:
        """An iteration as the Runner makes it."""
        self.model.train_step(self.batch, self.optim)
        self.model.update_teachers(self.step)
        self.step += 1

    def passes(self) -> None:
        """Students forward and backward, teachers forward."""
        outputs = [student.encoder(view) for student, view in zip(self.model.students, self.images)]
        with torch.no_grad():
            for teacher, view in zip(self.model.teachers, self.images):
                teacher.module.encoder(view)
        torch.stack([output.embedding.square().mean() for output in outputs]).sum().backward()

    def passes_and_optimizer(self) -> None:
        """The passes, and a step of the optimiser."""
        self.passes()
        self.optim.step()
        self.optim.zero_grad()

    def side(self, name: str) -> Callable[[], None]:
        """The work of a side by its name."""
        return {
            OURS: self.iteration,
            REFERENCE: self.passes_and_optimizer,
            PASSES: self.passes,
        }[name]

    def seconds(self, name: str) -> float:
        """Time of one turn of a side."""
        work = self.side(name)
        self._wait()
        started = time.perf_counter()
        work()
        self._wait()
        seconds = time.perf_counter() - started
        self.optim.zero_grad()
        return seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def first_turn(config: str, options: dict[str, Any] | None, name: str) -> Callable[[], None]:
    """For :func:`added_memory`: everything loaded, nothing run."""
    return Trial(config, options, "cpu").side(name)


def time_sides(trial: Trial, repetitions: int) -> dict[str, Any]:
    """Let all sides take turns: median seconds of each, and ratios over the turns."""
    names = (OURS, REFERENCE, PASSES)
    for name in names:
        trial.seconds(name)
    turns = take_turns({name: partial(trial.seconds, name) for name in names}, repetitions)
    return dict(
        seconds={name: statistics.median(seconds) for name, seconds in turns.items()},
        ratio=statistics.median(map(truediv, turns[OURS], turns[REFERENCE])),
        ratio_to_passes=statistics.median(map(truediv, turns[OURS], turns[PASSES])),
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and ratios of the sides; on a CPU, the bytes that they add."""
    trial = Trial(args.config, args.cfg_options, args.device)
    metrics = time_sides(trial, args.repetitions)
    if trial.device.type == "cpu":
        added = {
            name: added_memory(first_turn, args.config, args.cfg_options, name)
            for name in (OURS, REFERENCE)
        }
        metrics["added_bytes"] = added
        if added[OURS] and added[REFERENCE]:
            metrics["memory_ratio"] = added[OURS] / added[REFERENCE]
    return metrics


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out."""
    lines = [f"{name:>22} {seconds:8.3f} s" for name, seconds in metrics["seconds"].items()]
    lines.append(f"iteration / {REFERENCE}: {metrics['ratio']:.3f}")
    lines.append(f"iteration / {PASSES} alone: {metrics['ratio_to_passes']:.3f}")
    if "memory_ratio" in metrics:
        lines.append(f"added memory / that of {REFERENCE}: {metrics['memory_ratio']:.3f}")
    return "\n".join(lines)
