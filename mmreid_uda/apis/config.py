"""Configurations: a few recipe keys say what is trained on what; here they become mmengine's dictionaries.

A recipe key is written once, at the top level, where a child config, or ``--cfg-options``, changes it in one line:

==================== =====================================================================================
``data_root``        folder that holds the data sets
``target``           name (or config) of the unlabelled training set
``source``           name, or list of names, of labelled training sets; ``None`` = fully unsupervised
``test``             names of the test sets; ``None`` = the target's
``input_size``       (height, width) in pixels; ``None`` = what is usual for the target
``resize_backend``   ``'pillow'`` or ``'cv2'``, which resizes in both pipelines; ``None`` = what each of them says
``cache``            memory for decoded images of each training set, such as ``'2GiB'``; ``None`` = none
``train_pipeline``   transforms of training images
``test_pipeline``    transforms of test images and of the features that are clustered
``encoder``          the network of every model that has one
``reference_gpus``   GPUs of the released run, 4 unless given: without ``samples_per_group``, a ``GhostBN`` or
                     ``DomainBN`` normalises ``global_batch_size / reference_gpus`` images together, as each GPU did
``stage1``           run (its folder) or checkpoint of source pre-training that the encoder starts from, or a list with
                     one for each student; ``None`` = the encoder's own initial weights
``global_batch_size`` images per iteration and domain, over all ranks
``num_instances``    K of the P×K batch, or ``dict(source=, target=)``; 0 = images in plain random order
``iters_per_epoch``  iterations between two clusterings; ``None`` = one pass over the images
==================== =====================================================================================
"""

from __future__ import annotations

import argparse
import copy
import difflib
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmreid_uda import registry as registries
from mmreid_uda.datasets import dataset_config, input_size
from mmreid_uda.utils import InputError

__all__ = ["OptionsAction", "apply_recipe", "check_keys", "load_config", "parse_options"]

RECIPE_KEYS = (
    "data_root",
    "target",
    "source",
    "test",
    "input_size",
    "resize_backend",
    "cache",
    "train_pipeline",
    "test_pipeline",
    "encoder",
    "reference_gpus",
    "stage1",
    "global_batch_size",
    "num_instances",
    "iters_per_epoch",
)
# The papers of most recipes trained on four GPUs.
_REFERENCE_GPUS = 4
# Every registry whose entries a config can name, with mmengine's as their parents.
_REGISTRIES = tuple(getattr(registries, name) for name in registries.__all__)
# Keys that the Runner (of a norm: the encoder) takes out of a component's dictionary before it builds the component.
_TAKEN_OUT = (
    "keep_frozen",
    "type",
    "_scope_",
    "priority",
    "constructor",
    "paramwise_cfg",
    "convert_to_iter_based",
)
# Top-level keys that the Runner reads from the configuration without having an argument of that name.
_RUNNER_EXTRAS = (
    "custom_imports",
    "find_unused_parameters",
    "sync_bn",
    "compile",
    "env_cfg",
    "model_wrapper_cfg",
)


def load_config(
    path: str | Path, options: dict[str, Any] | None = None, world_size: int = 1
) -> Config:
    """Read a config file, merge options into it, put the recipe in place and check every key.

    Args:
        path: Config file.
        options: Dotted keys -> values, as ``--cfg-options`` gives them.
        world_size: Number of processes the global batch is divided over.

    Returns:
        A config that ``Runner.from_cfg`` takes.

    Raises:
        InputError: For a file that is missing or cannot be read, a misspelt key, an option that nothing reads, an
            unknown name, a batch that cannot be divided.
    """
    if not Path(path).is_file():
        raise InputError(
            f"found no config file {str(path)!r}; see the folder configs/ for those there are."
        )
    # custom_imports such as projects.mypaper are found from the working folder, as by `python -m`.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    cfg = _read_file(path)
    if options:
        _merge_options(cfg, options)
    init_default_scope(cfg.get("default_scope", "mmreid_uda"))
    _check_top_level(cfg)
    apply_recipe(cfg, world_size)
    check_keys(cfg)
    return cfg


