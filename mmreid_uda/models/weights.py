"""Weights of a checkpoint into a module: those that fit, all of them, or all that is tested."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmreid_uda.checkpoint import convert_official, find_state_dict
from mmreid_uda.utils import InputError

from .layers import resizing_names

if TYPE_CHECKING:
    from .algorithms import BaseReID

__all__ = [
    "COUNTERS",
    "LoadReport",
    "PretrainedModule",
    "load_complete",
    "load_pretrained",
    "load_tested",
    "tested_state",
]

COUNTERS = "num_batches_tracked"
"""End of the names of counters that old checkpoints lack and no feature depends on."""

# Classifiers of the public ImageNet and OpenMMLab checkpoints: left out without a warning.
_CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.")


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


class _Misfits(NamedTuple):
    """Names by what is wrong with them, when a module meets tensors of its names."""

    missing: list[str]
    foreign: list[str]
    reshaped: list[str]


def _compare(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], resizing: Collection[str] = ()
) -> _Misfits:
    """What a module has and a checkpoint lacks (counters aside), the other way round, and what has another shape.

    Args:
        own: State dict of the module.
        state: Of the checkpoint, in the module's names.
        resizing: Names whose shape may differ.
    """
    return _Misfits(
        missing=[name for name in own if name not in state and not name.endswith(COUNTERS)],
        foreign=[name for name in state if name not in own],
        reshaped=[
            name
            for name, tensor in own.items()
            if name in state and tensor.shape != state[name].shape and name not in resizing
        ],
    )


def _read(checkpoint: str, raw: Mapping[str, Any] | None, logger: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint, read unless that has been done, without the prefix of a wrapped model."""
    if raw is None:
        raw = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu", logger=logger)
    return {name.removeprefix("module."): value for name, value in find_state_dict(raw).items()}


def best_prefixes(names: Iterable[str], wanted: set[str]) -> list[str]:
    """Prefixes under which the most of the ``wanted`` names occur among ``names``; several if they tie, [] if none.

    Args:
        names: Of the checkpoint.
        wanted: Of the module.

    Returns:
        Prefixes that end with a dot, or ``''``.
    """
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

    Args:
        wanted: Names of the module.
        available: Tensors of the checkpoint, in the module's words.

    Returns:
        Name of the module -> name of the checkpoint; what has no source is left out.
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
    :func:`~mmreid_uda.checkpoint.convert_official`.

    Args:
        module: Backbone or encoder.
        checkpoint: Anything mmengine's ``CheckpointLoader`` knows: a local path, ``https://``, ``torchvision://``,
            ``openmmlab://``, or this package's ``bundled://`` and ``rendered://``.
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
    tensors = convert_official(find_state_dict(raw))
    prefix = _choose_prefix(tensors, module, prefix, checkpoint)
    available = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    own = module.state_dict()
    sources = find_sources(own, available)
    state = {name: available[key] for name, key in sources.items()}
    misfits = _compare(own, state, resizing_names(module))
    if misfits.reshaped:
        name = misfits.reshaped[0]
        raise InputError(
            f"{checkpoint} holds {sources[name]} with shape {tuple(state[name].shape)}, {type(module).__name__} "
            f"expects {tuple(own[name].shape)}: choose the checkpoint of this architecture, depth and width."
        )
    if len(sources) * 2 < len(own):
        raise InputError(
            f"{checkpoint} fills only {len(sources)} of the {len(own)} tensors of {type(module).__name__}: "
            "choose the checkpoint of this architecture in init_cfg.checkpoint, or another init_cfg.prefix."
        )
    module.load_state_dict(state, strict=False)
    used = set(sources.values())
    report = LoadReport(
        loaded=len(sources),
        missing=misfits.missing,
        unexpected=[k for k in available if k not in used and not k.startswith(_CLASSIFIERS)],
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


def load_complete(
    module: nn.Module, checkpoint: str, hint: str, raw: Mapping[str, Any] | None = None
) -> None:
    """Fill every tensor of a module from a checkpoint of the very same network.

    Two things may differ: the size of what is a matter of the run (memories, latent states, rows of classifiers), and
    counters of batches, which old checkpoints lack and nothing depends on.

    Args:
        module: What is filled.
        checkpoint: As for :func:`load_pretrained`.
        hint: The end of the error's sentence: what to do if the checkpoint is of another network.
        raw: The checkpoint's content, if it has been read already. Defaults to None.

    Raises:
        InputError: The checkpoint lacks tensors, has others, or has them in other shapes; nothing is loaded then.
    """
    state, own = _read(checkpoint, raw, "current"), module.state_dict()
    missing, foreign, reshaped = _compare(own, state, resizing_names(module))
    # Version 0.1 counted the rows of its classifiers that took part in a tensor of this name.
    foreign = [name for name in foreign if not name.endswith(".active")]
    if misfits := [*missing, *reshaped, *foreign]:
        raise InputError(
            f"{len(misfits)} tensors of {checkpoint} do not fit the {len(own)} of {type(module).__name__} "
            f"({len(missing)} are missing, {len(reshaped)} have another shape, {len(foreign)} are foreign; "
            f"{min(misfits)} for one): {hint}"
        )
    module.load_state_dict(state, strict=False)


def tested_state(model: BaseReID) -> dict[str, Tensor]:
    """The tensors that test features depend on: those of the encoders that are tested, by their names in the model.

    Args:
        model: The algorithm.

    Returns:
        Name in the model's state dict -> tensor, not copied.
    """
    encoders = {id(encoder) for encoder in model.tested_encoders()}
    prefixes = tuple(f"{name}." for name, part in model.named_modules() if id(part) in encoders)
    return {
        name: tensor for name, tensor in model.state_dict().items() if name.startswith(prefixes)
    }


def load_tested(model: BaseReID, checkpoint: str, raw: Mapping[str, Any] | None = None) -> None:
    """Load a checkpoint, which must hold all that is tested; classifiers and memories may be of other sizes.

    Args:
        model: What is filled, on any device.
        checkpoint: File, folder of a run (its last checkpoint), or URL; also one of ``tools/deploy/publish_model.py``.
        raw: The checkpoint's content, if it has been read already. Defaults to None.

    Raises:
        InputError: The checkpoint is missing, lacks tensors that are tested, or has them in other shapes.
    """
    own, state = model.state_dict(), _read(checkpoint, raw, "silent")
    tested = {name for name in tested_state(model) if not name.endswith(COUNTERS)}
    other_sizes = set(_compare(own, state).reshaped) - tested
    what = f"{type(model).__name__} with {type(model.tested_encoders()[0]).__name__}"
    hint = "give the checkpoint of this config, or the config that the checkpoint was trained with."
    try:
        # A mean teacher takes the weights of a plain model by other names: what is missing is known afterwards.
        found = model.load_state_dict(
            {name: tensor for name, tensor in state.items() if name not in other_sizes},
            strict=False,
        )
    except RuntimeError as error:
        shapes = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        reason = (shapes or [str(error)])[0].rstrip(".")
        raise InputError(
            f"{checkpoint} holds {len(shapes)} tensors of other shapes than {what} ({reason}): {hint}"
        ) from error
    if missing := set(found.missing_keys) & tested:
        raise InputError(
            f"{checkpoint} holds {len(tested) - len(missing)} of the {len(tested)} tensors of {what} that are tested, "
            f"{min(missing)} for one is missing: {hint}"
        )


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
