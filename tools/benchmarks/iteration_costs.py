"""What an iteration of an algorithm costs beside the bare passes of its networks."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import cached_property, partial
from operator import truediv
from pathlib import Path
from typing import Any

import torch
from measuring import added_memory, take_turns
from mmengine.optim import build_optim_wrapper

from mmreid_uda.config import load_config
from mmreid_uda.models.algorithms import BaseReID, MeanTeacher
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import InputError, keep_freed_memory

__all__ = ["OURS", "PARTS", "REFERENCE", "Trial", "measure", "report", "time_sides"]

OURS, REFERENCE, PASSES = "iteration", "passes and optimiser", "passes"
# Single parts of an iteration, which take turns with it.
PARTS = ("preprocessing", "losses", "averages")


class Trial:
    """A model of a config with random weights, its optimiser, a batch of noise, and all sides.

    Args:
        config: Config file.
        options: Dotted keys -> values merged into it.
        device: ``cpu`` or ``cuda``; None takes a GPU if there is one.
        clusters: Number of classes of the head, which the batch is of. Defaults to 150.

    Raises:
        InputError: The config is of no algorithm of re-identification.
    """

    def __init__(
        self, config: str, options: dict[str, Any] | None, device: str | None, clusters: int = 150
    ) -> None:
        # The time does not depend on the weights: no first stage is needed.
        cfg = load_config(config, {**(options or {}), "stage1": None})
        self.model: Any = MODELS.build(cfg.model)
        if not isinstance(self.model, BaseReID) or "global_batch_size" not in cfg:
            raise InputError(
                f"found the model {type(self.model).__name__} in {config}, expected one of re-identification: give a "
                "config of configs/abmt, cluster_contrast, fat, ise, mmt, ptl or strong_baseline."
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model.to(self.device).train()
        self.optim: Any = build_optim_wrapper(self.model, cfg.optim_wrapper)
        generator = torch.Generator().manual_seed(0)
        networks, teachers = [self.model], []
        if isinstance(self.model, MeanTeacher):
            networks, teachers = self.model.students, [one.module for one in self.model.teachers]
        self.students = [network.encoder for network in networks]
        self.teachers = [network.encoder for network in teachers]
        size, views = cfg.global_batch_size, len(self.students)
        labeled = hasattr(self.model, "on_source")  # PTL and its kin learn from labels alone
        [(width, height)] = [step.scale for step in cfg.test_pipeline if step.type == "Resize"]
        shape = (size, *([views] if views > 1 else []), height, width, 3)
        self.batch: dict[str, Any] = dict(
            inputs=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            samples=dict(
                gt_label=torch.arange(size) // (cfg.num_instances or 1) % clusters,
                sample_idx=torch.arange(size),
                domain=torch.full((size,), int(not labeled)),
            ),
            num_source=size if labeled else 0,
        )
        data = self.model.data_preprocessor(self.batch)
        self.inputs, self.samples = data["inputs"], data["data_samples"]
        self.views = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        if labeled:
            self.model.on_source(clusters)
        else:
            labels = torch.arange(2 * clusters) % clusters
            encoder = self.students[0]
            width = encoder.feat_dim if self.model.feature == "pooled" else encoder.embed_dim
            features = torch.randn(2 * clusters, width, generator=generator)
            self.model.on_relabel(PseudoLabelState(0, labels, features.to(self.device)))
        self.step = 0

    # ---- sides

    def iteration(self) -> None:
        """An iteration as the Runner makes it."""
        self.model.train_step(self.batch, self.optim)
        self.averages()

    def averages(self) -> None:
        """The move of the teachers, if there are any."""
        if self.teachers:
            self.model.update_teachers(self.step)
            self.step += 1

    def passes(self) -> None:
        """Students forward and backward, teachers forward."""
        outputs = [student(view) for student, view in zip(self.students, self.views)]
        with torch.no_grad():
            for teacher, view in zip(self.teachers, self.views):
                teacher(view)
        torch.stack([output.embedding.square().mean() for output in outputs]).sum().backward()

    def passes_and_optimizer(self) -> None:
        """The passes, and a step of the optimiser."""
        self.passes()
        self.optim.step()
        self.optim.zero_grad()

    def preprocessing(self) -> None:
        """From the loader's uint8 to the networks' input."""
        self.model.data_preprocessor(self.batch, True)

    def losses(self) -> None:
        """What is computed from features: heads, losses, their backward pass, what memories learn."""
        features = list(self.features)
        self.model.encode = lambda *args: features.pop(0)
        try:
            losses = self.model(self.inputs, self.samples, mode="loss")
        finally:
            del self.model.encode
        self.model.parse_losses(losses)[0].backward()

    @cached_property
    def features(self) -> list[EncoderOutput]:
        """What the networks say of the batch, in the order in which an iteration asks them."""
        said = []
        with torch.no_grad():
            for network, view in zip([*self.students, *self.teachers], [*self.views, *self.views]):
                said.append(network(view))
        return [EncoderOutput(*(one.clone().requires_grad_() for one in pair)) for pair in said]

    def side(self, name: str) -> Callable[[], None]:
        """The work of a side or a part by its name."""
        return {
            OURS: self.iteration,
            REFERENCE: self.passes_and_optimizer,
            PASSES: self.passes,
            "preprocessing": self.preprocessing,
            "losses": self.losses,
            "averages": self.averages,
        }[name]

    def seconds(self, name: str) -> float:
        """Time of one turn of a side: of the processor, on a CPU, else of the clock."""
        work = self.side(name)
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        self._wait()
        started = clock()
        work()
        self._wait()
        seconds = clock() - started
        self.optim.zero_grad()
        return seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def first_turn(
    config: str, options: dict[str, Any] | None, clusters: int, side: str
) -> Callable[[], None]:
    """For :func:`added_memory`: everything loaded, nothing run."""
    keep_freed_memory()
    return Trial(config, options, "cpu", clusters).side(side)


def time_sides(trial: Trial, repetitions: int) -> dict[str, Any]:
    """Let all sides and parts take turns: median seconds of each, and ratios over the turns."""
    names = (OURS, REFERENCE, PASSES, *PARTS)
    for name in names:
        trial.seconds(name)
    turns = take_turns({name: partial(trial.seconds, name) for name in names}, repetitions)
    ratios = sorted(map(truediv, turns[OURS], turns[REFERENCE]))
    return dict(
        seconds={name: statistics.median(seconds) for name, seconds in turns.items()},
        ratio=statistics.median(ratios),
        ratio_quartiles=[ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        ratio_to_passes=statistics.median(map(truediv, turns[OURS], turns[PASSES])),
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Config -> seconds and ratios of the sides; on a CPU, with ``--memory``, the bytes that they add."""
    keep_freed_memory()  # as the Runner does where there is no GPU
    return {config: _measure_one(config, args) for config in args.configs}


