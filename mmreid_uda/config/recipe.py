"""Configurations: a few recipe keys say what is trained on what; here they become mmengine's dictionaries.

A recipe key is written once, at the top level, where a child config, or ``--cfg-options``, changes it in one line:

==================== =====================================================================================
``data_root``        folder that holds the data sets
``target``           name (or config) of the unlabelled training set
``source``           name, or list of names, of labelled training sets; ``None`` = fully unsupervised
``test``             names of the test sets; ``None`` = the target's, if it has some; ``[]`` = train without evaluation
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

import copy
import difflib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmreid_uda import compat
from mmreid_uda.datasets import dataset_config, input_size, offered_splits
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import checked, closest

from .check import check_components, check_settings, check_types, known_keys
from .file import import_plugins, read_config_file
from .required_hooks import add_required_hooks

__all__ = ["apply_recipe", "finish_config", "load_config"]

# The papers of most recipes trained on four GPUs.
_REFERENCE_GPUS = 4


@checked
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
            unknown name, a value of the wrong kind or out of range, a batch that cannot be divided.
    """
    cfg = read_config_file(path)
    if options:
        _merge_options(cfg, options)
    finish_config(cfg, world_size)
    return cfg


def finish_config(cfg: Config, world_size: int = 1) -> None:
    """Import the plug-ins of a config, put the recipe in place and check every key; all that follows its reading.

    Args:
        cfg: What the file says, changed in place.
        world_size: Number of processes the global batch is divided over.

    Raises:
        InputError: As by :func:`load_config`.
    """
    compat.install()
    check_settings(cfg)
    import_plugins(cfg)
    _enter_scope(cfg.get("default_scope") or "mmreid_uda")
    add_required_hooks(cfg)
    check_types(cfg)
    apply_recipe(cfg, world_size)
    check_components(cfg)


def _enter_scope(scope: str) -> None:
    """Let names without a scope be those of a package."""
    try:
        import_module(scope)
    except (ImportError, TypeError, ValueError) as error:
        raise InputError(
            f"found default_scope={scope!r} in the config, but there is no package of that name: set it to "
            "'mmreid_uda', or install the package."
        ) from error
    init_default_scope(scope)


