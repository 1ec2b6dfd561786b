"""Weights of a checkpoint into a module: those that fit, all of them, or all that is tested."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmreid_uda.checkpoint import (
    HEADS,
    LAYOUTS,
    Interpolation,
    LayoutName,
    convert_layout,
    find_state_dict,
    position_tables,
    resize_positions,
)
from mmreid_uda.registry import WEIGHT_INITIALIZERS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, checked

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
    resized: list[str]
    """Tensors of the module that were read at another grid: tables of positions."""
    layout: str
    """The way in which the checkpoint names its tensors, see :data:`~mmreid_uda.checkpoint.LAYOUTS`."""


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


def _open(checkpoint: str, map_location: Any, logger: str) -> Mapping[str, Any]:
    """A checkpoint by path or address; the loaders of this package know some that mmengine's do not."""
    from mmreid_uda.compat import install

    install()
    return CheckpointLoader.load_checkpoint(checkpoint, map_location=map_location, logger=logger)


def _read(checkpoint: str, raw: Mapping[str, Any] | None, logger: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint, read unless that has been done, without the prefix of a wrapped model."""
    if raw is None:
        raw = _open(checkpoint, "cpu", logger)
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


def find_sources(wanted: Mapping[str, str], available: Mapping[str, Tensor]) -> dict[str, str]:
    """Which tensor of a checkpoint fills which of the module: the one of the same name.

    For a :class:`~mmreid_uda.models.layers.DomainBN`, whose tensors are ``bn1.source.weight`` and
    ``bn1.target.weight``, a plain ``bn1.weight`` fills both.

    Args:
        wanted: Names of the module -> these names as a checkpoint may have them.
        available: Tensors of the checkpoint, in the module's words.

    Returns:
        Name of the module -> name of the checkpoint; what has no source is left out.
    """
    sources = {}
    for name, known in wanted.items():
        shared = re.sub(r"\.(source|target)(\.\w+)$", r"\2", known)
        if known in available or shared in available:
            sources[name] = known if known in available else shared
    return sources


def _choose_prefix(names: Iterable[str], wanted: set[str], kind: str, source: str) -> str:
    candidates = best_prefixes(names, wanted)
    if not candidates:
        raise InputError(
            f"{source} holds none of the {len(wanted)} tensors of {kind}: choose the checkpoint of this architecture "
            "in init_cfg.checkpoint."
        )
    if len(candidates) > 1:
        raise InputError(
            f"{source} holds {len(candidates)} sets of weights that fit {kind} equally well, under "
            f"{', '.join(repr(c) for c in candidates[:4])}: choose one with init_cfg.prefix."
        )
    return candidates[0]


@WEIGHT_INITIALIZERS.register_module(name="Pretrained")
@checked
def load_pretrained(
    module: nn.Module,
    checkpoint: str | Path,
    prefix: str | None = None,
    map_location: Any = "cpu",
    layout: LayoutName = "auto",
    grid: tuple[Count, Count] | None = None,
    interpolation: Interpolation = "bilinear",
) -> LoadReport:
    """Fill a module from a checkpoint and log what was loaded, resized, missing and unexpected.

    Checkpoints that the authors of MMT, ABMT, SpCL, Cluster-Contrast and ISE released are known by their names, see
    :func:`~mmreid_uda.checkpoint.convert_official`; those of transformers, see
    :data:`~mmreid_uda.checkpoint.LAYOUTS`. Of these the whole backbone must be there, but for what the module calls
    :attr:`PretrainedModule.fresh`.

    Args:
        module: Backbone or encoder.
        checkpoint: Anything mmengine's ``CheckpointLoader`` knows: a local path, ``https://``, ``torchvision://``,
            ``openmmlab://``, or this package's ``bundled://`` and ``rendered://``.
        prefix: Which part of the checkpoint to take, such as ``'students.0.'``. Defaults to None: all, or the part in
            which the most names of ``module`` are found (``'module.'``, ``'backbone.'``, ``'encoder.'``, ...).
        map_location: See ``torch.load``. Defaults to ``'cpu'``.
        layout: How the checkpoint names its tensors. Defaults to ``'auto'``: what its names tell.
        grid: Rows and columns of the checkpoint's table of positions. Defaults to None: see
            :func:`~mmreid_uda.checkpoint.infer_grid`.
        interpolation: How that table is read at the module's grid. Defaults to ``'bilinear'``.

    Returns:
        The report.

    Raises:
        InputError: No name fits, several prefixes fit equally well, too many of the module's tensors are missing, or a
            shape differs (another depth, width or patch size).
    """
    checkpoint = str(checkpoint)
    raw = _open(checkpoint, map_location, "current")
    tensors = find_state_dict(raw)
    if prefix:
        prefix = f"{prefix.removesuffix('.')}."
        tensors = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    known, tensors = convert_layout(tensors, layout)
    own, kind = module.state_dict(), type(module).__name__
    levels = {part.wrapped for part in module.modules() if isinstance(part, PretrainedModule)}
    plain = {name: _without(name, levels) for name in own}
    tensors = {_without(name, levels): tensor for name, tensor in tensors.items()}
    origin = checkpoint if known == "plain" else f"{checkpoint}, read as {LAYOUTS[known].network},"
    found = _choose_prefix(tensors, set(plain.values()), kind, origin)
    available = {k.removeprefix(found): v for k, v in tensors.items() if k.startswith(found)}
    sources = find_sources(plain, available)
    state = {name: available[key] for name, key in sources.items()}
    resized = _resize_tables(position_tables(module), own, state, grid, interpolation)
    misfits = _compare(own, state, resizing_names(module))
    if misfits.reshaped:
        name = misfits.reshaped[0]
        raise InputError(
            f"{origin} holds {sources[name]} with shape {tuple(state[name].shape)}, {kind} expects "
            f"{tuple(own[name].shape)}{_difference(own, state)}: choose the checkpoint of this architecture, depth and "
            "width."
        )
    if known != "plain" and (lacking := _lacking(module, misfits.missing, found, plain)):
        raise InputError(
            f"{origin} lacks {len(lacking)} of the {len(own)} tensors of {kind}, {lacking[0]} for one: choose the "
            "checkpoint of this architecture in init_cfg.checkpoint, or the network of this checkpoint."
        )
    if len(sources) * 2 < len(own):
        raise InputError(
            f"{origin} fills only {len(sources)} of the {len(own)} tensors of {kind}: "
            "choose the checkpoint of this architecture in init_cfg.checkpoint, or another init_cfg.prefix."
        )
    module.load_state_dict(state, strict=False)
    used = set(sources.values())
    report = LoadReport(
        loaded=len(sources),
        missing=misfits.missing,
        unexpected=[k for k, v in available.items() if k not in used and not _is_spare(k, v)],
        prefix=f"{prefix or ''}{found}",
        resized=resized,
        layout=known,
    )
    _log(report, module, checkpoint, len(own))
    return report


def _without(name: str, levels: Collection[str]) -> str:
    """A tensor's name without the levels at which modules hold models of other packages."""
    return ".".join(word for word in name.split(".") if word not in levels)


def _is_spare(name: str, tensor: Tensor) -> bool:
    """Whether a tensor that a module does not have is not worth a word: of classifiers, or a bias that adds nothing."""
    return bool(HEADS.search(name)) or (name.endswith("bias") and not tensor.any())


def _lacking(
    module: nn.Module, missing: list[str], prefix: str, plain: Mapping[str, str]
) -> list[str]:
    """What is missing of a backbone that a checkpoint must hold whole, but for what its module may begin anew."""
    fresh = tuple(
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        if isinstance(part, PretrainedModule)
        for name in part.fresh
    )
    return [
        name
        for name in missing
        if f"{prefix}{plain[name]}".startswith("backbone.") and not name.startswith(fresh)
    ]


def _resize_tables(
    tables: Mapping[str, tuple[tuple[int, int], int]],
    own: Mapping[str, Tensor],
    state: dict[str, Tensor],
    grid: tuple[int, int] | None,
    interpolation: Interpolation,
) -> list[str]:
    """Bring the tables of positions in ``state`` to the grids of the module, in place.

    Args:
        tables: See :func:`~mmreid_uda.checkpoint.position_tables`.
        own: State dict of the module.
        state: Of the checkpoint, in the module's names.
        grid: As for :func:`load_pretrained`.
        interpolation: As there.

    Returns:
        Names of those that changed.
    """
    resized = []
    for name, (own_grid, prefix) in tables.items():
        table = state.get(name)
        if table is None or table.dim() != 3 or table.shape[-1] != own[name].shape[-1]:
            continue
        if table.shape != own[name].shape or (grid is not None and tuple(grid) != own_grid):
            state[name] = resize_positions(table, own_grid, prefix, grid, interpolation)
            resized.append(name)
    return resized


def _difference(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What two transformers of different shapes differ in, for a sentence; empty if that cannot be told."""
    differing = {
        "width": r"(?:^|\.)(?:cls_token|patch_embed\.proj\.bias)$",
        "patch size": r"(?:^|\.)patch_embed\.proj\.weight$",
    }
    said = []
    for what, pattern in differing.items():
        for name in (one for one in state if re.search(pattern, one)):
            pair = [tuple(one[name].shape) for one in (state, own)]
            old, new = [one[2:] if what == "patch size" else one[-1:] for one in pair]
            text = f"{what} {'×'.join(map(str, old))}, not {'×'.join(map(str, new))}"
            if old != new and text not in said:
                said.append(text)
    return f" ({'; '.join(said)})" if said else ""


def _log(report: LoadReport, module: nn.Module, checkpoint: str, total: int) -> None:
    text = (
        f"{type(module).__name__}: loaded {report.loaded} of {total} tensors from {checkpoint} "
        f"(layout {report.layout}, prefix {report.prefix!r}), {len(report.resized)} resized, "
        f"{len(report.missing)} missing, {len(report.unexpected)} unexpected"
    )
    for title in ("resized", "missing", "unexpected"):
        if names := getattr(report, title):
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

    Attributes:
        wrapped (str): Name of the part that is a model of another package, such as ``'net'``, or empty. It is left out
            of names when they are matched with a checkpoint's: ``backbone.net.norm`` is ``backbone.norm`` in both.
        fresh (tuple[str, ...]): Beginnings of the names, in this module's state dict, of what released checkpoints do
            not hold, such as the embedding of one's own cameras; it may be missing.

    Example:
        >>> backbone = dict(type='ResNet', depth=50,
        ...                 init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
    """

    init_cfg: Any
    wrapped: ClassVar[str] = ""
    fresh: ClassVar[tuple[str, ...]] = ()

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