def _measure_one(config: str, args: argparse.Namespace) -> dict[str, Any]:
    trial = Trial(config, args.cfg_options, args.device, args.clusters)
    metrics = time_sides(trial, args.repetitions)
    metrics["images"] = list(trial.batch["inputs"].shape)
    if args.memory and trial.device.type == "cpu":
        added = {
            name: added_memory(first_turn, config, args.cfg_options, args.clusters, name)
            for name in (OURS, REFERENCE)
        }
        metrics["added_bytes"] = added
        if added[OURS] and added[REFERENCE]:
            metrics["memory_ratio"] = added[OURS] / added[REFERENCE]
    return metrics


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out, a line for each config."""
    names = [OURS, REFERENCE, *PARTS]
    lines = [
        f"{'milliseconds':32}" + "".join(f"{name:>22}" for name in names) + "   ratio (quartiles)"
    ]
    for config, one in metrics.items():
        cells = "".join(f"{1e3 * one['seconds'][name]:22.1f}" for name in names)
        low, high = one["ratio_quartiles"]
        lines.append(
            f"{Path(config).stem:32}{cells}   {one['ratio']:.3f} ({low:.3f} to {high:.3f})"
        )
        if "memory_ratio" in one:
            lines.append(f"{'':32}added memory / that of {REFERENCE}: {one['memory_ratio']:.3f}")
    lines.append(f"ratio: {OURS} / {REFERENCE}, median over pairs of turns")
    return "\n".join(lines)
