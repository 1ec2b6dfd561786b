"""What a config may hold: its keys and their values are judged before anything is built.

The keys at the top level are declared here (:class:`Recipe`, :class:`Settings`); those of a ``dict(type=...)`` are the
arguments of that class, with the annotations of its constructor (:mod:`mmreid_uda.utils.values`).
"""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

from annotated_types import Ge, Le
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.optim import Optimizer

from mmreid_uda import registry as registries
from mmreid_uda.registry import Registry
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import DomainName, EvidenceOptions
from mmreid_uda.utils.values import (
    RGB,
    Argument,
    Count,
    Natural,
    NonNegative,
    Positive,
    PositiveRGB,
    arguments_of,
    closest,
    require_fit,
)

__all__ = ["Joining", "Launcher", "check_components", "check_settings", "check_types", "known_keys"]

_Name = str | dict[str, Any]
_Pipeline = Sequence[dict[str, Any]]
Launcher = Literal["none", "pytorch", "slurm", "mpi"]
"""What starts the processes of a run."""


class _Instances(TypedDict, total=False):
    source: Natural
    target: Natural


class _Normalization(TypedDict, total=False):
    mean: RGB
    std: PositiveRGB


class Recipe(TypedDict, total=False):
    """The keys that :func:`mmreid_uda.config.apply_recipe` reads."""

    data_root: str
    target: Annotated[
        _Name | None, "the name of a dataset, dict(name=..., ...), dict(type=..., ...) or None"
    ]
    source: Annotated[_Name | Sequence[_Name] | None, "a dataset, a list of datasets or None"]
    train: Sequence[DomainName]
    test: Annotated[_Name | Sequence[_Name] | None, "a dataset, a list of datasets or None"]
    input_size: Annotated[
        tuple[Count, Count] | None, "height and width in pixels, such as input_size=(256,128)"
    ]
    normalization: _Normalization | None
    resize_backend: Literal["cv2", "pillow"] | None
    cache: str | Count | None
    train_pipeline: _Pipeline
    test_pipeline: _Pipeline
    encoder: dict[str, Any]
    encoder_name: str
    reference_gpus: Count
    stage1: str | Sequence[str] | None
    clusterer: dict[str, Any] | None
    refiners: Sequence[dict[str, Any]] | None
    evidence: EvidenceOptions | None
    relabel: dict[str, Any] | None
    global_batch_size: Count
    num_instances: Natural | _Instances
    iters_per_epoch: Count | None


class _Loader(TypedDict, total=False):
    dataset: dict[str, Any]
    batch_size: Count | None
    num_workers: Natural | Literal["auto"]
    sampler: dict[str, Any] | None
    batch_sampler: dict[str, Any] | None
    collate_fn: str | dict[str, Any] | None
    worker_init_fn: str | dict[str, Any] | None
    shuffle: bool | None
    drop_last: bool
    pin_memory: bool
    pin_memory_device: str
    persistent_workers: bool
    prefetch_factor: Count | None
    timeout: NonNegative
    multiprocessing_context: str | None
    in_order: bool
    num_batch_per_epoch: Count | None


class _Randomness(TypedDict, total=False):
    # NumPy takes no larger one.
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] | None
    deterministic: bool
    diff_rank_seed: bool


class _Plugins(TypedDict, total=False):
    imports: str | Sequence[str]
    allow_failed_imports: bool


class Joining(TypedDict, total=False):
    """How the processes of a run join each other: arguments of ``init_process_group`` and mmengine's launchers."""

    backend: Literal["nccl", "gloo"]
    timeout: Positive | None
    init_method: str | None
    init_backend: Literal["torch"]
    port: Count | None


class _Environment(TypedDict, total=False):
    cudnn_benchmark: bool
    mp_cfg: dict[str, Any]
    dist_cfg: Joining
    resource_limit: Count


class Settings(Recipe, total=False):
    """Every key at the top level of a config, those of mmengine's Runner among them."""

    runner_type: str
    model: dict[str, Any]
    work_dir: str
    train_dataloader: _Loader | None
    val_dataloader: _Loader | None
    test_dataloader: _Loader | None
    train_cfg: dict[str, Any] | None
    val_cfg: dict[str, Any] | None
    test_cfg: dict[str, Any] | None
    auto_scale_lr: dict[str, Any] | None
    optim_wrapper: dict[str, Any] | None
    param_scheduler: dict[str, Any] | Sequence[dict[str, Any]] | None
    val_evaluator: dict[str, Any] | Sequence[dict[str, Any]] | None
    test_evaluator: dict[str, Any] | Sequence[dict[str, Any]] | None
    default_hooks: dict[str, dict[str, Any] | None]
    custom_hooks: Sequence[dict[str, Any]] | None
    data_preprocessor: dict[str, Any] | None
    load_from: str | None
    resume: bool
    launcher: Launcher
    env_cfg: _Environment
    log_processor: dict[str, Any] | None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | Natural
    visualizer: dict[str, Any] | None
    default_scope: str | None
    randomness: _Randomness
    experiment_name: str | None
    custom_imports: _Plugins
    find_unused_parameters: bool
    sync_bn: str
    compile: bool | dict[str, Any]
    model_wrapper_cfg: dict[str, Any] | None


