"""Weights of a checkpoint into a model: all that is tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.backbones import find_state_dict
from mmreid_uda.utils import InputError

__all__ = ["COUNTERS", "fill_tested", "load_tested", "tested_state"]

COUNTERS = "num_batches_tracked"
"""End of the names of counters that old checkpoints lack and no feature depends on."""


def tested_state(model: BaseReID) -> dict[str, Tensor]:
    """The tensors that test features depend on: those of the encoders that are tested, by their names in the model."""
    encoders = {id(encoder) for encoder in model.tested_encoders()}
    prefixes = tuple(f"{name}." for name, part in model.named_modules() if id(part) in encoders)
    return {
        name: tensor for name, tensor in model.state_dict().items() if name.startswith(prefixes)
    }


def load_tested(model: BaseReID, checkpoint: str) -> None:
    """Load a checkpoint, which must hold all that is tested; classifiers and memories may be of other sizes.

    Args:
        model: What is filled, on any device.
        checkpoint: File, folder of a run (its last checkpoint), or URL; also one of ``tools/deploy/publish_model.py``.

    Raises:
        InputError: The checkpoint is missing, lacks tensors that are tested, or has them in other shapes.
    """
    raw = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu", logger="silent")
    fill_tested(model, raw, checkpoint)


def fill_tested(model: BaseReID, raw: Mapping[str, Any], checkpoint: str) -> None:
    """:func:`load_tested` of a checkpoint that has been read already.

    Args:
        model: What is filled, on any device.
        raw: The checkpoint's content.
        checkpoint: Its name, for the sentences.

    Raises:
        InputError: See :func:`load_tested`.
    """
    tensors = {
        name.removeprefix("module."): tensor for name, tensor in find_state_dict(raw).items()
    }
    # Old checkpoints have no counters of batches, and no feature depends on them.
    tested = {name for name in tested_state(model) if not name.endswith(COUNTERS)}
    own = model.state_dict()
    state = {
        name: tensor
        for name, tensor in tensors.items()
        if name in tested or name not in own or own[name].shape == tensor.shape
    }
    what = f"{type(model).__name__} with {type(model.tested_encoders()[0]).__name__}"
    remedy = (
        "give the checkpoint of this config, or the config that the checkpoint was trained with."
    )
    try:
        missing = set(model.load_state_dict(state, strict=False).missing_keys) & tested
    except RuntimeError as error:
        shapes = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        reason = (shapes or [str(error)])[0].rstrip(".")
        raise InputError(
            f"{checkpoint} holds {len(shapes)} tensors of other shapes than {what} ({reason}): {remedy}"
        ) from error
    if missing:
        raise InputError(
            f"{checkpoint} holds {len(tested) - len(missing)} of the {len(tested)} tensors of {what} that are tested, "
            f"{min(missing)} for one is missing: {remedy}"
        )
