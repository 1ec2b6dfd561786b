"""Loading of pre-trained weights that says what it loaded, whatever prefix the checkpoint uses."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmreid_uda.models.layers import resizing_names
from mmreid_uda.utils import InputError

from .released_names import rename_released

__all__ = [
    "LoadReport",
    "PretrainedModule",
    "fill_complete",
    "find_state_dict",
    "load_complete",
    "load_pretrained",
]

# Classifiers of the public ImageNet and OpenMMLab checkpoints: left out without a warning.
_CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.")
_COUNTERS = "num_batches_tracked"


class LoadReport(NamedTuple):
    """What :func:`load_pretrained` did."""

    loaded: int
    """Number of the module's tensors that were filled."""
    missing: list[str]
    """Tensors of the module that the checkpoint does not hold."""
    unexpected: list[str]
    """Tensors of the checkpoint, under the same prefix, that the module does not have; classifiers not counted."""
    prefix: str
    """Prefix that was stripped from the checkpoint's names, ``''`` if none."""


def find_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Get the tensors out of a checkpoint of mmengine, of plain PyTorch, or of a ``dict(model=...)``."""
    for key in ("state_dict", "model"):
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    return {
        name: value
        for name, value in checkpoint.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def best_prefixes(names: Iterable[str], wanted: set[str]) -> list[str]:
    """Prefixes under which the most of the ``wanted`` names occur among ``names``; several if they tie, [] if none."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in wanted:
                counts["".join(f"{part}." for part in parts[:cut])] += 1
    best = max(counts.values(), default=0)
    return [prefix for prefix, count in counts.items() if count == best]


def find_sources(wanted: Iterable[str], available: Mapping[str, Tensor]) -> dict[str, str]:
    """Which tensor of a checkpoint fills which of the module: the one of the same name.

    For a :class:`~mmreid_uda.models.layers.DomainBN`, whose tensors are ``bn1.source.weight`` and
    ``bn1.target.weight``, a plain ``bn1.weight`` fills both.
    """
    sources = {}
    for name in wanted:
        plain = re.sub(r"\.(source|target)(\.\w+)$", r"\2", name)
        if name in available or plain in available:
            sources[name] = name if name in available else plain
    return sources


def _choose_prefix(names: Iterable[str], module: nn.Module, prefix: str | None, source: str) -> str:
    if prefix is not None:
        return prefix if not prefix or prefix.endswith(".") else f"{prefix}."
    candidates = best_prefixes(names, set(module.state_dict()))
    if not candidates:
        raise InputError(
            f"{source} holds none of the {len(module.state_dict())} tensors of {type(module).__name__}: "
            "choose the checkpoint of this architecture in init_cfg.checkpoint."
        )
    if len(candidates) > 1:
        raise InputError(
            f"{source} holds {len(candidates)} sets of weights that fit {type(module).__name__} equally well, under "
            f"{', '.join(repr(c) for c in candidates[:4])}: choose one with init_cfg.prefix."
        )
    return candidates[0]


def load_pretrained(
    module: nn.Module, checkpoint: str, prefix: str | None = None, map_location: Any = "cpu"
) -> LoadReport:
    """Fill a module from a checkpoint and log how many tensors were loaded, missing and unexpected.

    Checkpoints that the authors of MMT, ABMT, SpCL, Cluster-Contrast and ISE released are known by their names, see
    :func:`~mmreid_uda.models.backbones.rename_released`.

    Args:
        module: Backbone or encoder.
        checkpoint: Anything mmengine's ``CheckpointLoader`` knows: a local path, ``https://``, ``torchvision://``,
            ``openmmlab://``, or this package's ``bundled://``.
        prefix: Which part of the checkpoint to take, such as ``'backbone.'``. Defaults to None: the prefix under which
            the most names of ``module`` are found (``'module.'``, ``'backbone.'``, ``'encoder.'``, ...).
        map_location: See ``torch.load``. Defaults to ``'cpu'``.

    Returns:
        The report.

    Raises:
        InputError: No name fits, several prefixes fit equally well, more than half of the module's tensors are
            missing, or a shape differs (another depth or width).
    """
    raw = CheckpointLoader.load_checkpoint(checkpoint, map_location=map_location, logger="current")
    tensors = rename_released(find_state_dict(raw))
    prefix = _choose_prefix(tensors, module, prefix, checkpoint)
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    own = module.state_dict()
    sources = find_sources(own, state)
    resizing = resizing_names(module)
    for name, key in sources.items():
        if own[name].shape != state[key].shape and name not in resizing:
            raise InputError(
                f"{checkpoint} holds {key} with shape {tuple(state[key].shape)}, {type(module).__name__} expects "
                f"{tuple(own[name].shape)}: choose the checkpoint of this architecture, depth and width."
            )
    if len(sources) * 2 < len(own):
        raise InputError(
            f"{checkpoint} fills only {len(sources)} of the {len(own)} tensors of {type(module).__name__}: "
            "choose the checkpoint of this architecture in init_cfg.checkpoint, or another init_cfg.prefix."
        )
    module.load_state_dict({name: state[key] for name, key in sources.items()}, strict=False)
    used = set(sources.values())
    report = LoadReport(
        loaded=len(sources),
        missing=[k for k in own if k not in sources and not k.endswith(_COUNTERS)],
        unexpected=[k for k in state if k not in used and not k.startswith(_CLASSIFIERS)],
        prefix=prefix,
    )
    _log(report, module, checkpoint, len(own))
    return report