# Limits that the classes of other packages do not declare.
_LIMITS: dict[type, dict[str, Any]] = {
    EpochBasedTrainLoop: dict(max_epochs=Count, val_begin=Natural, val_interval=Count),
    IterBasedTrainLoop: dict(max_iters=Count, val_begin=Natural, val_interval=Count),
    LoggerHook: dict(interval=Count),
    CheckpointHook: dict(
        rule=Literal["greater", "less"] | Sequence[Literal["greater", "less"]] | None
    ),
    OptimWrapper: dict(accumulative_counts=Count),
    Optimizer: dict(lr=NonNegative, weight_decay=NonNegative),
}
# Keys of which the value is a component, or a list of components, and the registries that know their classes.
_Registries = tuple[Registry, ...]
_METRICS = (registries.METRICS, registries.EVALUATOR)
_ROLES: dict[str, _Registries] = {
    "model": (registries.MODELS,),
    "encoder": (registries.MODELS,),
    "backbone": (registries.MODELS,),
    "head": (registries.MODELS,),
    "dataset": (registries.DATASETS,),
    "sampler": (registries.DATA_SAMPLERS,),
    "batch_sampler": (registries.DATA_SAMPLERS,),
    "train_pipeline": (registries.TRANSFORMS,),
    "test_pipeline": (registries.TRANSFORMS,),
    "pipeline": (registries.TRANSFORMS,),
    "clusterer": (registries.CLUSTERERS,),
    "refiners": (registries.REFINERS,),
    "custom_hooks": (registries.HOOKS,),
    "optimizer": (registries.OPTIMIZERS,),
    "param_scheduler": (registries.PARAM_SCHEDULERS,),
    "val_evaluator": _METRICS,
    "test_evaluator": _METRICS,
}
# Every registry whose entries a config can name in a dict(type=...), with mmengine's as their parents.
_REGISTRIES = tuple(getattr(registries, name) for name in registries.__all__ if name != "RUNNERS")
# Components of these are built from their dict alone, so that it must have every argument without a default.
_WHOLE = (
    registries.CLUSTERERS,
    registries.HOOKS,
    registries.METRICS,
    registries.REFINERS,
    registries.TRANSFORMS,
)
# Keys that the Runner (of a norm: the encoder) takes out of a component's dictionary before it builds the component.
_TAKEN_OUT = (
    "keep_frozen",
    "type",
    "_scope_",
    "priority",
    "constructor",
    "paramwise_cfg",
    "convert_to_iter_based",
    "by_epoch",
)
# Recipe keys that hold components; these are checked at the places they are written to.
_WRITTEN_ELSEWHERE = ("encoder", "train_pipeline", "test_pipeline", "target", "source", "test")


def known_keys() -> set[str]:
    """Keys that are read at the top level of a config.

    Returns:
        Names: the arguments of mmengine's Runner, and those of this package.
    """
    runner = inspect.signature(Runner.__init__).parameters
    return {*runner, *Settings.__annotations__} - {"self", "cfg"}


def check_settings(cfg: Config) -> None:
    """Judge the keys at the top level and their values.

    Whole numbers that are written as ``64.0`` become such, in place.

    Args:
        cfg: A config with its bases merged.

    Raises:
        InputError: Naming the key, what was found, and what was expected.
    """
    hints = typing.get_type_hints(Settings, include_extras=True)
    known = known_keys()
    for key in list(cfg):
        if key in hints:
            cfg[key] = require_fit(cfg[key], hints[key], key, "in the config")
        elif key not in known and difflib.get_close_matches(str(key), known, n=1, cutoff=0.8):
            raise InputError(
                f"found the top-level key `{key}` in the config, expected {closest(key, known)}."
            )
    if "model" not in cfg:
        raise InputError(
            "found no `model` in the config, expected one; name a file of configs/ in `_base_`, or the model's class "
            "in model=dict(type=...)."
        )