def _merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Merge dotted keys into a config; one below a name, such as ``target.noise`` of a set's name, says how.

    Raises:
        InputError: For a key that nothing reads, or that cannot be in the config.
    """
    for key in options:
        top, *below = key.split(".")
        if top not in cfg and top not in known_keys():
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
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
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
    return closest(key.partition(".")[0], {*cfg, *known_keys()})


def _paths(where: str, node: Any) -> Iterator[str]:
    """Dotted keys of all that a config holds, as options name it."""
    items: Any = node.items() if isinstance(node, dict) else ()
    if isinstance(node, (list, tuple)):
        items = enumerate(node)
    for key, value in items:
        path = f"{where}.{key}" if where else str(key)
        yield path
        yield from _paths(path, value)


def apply_recipe(cfg: Config, world_size: int = 1) -> None:
    """Write the recipe keys to where mmengine expects them, in place. Applying it again changes nothing."""
    if "model" in cfg and "encoder" in cfg:
        cfg.model.encoder = _encoders(cfg)
    _read_teacher(cfg)
    # A config that names no data set in the recipe's way (images of other kinds) has loaders of its own.
    if any(key in cfg for key in ("source", "target", "test")):
        _require_recipe(cfg)
        size = _input_size(cfg)
        for pipeline in (cfg.train_pipeline, cfg.test_pipeline):
            _set_resize(pipeline, size, cfg.get("resize_backend"))
        _apply_training(cfg, world_size)
        _apply_testing(cfg)
    _drop_empty_loops(cfg)
    if "val_dataloader" in cfg:
        _require(cfg, "val_evaluator", needed_by="val_dataloader")
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator


def _require_recipe(cfg: Config) -> None:
    """Refuse a recipe that lacks a key; most come with the bases.

    Raises:
        InputError: Naming the key.
    """
    _require(
        cfg, "data_root", "train_pipeline", "test_pipeline", needed_by="target, source or test"
    )
    if cfg.get("train_dataloader"):
        _require(
            cfg, "train_dataloader.dataset", "train_dataloader.batch_sampler", needed_by="training"
        )
        _require(cfg, "global_batch_size", "num_instances", "iters_per_epoch", needed_by="training")
    if cfg.get("val_dataloader"):
        _require(cfg, "val_dataloader.dataset", needed_by="val_dataloader")
    if not any(_names(cfg, key) for key in ("target", "test", "source")):
        raise InputError(
            "found neither `target`, `test` nor `source` in the config, expected the name of a data set in one of "
            "them: set target, test, or source."
        )


def require_tests(cfg: Config, otherwise: str = "") -> None:
    """Refuse a config without a labelled test set, for what cannot do without one.

    Args:
        cfg: A config of :func:`load_config`.
        otherwise: What can be done instead of naming one, for the sentence.

    Raises:
        InputError: It has none.
    """
    if not cfg.get("val_dataloader"):
        raise InputError(
            f"found no labelled test images in {cfg.filename}, expected queries and a gallery: name a data set in "
            f"`test`, for instance by --cfg-options test=market1501{', or ' if otherwise else ''}{otherwise}."
        )


def _require(cfg: Config, *keys: str, needed_by: str) -> None:
    for key in keys:
        name, _, inner = key.partition(".")
        if name not in cfg or (inner and not cfg[name].get(inner)):
            raise InputError(
                f"found no `{key}` in the config, expected it for {needed_by}: set it, or name a file of "
                "configs/_base_ that has it in `_base_`."
            )


def _input_size(cfg: Config) -> tuple[int, int]:
    size: Any = cfg.get("input_size")
    named = [one for key in ("target", "test", "source") for one in _names(cfg, key)]
    return tuple(input_size(named[0]) if size is None else size)


def _apply_training(cfg: Config, world_size: int) -> None:
    if not cfg.get("train_dataloader"):
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
        instances = max(instances.values(), default=0)
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
    if cfg.get("default_hooks", {}).get("cluster"):
        cfg.default_hooks.cluster.pipeline = cfg.test_pipeline


def _apply_testing(cfg: Config) -> None:
    if not cfg.get("val_dataloader"):
        return
    sets = _names(cfg, "test")
    if cfg.get("test") is None and cfg.get("target"):
        offered = offered_splits(cfg.target, data_root=cfg.data_root)
        sets = [cfg.target] if {"query", "gallery"} <= {*offered} else []
    if not sets:
        cfg.val_dataloader = None
        return
    cfg.val_dataloader.dataset.update(
        sets=sets, data_root=cfg.data_root, pipeline=cfg.test_pipeline
    )


def _drop_empty_loops(cfg: Config) -> None:
    """Leave out the validation, and the test that repeats it, where there is nothing to evaluate on.

    The Runner wants all or none of a loop's keys.
    """
    for loop in ("val", "test"):
        if not cfg.get("val_dataloader") and not cfg.get(f"{loop}_dataloader"):
            for key in ("dataloader", "evaluator", "cfg"):
                cfg.pop(f"{loop}_{key}", None)


def _encoders(cfg: Config) -> Any:
    """The recipe's encoder with the weights of ``stage1``: one config, or one for each of several runs."""
    _set_norm_groups(cfg)
    encoders = []
    for run in _names(cfg, "stage1"):
        encoder = copy.deepcopy(cfg.encoder)
        if isinstance(encoder.get("backbone"), dict):
            encoder.backbone.pop("init_cfg", None)  # ImageNet weights would only be overwritten
        encoder.init_cfg = dict(type="Pretrained", checkpoint=run)
        encoders.append(encoder)
    return encoders if len(encoders) > 1 else [*encoders, cfg.encoder][0]


def _set_norm_groups(cfg: Config) -> None:
    """Give batch normalisation the groups of the released run, unless the recipe gives it some."""
    norm: Any = cfg.encoder.get("norm")
    if isinstance(norm, dict) and "global_batch_size" in cfg:
        kind = getattr(norm.get("type"), "__name__", norm.get("type"))
        if kind in ("GhostBN", "DomainBN"):
            # Accumulated gradients make one step of several batches, of which each GPU had its share.
            accumulated = (cfg.get("optim_wrapper") or {}).get("accumulative_counts", 1)
            images = cfg.global_batch_size * accumulated
            share = min(cfg.global_batch_size, images // cfg.get("reference_gpus", _REFERENCE_GPUS))
            norm.setdefault("samples_per_group", max(2, share))  # one image has no variance


def _read_teacher(cfg: Config) -> None:
    """A teacher that is given by its config file (STD) becomes the model of that file."""
    teacher: Any = cfg.model.get("teacher")
    if isinstance(teacher, dict) and "config" in teacher:
        teacher["model"] = load_config(teacher.pop("config")).model


def _names(cfg: Config, key: str) -> list[Any]:
    """The entries of a recipe key; names of data sets may stand in one text, with commas between them."""
    value: Any = cfg.get(key)
    if value is None:
        return []
    if isinstance(value, str) and key != "stage1":
        value = [name.strip() for name in value.split(",")]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _set_resize(pipeline: Any, size: tuple[int, int], backend: Any) -> None:
    """Resize transforms without a size of their own get the recipe's, and all its backend, also inside views.

    What is no list of transforms is left to :func:`check_components`, which names its place.
    """
    transforms = pipeline if isinstance(pipeline, (list, tuple)) else ()
    for transform in (one for one in transforms if isinstance(one, dict)):
        if transform.get("type") == "Resize":
            transform.setdefault("scale", (size[1], size[0]))  # mmcv counts (width, height)
            if backend is not None:
                transform["backend"] = backend
        _set_resize(transform.get("transforms"), size, backend)