def _log(report: LoadReport, module: nn.Module, checkpoint: str, total: int) -> None:
    text = (
        f"{type(module).__name__}: loaded {report.loaded} of {total} tensors from {checkpoint} "
        f"(prefix {report.prefix!r}), {len(report.missing)} missing, {len(report.unexpected)} unexpected"
    )
    for title, names in (("missing", report.missing), ("unexpected", report.unexpected)):
        if names:
            text += f"; {title}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
    level = logging.WARNING if report.missing or report.unexpected else logging.INFO
    print_log(text, logger="current", level=level)


def load_complete(module: nn.Module, checkpoint: str, remedy: str) -> None:
    """Fill every tensor of a module from a checkpoint of the very same network.

    Two things may differ: the size of what is a matter of the run (memories, latent states, rows of classifiers), and
    counters of batches, which old checkpoints lack and nothing depends on.

    Args:
        module: What is filled.
        checkpoint: As for :func:`load_pretrained`.
        remedy: The end of the error's sentence: what to do if the checkpoint is of another network.

    Raises:
        InputError: The checkpoint lacks tensors, has others, or has them in other shapes; nothing is loaded then.
    """
    raw = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu", logger="current")
    fill_complete(module, raw, checkpoint, remedy)


def fill_complete(module: nn.Module, raw: Mapping[str, Any], checkpoint: str, remedy: str) -> None:
    """:func:`load_complete` of a checkpoint that has been read already.

    Args:
        module: What is filled.
        raw: The checkpoint's content.
        checkpoint: Its name, for the sentence.
        remedy: The end of the sentence.

    Raises:
        InputError: See :func:`load_complete`.
    """
    state = {name.removeprefix("module."): value for name, value in find_state_dict(raw).items()}
    own, resizing = module.state_dict(), resizing_names(module)
    missing = {name for name in own.keys() - state.keys() if not name.endswith(_COUNTERS)}
    # Version 0.1 counted the rows of its classifiers that took part in a tensor of this name.
    foreign = {name for name in state.keys() - own.keys() if not name.endswith(".active")}
    reshaped = {
        name
        for name in own.keys() & state.keys() - resizing
        if own[name].shape != state[name].shape
    }
    misfits = missing | foreign | reshaped
    if misfits:
        raise InputError(
            f"{len(misfits)} tensors of {checkpoint} do not fit the {len(own)} of {type(module).__name__} "
            f"({len(missing)} are missing, {len(reshaped)} have another shape, {len(foreign)} are foreign; "
            f"{min(misfits)} for one): {remedy}"
        )
    module.load_state_dict(state, strict=False)


class PretrainedModule(BaseModule):
    """A ``BaseModule`` whose ``init_cfg=dict(type='Pretrained', ...)`` goes through :func:`load_pretrained`.

    Other kinds of ``init_cfg`` are left to mmengine.

    Example:
        >>> backbone = dict(type='ResNet', depth=50,
        ...                 init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
    """

    init_cfg: Any

    def init_weights(self) -> None:
        """Initialise the module and its children, then load the pre-trained weights."""
        if self.is_init:
            return
        init_cfg = self.init_cfg
        cfgs = [init_cfg] if isinstance(init_cfg, dict) else list(init_cfg or [])
        self.init_cfg = [cfg for cfg in cfgs if cfg["type"] != "Pretrained"]
        super().init_weights()
        self.init_cfg = init_cfg
        for cfg in cfgs:
            if cfg["type"] == "Pretrained":
                load_pretrained(self, **{k: v for k, v in cfg.items() if k != "type"})
