"""What a run goes on from: its last checkpoint, whether that is whole, and whether it belongs to this run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.runner import Runner

from mmreid_uda.checkpoint import (
    epoch_checkpoints,
    find_checkpoint,
    load_from_local,
    noted_checkpoint,
)
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import read_results

__all__ = [
    "after_divergence",
    "checkpoint_to_resume",
    "finished_note",
    "other_settings",
    "read_resumable",
    "require_seed",
    "settings_of",
]

# Settings that do not change what is trained.
_INDIFFERENT = (
    "work_dir",
    "resume",
    "load_from",
    "launcher",
    "log_level",
    "log_processor",
    "visualizer",
    "vis_backends",
    "env_cfg",
    "model_wrapper_cfg",
    "val_",
    "test_",
)
# Settings of what a checkpoint holds the state of.
_RESTORED = ("optim_wrapper.optimizer.", "param_scheduler")


def checkpoint_to_resume(work_dir: str | Path, given: str | None = None) -> Path | None:
    """Find the checkpoint that a run goes on from.

    Args:
        work_dir: Of the run.
        given: A checkpoint, or the folder of a run; None takes the last checkpoint of the work dir.

    Returns:
        The file; None if the work dir holds nothing to go on from.

    Raises:
        InputError: The file that was given, or that the work dir's note names, does not exist; the sentence names the
            newest whole one that does.
    """
    if given:
        return find_checkpoint(given)
    run = Path(work_dir)
    noted = noted_checkpoint(run)
    if noted is None:
        # Stopped between its first checkpoint and the note: what is there is whole.
        return next(iter(epoch_checkpoints(run)), None)
    if not noted.is_file():
        raise InputError(
            f"the last checkpoint of '{run}' is {noted.name}, which is gone; {_newest_whole(run, noted)}."
        )
    return noted


def read_resumable(path: Path, seed: int | None = None) -> dict[str, Any]:
    """Read a checkpoint and see that a run can go on from it.

    Args:
        path: The file, which exists.
        seed: Of the run; None if it has none of its own.

    Returns:
        The checkpoint, on the CPU.

    Raises:
        InputError: It cannot be read (the sentence names the newest whole one beside it), holds weights alone, or is of
            another seed.
    """
    try:
        checkpoint = load_from_local(str(path), "cpu")
    except InputError as error:
        raise InputError(
            f"{str(error).rstrip('.')}; {_newest_whole(path.parent, path)}."
        ) from error
    _require_state(checkpoint, path)
    require_seed(path, checkpoint["meta"], seed)
    return checkpoint


def require_seed(name: str | Path, meta: dict[str, Any], seed: int | None) -> None:
    """Refuse to go on with another seed: batches would be drawn with one, clusters with the other.

    Args:
        name: The checkpoint, for the sentence.
        meta: Its ``meta``.
        seed: The run's; None, or none in ``meta``, is not compared.

    Raises:
        InputError: The seeds of the checkpoint and of the run differ.
    """
    trained = meta.get("seed")
    if trained is not None and seed is not None and trained != seed:
        raise InputError(
            f"{name} was trained with seed {trained}, found seed {seed}: go on with --seed {trained}, or start anew in "
            "another work dir."
        )


def _require_state(checkpoint: dict[str, Any], path: Path) -> None:
    meta = checkpoint.get("meta")
    lacking = [key for key in ("state_dict", "optimizer", "message_hub") if key not in checkpoint]
    if not isinstance(meta, dict) or not all(
        isinstance(meta.get(key), int) for key in ("epoch", "iter")
    ):
        lacking.append("meta (epoch, iter)")
    if lacking:
        raise InputError(
            f"{path} lacks {', '.join(lacking)}, so that no run can go on from it: give --resume an epoch_<n>.pth, or "
            "begin at epoch 1 with its weights, --cfg-options load_from=... without --resume."
        )


def _newest_whole(run: Path, broken: Path) -> str:
    """Half a sentence: how to go on from the newest whole checkpoint of a run beside the broken one."""
    for path in epoch_checkpoints(run):
        if path == broken:
            continue
        try:
            _require_state(load_from_local(str(path), "cpu"), path)
        except InputError:
            continue
        return f"the newest whole one there is {path.name}: go on with --resume {path}"
    return "there is no other one to go on from: start anew without --resume, in another work dir"


def after_divergence(runner: Runner) -> str:
    """The end of a sentence about a training that has diverged: where the last good weights lie, what to change.

    Args:
        runner: Of the training, whose work dir is searched.

    Returns:
        The end of a sentence.
    """
    last = next(
        (one for one in (noted_checkpoint(Path(runner.work_dir)),) if one and one.is_file()), None
    )
    change = "lower optim_wrapper.optimizer.lr or train without --amp"
    if last is None:
        return f"no checkpoint was written before; {change}."
    return (
        f"the last good checkpoint is {last} (--resume goes on from it, but would repeat these steps): {change}, and "
        f"begin from its weights with --cfg-options load_from={last}."
    )


def finished_note(cfg: Config, path: Path, checkpoint: dict[str, Any]) -> str | None:
    """What is said of a run that has nothing left to train and to evaluate.

    Args:
        cfg: The config of the run.
        path: Its last checkpoint.
        checkpoint: The content.

    Returns:
        A sentence; None if something is left.
    """
    epochs, planned = checkpoint["meta"]["epoch"], cfg.get("train_cfg", {}).get("max_epochs")
    if planned is None or epochs < planned:
        return None
    results = Path(cfg.work_dir, "results.json")
    if cfg.get("val_cfg") is not None and cfg.get("default_hooks", {}).get("report") is not None:
        evaluated = max(read_results(results), default=-1) if results.is_file() else -1
        if evaluated < planned:
            return None
    return (
        f"nothing is left to train: {path} is of epoch {epochs}, and train_cfg.max_epochs is {planned}; set it higher "
        "to go on, or choose another work dir to start anew."
    )


def settings_of(cfg: Config) -> dict[str, str]:
    """All settings of a config that bear upon the training, flat.

    Args:
        cfg: Of the run.

    Returns:
        Dotted key -> value as JSON: ``'train_cfg.max_epochs'`` -> ``'50'``.
    """
    return {
        key: json.dumps(value, default=str)
        for key, value in _leaves("", cfg._cfg_dict.to_dict())
        if not key.startswith(_INDIFFERENT) and not key.endswith("num_workers")
    }


def _leaves(where: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Dotted names and values of what is no dict or list of dicts."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(f"{where}.{key}" if where else str(key), value)
    elif isinstance(node, (list, tuple)) and any(isinstance(one, dict) for one in node):
        for number, value in enumerate(node):
            yield from _leaves(f"{where}.{number}", value)
    else:
        yield where, node


def other_settings(runner: Runner, meta: dict[str, Any]) -> list[str]:
    """What is different from the run that wrote a checkpoint: settings, number of processes.

    Args:
        runner: The run of now.
        meta: The checkpoint's ``meta``.

    Returns:
        A line for each difference.
    """
    lines = []
    now = settings_of(runner.cfg)
    before: dict[str, str] = meta.get("settings") or now
    for key in sorted({*before, *now}):
        old, new = before.get(key, "not set"), now.get(key, "not set")
        if old != new:
            effect = (
                " (no effect: the checkpoint's is restored)" if key.startswith(_RESTORED) else ""
            )
            lines.append(f"{key}: {old} -> {new}{effect}")
    processes = meta.get("world_size", get_world_size())
    if processes != get_world_size():
        lines.append(f"processes: {processes} -> {get_world_size()}")
    return lines