def check_types(cfg: Config) -> None:
    """Judge that every component names a class there is, of the right kind.

    Args:
        cfg: As for :func:`check_settings`.

    Raises:
        InputError: Naming the key, what was found, and the closest name there is.
    """
    for where, node, registries_of_role in _components("", cfg._cfg_dict):
        name = node.get("type")
        if callable(name):
            continue
        if not isinstance(name, str):
            found = f"`{where}.type`={name!r}" if "type" in node else f"no `type` in `{where}`"
            raise InputError(
                f"found {found} in the config, expected the name of a class: {where}=dict(type=..., ...); a dict that "
                "is to replace the one of its base needs one of its own."
            )
        # Another package's class, such as mmpretrain.ResNet, is looked for where it is built.
        if "." in name.removeprefix("mmreid_uda."):
            continue
        kinds = registries_of_role or _REGISTRIES
        if all(registry.find(name) is None for registry in kinds):
            kind = kinds[0].name if registries_of_role else "class"
            names = set().union(*(one.names() for one in kinds))
            raise InputError(
                f"found `{where}.type`={name!r} in the config, and no such {kind}, expected "
                f"{closest(name, names)}; for a class of your own add its module to custom_imports."
            )


def _components(where: str, node: Any) -> Iterator[tuple[str, dict[str, Any], _Registries]]:
    """Every dict that must name a class by ``type``, or does, and the registries it may be in, where that is known."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            place = f"{where}.{key}" if where else str(key)
            role = (registries.HOOKS,) if where == "default_hooks" else _ROLES.get(key, ())
            listed = isinstance(value, (list, tuple))
            for number, one in enumerate(value if listed else [value]):
                if isinstance(one, dict) and (role or "type" in one):
                    yield f"{place}[{number}]" if listed else place, one, role
            yield from _components(place, value)
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _components(f"{where}[{number}]", value)


def check_components(cfg: Config) -> None:
    """Hold the keys of every ``dict(type=...)`` against the arguments of that class, and so each value.

    Args:
        cfg: As for :func:`check_settings`; numbers are changed in place as there.

    Raises:
        InputError: Naming the key, where it stands, and the closest argument there is, or what its value may be.
    """
    for where, node, target, registry in _resolved(cfg):
        accepted, takes_more = _arguments(target)
        name = getattr(target, "__name__", where)
        for key, value in list(node.items()):
            if key in accepted:
                annotation = accepted[key].annotation
                node[key] = require_fit(value, annotation, f"{where}.{key}", "in the config")
            elif not takes_more and key not in _TAKEN_OUT:
                raise InputError(
                    f"found the key `{where}.{key}` in the config, but {name} takes {closest(key, accepted)}."
                )
        missing = [key for key, one in accepted.items() if one.required and key not in node]
        if missing and registry in _WHOLE:
            raise InputError(
                f"found no `{where}.{missing[0]}` in the config, expected it, since {name} cannot be built without: "
                f"{where}=dict(type={name!r}, {', '.join(f'{key}=...' for key in missing)})."
            )


def _resolved(cfg: Config) -> Iterator[tuple[str, dict[str, Any], Any, Registry | None]]:
    """Every dict that names a class, with the class and its registry; ``train_cfg``, whose loop is implied, too."""
    loop: Any = cfg.get("train_cfg")
    if loop and "type" not in loop:
        yield (
            "train_cfg",
            loop,
            EpochBasedTrainLoop if loop.get("by_epoch", True) else IterBasedTrainLoop,
            None,
        )
    # A clusterer stands in the recipe and in its hook; the place that a user writes is named.
    nodes = sorted(
        _components("", cfg._cfg_dict), key=lambda one: one[0].startswith("default_hooks")
    )
    for where, node, role in nodes:
        if where.partition(".")[0].partition("[")[0] not in _WRITTEN_ELSEWHERE:
            target, registry = _resolve(node.get("type"), role)
            if target is not None:
                yield where, node, target, registry


def _resolve(name: Any, role: _Registries) -> tuple[Any, Registry | None]:
    """The class or function a ``type`` stands for, and the registry that has it."""
    if not isinstance(name, str):
        return name, role[0] if role else None
    for registry in role or _REGISTRIES:
        found = registry.find(name)
        if found is not None:
            return found, registry
    return None, None


def _arguments(target: Any) -> tuple[dict[str, Argument], bool]:
    """Arguments of a class or function, with the limits that a class of another package does not declare."""
    accepted, takes_more = arguments_of(target)
    limits: dict[str, Any] = {}
    for base in reversed(getattr(target, "__mro__", ())):
        limits.update(_LIMITS.get(base, {}))
    declared = {
        key: one._replace(annotation=limits.get(key, one.annotation))
        for key, one in accepted.items()
    }
    return declared, takes_more