def _read_file(path: str | Path) -> Config:
    """Read a config file and its bases; what mmengine raises for a wrong one becomes a sentence that names it."""
    try:
        return Config.fromfile(str(path))
    except TypeError as error:
        if "_delete_=True" not in str(error):
            raise
        raise InputError(
            f"the config {str(path)!r} puts a dict where its base has a value of another type, such as a name in "
            "`target`; add _delete_=True to that dict."
        ) from error
    except SyntaxError as error:
        # mmengine reads a copy of the file when it finds the error in a base.
        where = f"{str(path)!r} or one of its bases"
        raise InputError(
            f"the config {where} is not Python: {error.msg} in line {error.lineno} ({(error.text or '').strip()!r}); "
            "correct that line."
        ) from error
    except FileNotFoundError as error:
        missing = error.filename or str(error)
        raise InputError(
            f"the config {str(path)!r} has a _base_ that does not exist ({missing}); correct the path, which is "
            "relative to the file that names it."
        ) from error


def _merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Merge dotted keys into a config; one below a name, such as ``target.noise`` of a set's name, says how.

    Raises:
        InputError: For a key that nothing reads, or that cannot be in the config.
    """
    for key in options:
        top, *below = key.split(".")
        if top not in cfg and top not in _known_keys():
            raise InputError(
                f"found the option `{key}`, which nothing reads: expected {_whole_key(key, cfg)}."
            )
        name = cfg.get(top)
        if below and isinstance(name, str) and f"{top}._delete_" not in options:
            raise InputError(
                f"found the option `{key}`, but `{top}` is the name {name!r} and has no keys; give {top}._delete_=True "
                f"{top}.name={name} as well."
            )
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError) as error:
        reason = str(error.args[0]).partition(" [")[0]  # behind it a whole list is printed
        raise InputError(
            f"found the options {', '.join(f'`{key}`' for key in options)}, of which one does not fit the config: "
            f"{reason.rstrip('.')}."
        ) from error


def _whole_key(key: str, cfg: Config) -> str:
    """The key of the config that ends like one that nothing reads, or the closest at the top level."""
    name = key.rpartition(".")[2]
    whole = [path for path in _paths("", cfg._cfg_dict) if path.endswith(f".{name}")]
    if whole:
        near = max(whole, key=lambda path: difflib.SequenceMatcher(None, key, path).ratio())
        return f"a whole key such as `{near}`"
    return _closest(key.partition(".")[0], {*cfg, *_known_keys()})


def _paths(where: str, node: Any) -> Iterator[str]:
    """Dotted keys of all that a config holds, as options name it."""
    items: Any = node.items() if isinstance(node, dict) else ()
    if isinstance(node, (list, tuple)):
        items = enumerate(node)
    for key, value in items:
        path = f"{where}.{key}" if where else str(key)
        yield path
        yield from _paths(path, value)


class OptionsAction(DictAction):
    """``key=value`` pairs on a command line; what is no such pair is an error of usage."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add the pairs to those that are there already."""
        for pair in values or ():
            if "=" not in pair:
                parser.error(f"found the option {pair!r}, expected key=value.")
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:
            parser.error(f"found {' '.join(values)!r}, expected key=value: {error}.")


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` texts as the flag ``--cfg-options`` of every tool does: dotted keys -> values."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pairs", nargs="*", action=OptionsAction)
    return parser.parse_args(list(pairs)).pairs or {}


def apply_recipe(cfg: Config, world_size: int = 1) -> None:
    """Write the recipe keys to where mmengine expects them, in place. Applying it again changes nothing.

    Hooks that a child config has set to ``None`` are dropped, since mmengine can do so for its own six only.
    """
    cfg.default_hooks = {
        name: hook for name, hook in cfg.get("default_hooks", {}).items() if hook is not None
    }
    if "model" in cfg and "encoder" in cfg:
        cfg.model.encoder = _encoders(cfg)
    _read_teacher(cfg)
    # A config that names no data set in the recipe's way (images of other kinds) has loaders of its own.
    if any(key in cfg for key in ("source", "target", "test")):
        size = _input_size(cfg)
        for pipeline in (cfg.train_pipeline, cfg.test_pipeline):
            _set_resize(pipeline, size, cfg.get("resize_backend"))
        _apply_training(cfg, world_size)
        _apply_testing(cfg)
    if "val_dataloader" in cfg:
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator


def _input_size(cfg: Config) -> tuple[int, int]:
    size: Any = cfg.get("input_size")
    if size is None:
        return input_size(cfg.get("target") or _names(cfg, "test")[0])
    if not (
        isinstance(size, (list, tuple))
        and len(size) == 2
        and all(isinstance(side, int) and side > 0 for side in size)
    ):
        raise InputError(
            f"found input_size={size!r}, expected height and width in pixels, such as input_size=(256,128)."
        )
    return size[0], size[1]


def _apply_training(cfg: Config, world_size: int) -> None:
    if "train_dataloader" not in cfg:
        return

    # Not given where not asked for: a data set class of one's own need not have it.
    cache = {} if cfg.get("cache") is None else {"cache": cfg.cache}

    def training_set(name: Any, labels: str, domain: int) -> dict[str, Any]:
        return dataset_config(
            name,
            "train",
            data_root=cfg.data_root,
            pipeline=cfg.train_pipeline,
            labels=labels,
            domain=domain,
            **cache,
        )

    cfg.train_dataloader.dataset.update(
        source=[training_set(name, "truth", 0) for name in _names(cfg, "source")],
        target=training_set(cfg.target, "hidden", 1) if cfg.get("target") else None,
    )
    batch, instances = cfg.global_batch_size, cfg.num_instances
    if isinstance(instances, dict):
        instances = max(instances.values())
    if batch % world_size or (instances and (batch // world_size) % instances):
        raise InputError(
            f"found global_batch_size={batch}, num_instances={instances} and {world_size} process(es), expected each "
            f"process to get a multiple of {instances}: choose global_batch_size as a multiple of "
            f"{world_size * max(instances, 1)}, or another number of processes."
        )
    cfg.train_dataloader.batch_size = batch // world_size
    cfg.train_dataloader.batch_sampler.update(
        num_instances=cfg.num_instances, iters_per_epoch=cfg.iters_per_epoch
    )
    if "cluster" in cfg.default_hooks:
        cfg.default_hooks.cluster.pipeline = cfg.test_pipeline


def _apply_testing(cfg: Config) -> None:
    if "val_dataloader" not in cfg:
        return
    cfg.val_dataloader.dataset.update(
        sets=_names(cfg, "test") or [cfg.target],
        data_root=cfg.data_root,
        pipeline=cfg.test_pipeline,
    )


def _encoders(cfg: Config) -> Any:
    """The recipe's encoder with the weights of ``stage1``: one config, or one for each of several runs."""
    _set_norm_groups(cfg)
    encoders = []
    for run in _names(cfg, "stage1"):
        encoder = copy.deepcopy(cfg.encoder)
        encoder.backbone.pop("init_cfg", None)  # ImageNet weights would only be overwritten
        encoder.init_cfg = dict(type="Pretrained", checkpoint=run)
        encoders.append(encoder)
    return encoders if len(encoders) > 1 else [*encoders, cfg.encoder][0]


def _set_norm_groups(cfg: Config) -> None:
    """Give batch normalisation the groups of the released run, unless the recipe gives it some."""
    norm: Any = cfg.encoder.get("norm")
    if norm and "global_batch_size" in cfg:
        kind = getattr(norm.type, "__name__", norm.type)
        if kind in ("GhostBN", "DomainBN"):
            # Accumulated gradients make one step of several batches, of which each GPU had its share.
            accumulated = (cfg.get("optim_wrapper") or {}).get("accumulative_counts", 1)
            images = cfg.global_batch_size * accumulated
            share = min(cfg.global_batch_size, images // cfg.get("reference_gpus", _REFERENCE_GPUS))
            norm.setdefault("samples_per_group", max(2, share))  # one image has no variance


def _read_teacher(cfg: Config) -> None:
    """A teacher that is given by its config file (STD) becomes the model of that file."""
    teacher: Any = cfg.get("model", {}).get("teacher") or {}
    if "config" in teacher:
        teacher.model = load_config(teacher.pop("config")).model


def _names(cfg: Config, key: str) -> list[Any]:
    value = cfg.get(key)
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _set_resize(pipeline: list[dict[str, Any]], size: tuple[int, int], backend: Any) -> None:
    """Resize transforms without a size of their own get the recipe's, and all its backend, also inside views."""
    for transform in pipeline:
        if transform["type"] == "Resize":
            transform.setdefault("scale", (size[1], size[0]))  # mmcv counts (width, height)
            if backend is not None:
                transform["backend"] = backend
        _set_resize(transform.get("transforms", []), size, backend)


# ---- misspelt keys, found before anything is built


def check_keys(cfg: Config) -> None:
    """Compare the keys of every ``dict(type=...)`` with the arguments of that class.

    Raises:
        InputError: Naming the key, where it stands, and the closest argument there is.
    """
    for where, node in _typed_dicts("", cfg._cfg_dict):
        target = _resolve(node["type"])
        accepted = _arguments(target) if target is not None else None
        if accepted is None:
            continue
        for key in node:
            if key not in accepted and key not in _TAKEN_OUT:
                name = getattr(target, "__name__", node["type"])
                raise InputError(
                    f"found the key `{where}.{key}` in the config, but {name} takes {_closest(key, accepted)}."
                )


def _known_keys() -> set[str]:
    """Keys that are read at the top level of a config."""
    runner = inspect.signature(Runner.__init__).parameters
    return {*runner, *RECIPE_KEYS, *_RUNNER_EXTRAS} - {"self", "cfg"}


def _check_top_level(cfg: Config) -> None:
    known = _known_keys()
    for key in cfg:
        if key not in known and difflib.get_close_matches(key, known, n=1, cutoff=0.8):
            raise InputError(
                f"found the top-level key `{key}` in the config, expected {_closest(key, known)}."
            )


def _typed_dicts(where: str, node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if isinstance(node.get("type"), str):
            yield where, node
        for key, value in node.items():
            # The recipe's originals are checked at the places they were written to.
            if where or key not in (
                "encoder",
                "train_pipeline",
                "test_pipeline",
                "target",
                "source",
                "test",
            ):
                yield from _typed_dicts(f"{where}.{key}" if where else key, value)
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _typed_dicts(f"{where}[{number}]", value)


def _resolve(name: str) -> Any:
    """The class or function a type string stands for, in whichever registry has it."""
    for registry in _REGISTRIES:
        found = registry.get(name)
        if found is not None:
            return found
    return None


def _arguments(target: Any) -> set[str] | None:
    """Names a callable accepts, following ``**kwargs`` to the base classes; ``None`` if anything goes."""
    if not inspect.isclass(target):
        parameters = inspect.signature(target).parameters.values()
        return (
            None
            if any(p.kind is p.VAR_KEYWORD for p in parameters)
            else {p.name for p in parameters}
        )
    if target.__init__ is object.__init__:
        return set()
    accepted: set[str] = set()
    for base in target.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        accepted |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return accepted - {"self"}
    return None


def _closest(key: str, known: set[str]) -> str:
    if not known:
        return "no key"
    close = difflib.get_close_matches(key, known, n=1)
    return (
        f"`{close[0]}`" if close else "one of " + ", ".join(f"`{name}`" for name in sorted(known))
    )
