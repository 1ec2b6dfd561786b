"""Weights of a checkpoint into a module: those that fit, all of them, or all that is tested."""

from __future__ import annotations

import logging
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
)
from mmreid_uda.registry import WEIGHT_INITIALIZERS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, checked

from .layers import resizing_names
from .matching import (
    COUNTERS,
    choose_prefix,
    compare,
    find_sources,
    resize_tables,
    shape_difference,
)

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
    _require_marker(known, plain.values(), f"{origin} has", kind)
    found = choose_prefix(tensors, set(plain.values()), kind, origin)
    available = {k.removeprefix(found): v for k, v in tensors.items() if k.startswith(found)}
    sources = find_sources(plain, available)
    state = {name: available[key] for name, key in sources.items()}
    missing = compare(own, state).missing
    if known != "plain" and (lacking := _lacking(module, missing, found, plain)):
        raise InputError(
            f"{origin} lacks {len(lacking)} of the {len(own)} tensors of {kind}, {lacking[0]} for one: choose the "
            "checkpoint of this architecture in init_cfg.checkpoint, or the network of this checkpoint."
        )
    resized = resize_tables(position_tables(module), own, state, grid, interpolation)
    if reshaped := compare(own, state, resizing_names(module)).reshaped:
        name = reshaped[0]
        raise InputError(
            f"{origin} holds {sources[name]} with shape {tuple(state[name].shape)}, {kind} expects "
            f"{tuple(own[name].shape)}{shape_difference(own, state)}: choose the checkpoint of this architecture, "
            "depth and width."
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
        missing=missing,
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


def _require_marker(layout: str, names: Iterable[str], has: str, kind: str) -> None:
    """Refuse a layout whose marker, a part of the network such as a stem or a token, the module has not."""
    one = LAYOUTS.get(layout)
    if one and one.rename is None and not any(name.endswith(one.marker) for name in names):
        raise InputError(
            f"{has} {one.marker!r}, and {kind} has not: choose the checkpoint of this architecture in "
            "init_cfg.checkpoint, or the network of this checkpoint."
        )


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
    missing, foreign, reshaped = compare(own, state, resizing_names(module))
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
    other_sizes = set(compare(own, state).reshaped) - tested
    what = f"{type(model).__name__} with {type(model.tested_encoders()[0]).__name__}"
    hint = (
        "give the checkpoint of this config, or the config that the checkpoint was trained with, which lies in the "
        "folder of its run."
    )
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
