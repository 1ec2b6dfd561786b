"""Configurations: a few recipe keys say what is trained on what; here they become mmengine's dictionaries.

A recipe key is written once, at the top level, where a child config, or ``--cfg-options``, changes it in one line:

==================== =====================================================================================
``data_root``        folder that holds the datasets
``target``           name (or config) of the unlabelled training set; or a folder of images, by its path
``source``           name, or list of names, of labelled training sets; ``None`` = fully unsupervised
``train``            which of both a run loads, ``['source', 'target']`` unless given; a second stage that learns from
                     the target alone has ``['target']``
``test``             names of the test sets; the words ``'source'`` and ``'target'`` stand for those that the keys name;
                     ``None`` = the target's, if it has some; ``[]`` = train without evaluation
``input_size``       (height, width) in pixels; ``None`` = what is usual for the target
``normalization``    ``dict(mean=, std=)`` of R, G, B in 0..255, what the network's weights were trained with; ``None``
                     = the data preprocessor's own, ImageNet's
``resize_backend``   ``'pillow'`` or ``'cv2'``, which resizes in both pipelines; ``None`` = what each of them says
``cache``            memory for decoded images of each training set, such as ``'2GiB'``; ``None`` = none
``train_pipeline``   transforms of training images
``test_pipeline``    transforms of test images and of the features that are clustered
``encoder``          the network of every model that has one; a backbone with an ``img_size`` gets ``input_size``
``encoder_name``     its name in those of configs and runs, such as ``r50``
``reference_gpus``   GPUs of the released run, 4 unless given: without ``samples_per_group``, a ``GhostBN`` or
                     ``DomainBN`` normalises ``global_batch_size / reference_gpus`` images together, as each GPU did
``stage1``           run (its folder) or checkpoint of source pre-training that the encoder starts from, or a list with
                     one for each student; ``None`` = the encoder's own initial weights. ``{encoder}``, ``{source}`` and
                     ``{target}`` become the short names of these; without a source there is no first stage
``clusterer``        what makes labels of features, before every ``relabel.interval``-th epoch
``refiners``         what makes better labels of these, one after the other
``evidence``         what the clusterer is told beside features, such as ``dict(camera='auto')``; ``None`` = nothing
``relabel``          settings of the hook that clusters, such as ``dict(interval=2, policy='raise')``
``global_batch_size`` images per iteration and domain, over all ranks
``num_instances``    K of the P×K batch, or ``dict(source=, target=)``; 0 = images in plain random order
``iters_per_epoch``  iterations between two clusterings; ``None`` = one pass over the images
==================== =====================================================================================

What ``default_hooks.cluster`` says about clusterer, refiners, evidence and the hook is the same in another place.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from mmengine.config import Config, ConfigDict

from mmreid_uda.datasets import dataset_config, input_size, offered_splits, short_name
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import DOMAIN_NAMES
from mmreid_uda.utils.values import arguments_of

__all__ = [
    "FILLED",
    "apply_recipe",
    "gather_clustering",
    "names_datasets",
    "require_tests",
    "test_sets",
]

FILLED = {
    "train_dataloader.batch_size": "global_batch_size",
    "train_dataloader.batch_sampler.num_instances": "num_instances",
    "train_dataloader.batch_sampler.iters_per_epoch": "iters_per_epoch",
    "train_dataloader.dataset.source": "source",
    "train_dataloader.dataset.target": "target",
    "val_dataloader.dataset.sets": "test",
    "val_dataloader.dataset.data_root": "data_root",
    "val_dataloader.dataset.pipeline": "test_pipeline",
}
"""Where a recipe key writes its value, whatever stood there -> the key."""

# The papers of most recipes trained on four GPUs.
_REFERENCE_GPUS = 4
# What the hook that clusters has of its own, beside its settings.
_OF_THE_HOOK = ("type", "priority", "pipeline", "clusterer", "refiners", "evidence")


def apply_recipe(cfg: Config, world_size: int = 1) -> None:
    """Write the recipe keys to where mmengine expects them.

    Applying it again changes nothing.

    Args:
        cfg: Changed in place.
        world_size: Number of processes that share a batch. Defaults to 1.
    """
    _apply_clustering(cfg)
    if "model" in cfg and "encoder" in cfg:
        cfg.model.encoder = _encoders(cfg)
    if "model" in cfg and cfg.get("normalization"):
        own = cfg.model.get("data_preprocessor") or {}
        cfg.model.data_preprocessor = {"type": "ReIDDataPreprocessor", **cfg.normalization, **own}
    # A config that names no dataset in the recipe's way (images of other kinds) has loaders of its own.
    if names_datasets(cfg):
        _require_recipe(cfg)
        size = _input_size(cfg)
        for pipeline in (cfg.train_pipeline, cfg.test_pipeline):
            _set_resize(pipeline, size, cfg.get("resize_backend"))
        _set_img_size(cfg.model.get("encoder") if "model" in cfg else None, size)
        _apply_training(cfg, world_size)
        _apply_testing(cfg)
    _drop_empty_loops(cfg)
    if "val_dataloader" in cfg:
        _require(cfg, "val_evaluator", needed_by="val_dataloader")
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator


def names_datasets(cfg: Config) -> bool:
    """Whether a config names datasets in the recipe's way, which fills its loaders.

    Args:
        cfg: Any.

    Returns:
        Whether one of the recipe's keys for them is there.
    """
    return any(key in cfg for key in ("source", "target", "test"))


def gather_clustering(cfg: Config) -> None:
    """Move what a config says in ``default_hooks.cluster`` to the recipe keys, of which it changes single keys.

    Args:
        cfg: Changed in place.
    """
    hook: Any = (cfg.get("default_hooks") or {}).get("cluster")
    if not isinstance(hook, dict):
        return
    if hook.get("_delete_"):  # a hook of one's own
        cfg.clusterer = cfg.refiners = cfg.evidence = cfg.relabel = None
        return
    changes = {key: hook.pop(key) for key in ("clusterer", "refiners", "evidence") if key in hook}
    if said := {key: hook.pop(key) for key in list(hook) if key not in _OF_THE_HOOK}:
        changes["relabel"] = said
    for key, change in changes.items():
        if isinstance(change, dict) and isinstance(cfg.get(key), dict):
            cfg.merge_from_dict({key: change})
        else:
            cfg[key] = change
            if isinstance(change, dict):
                cfg[key].pop("_delete_", None)


def _apply_clustering(cfg: Config) -> None:
    """Write the recipe keys of clustering to their hook, unless it is switched off."""
    hooks: Any = cfg.get("default_hooks") or {}
    if (
        cfg.get("clusterer") is None
        or not cfg.get("train_dataloader")
        or not hooks.get("cluster", True)
    ):
        return
    hook = hooks.setdefault("cluster", ConfigDict(type="ClusterHook"))
    hook.update(cfg.get("relabel") or {})
    cfg.relabel = {key: hook[key] for key in hook if key not in _OF_THE_HOOK}
    hook.clusterer = cfg.clusterer
    for key in ("refiners", "evidence"):
        if cfg.get(key):
            hook[key] = cfg[key]


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
            "found neither `target`, `test` nor `source` in the config, expected the name of a dataset in one of "
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
            f"found no labelled test images in {cfg.filename}, expected queries and a gallery: name a dataset in "
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
    named = [*_names(cfg, "target"), *test_sets(cfg), *_names(cfg, "source")]
    return tuple(input_size(named[0]) if size is None else size)


def _apply_training(cfg: Config, world_size: int) -> None:
    if not cfg.get("train_dataloader"):
        return

    # Not given where not asked for: a dataset class of one's own need not have it.
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

    loaded = cfg.get("train", DOMAIN_NAMES)
    sources = _names(cfg, "source") if "source" in loaded else []
    target = cfg.get("target") if "target" in loaded else None
    cfg.train_dataloader.dataset.update(
        source=[training_set(name, "ground_truth", 0) for name in sources],
        target=training_set(target, "unlabeled", 1) if target else None,
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
    sets = test_sets(cfg)
    if not sets:
        cfg.val_dataloader = None
        return
    cfg.val_dataloader.dataset.update(
        sets=sets, data_root=cfg.data_root, pipeline=cfg.test_pipeline
    )


def test_sets(cfg: Config) -> list[Any]:
    """The test sets of a config, by name or as dicts.

    Of those that a word stands for, and of the target, only what has queries and a gallery.

    Args:
        cfg: A config with recipe keys.

    Returns:
        Names of the catalogue, or configs of datasets; possibly none.
    """
    sets = []
    for name in ["target"] if cfg.get("test") is None else _names(cfg, "test"):
        if name not in DOMAIN_NAMES:
            sets.append(name)
            continue
        # Sub-folders of a target are people only where it says so.
        labels = {"labels": "unlabeled"} if name == "target" else {}
        for one in _names(cfg, name):
            if {"query", "gallery"} <= {*offered_splits(one, data_root=cfg.data_root, **labels)}:
                sets.append(one)
    return sets


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
    _name_stage1(cfg)
    encoders = []
    for run in _names(cfg, "stage1"):
        encoder = copy.deepcopy(cfg.encoder)
        if isinstance(encoder.get("backbone"), dict):
            encoder.backbone.pop("init_cfg", None)  # ImageNet weights would only be overwritten
        encoder.init_cfg = dict(type="Pretrained", checkpoint=run)
        encoders.append(encoder)
    return encoders if len(encoders) > 1 else [*encoders, cfg.encoder][0]


def _name_stage1(cfg: Config) -> None:
    """Put the names of encoder, source and target into those of the first stage's runs, in place.

    Raises:
        InputError: One of them has no name.
    """
    if not isinstance(cfg.get("stage1"), (str, list, tuple)) or "{" not in str(cfg.stage1):
        return

    def name_of(found: re.Match[str]) -> str:
        key = found[1]
        names: list[Any] = [cfg.get("encoder_name")]
        if key != "encoder":
            names = [short_name(one, of_source=key == "source") for one in _names(cfg, key)]
        if not names or None in names:
            raise InputError(
                f"found {found.string!r} in stage1, and no name of the {key}: set "
                f"{'encoder_name' if key == 'encoder' else key}, or name the run of the first stage in stage1; None "
                "goes without."
            )
        return "+".join(names)

    runs = [
        re.sub(r"\{(encoder|source|target)\}", name_of, run)
        for run in _names(cfg, "stage1")
        if cfg.get("source") or "{source}" not in run
    ]
    cfg.stage1 = (runs if len(runs) != 1 else runs[0]) or None


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


def _set_img_size(encoders: Any, size: tuple[int, int]) -> None:
    """Backbones that are built for one size of images, such as transformers, get the recipe's."""
    for encoder in encoders if isinstance(encoders, (list, tuple)) else [encoders]:
        backbone: Any = encoder.get("backbone") if isinstance(encoder, dict) else None
        kind = backbone.get("type") if isinstance(backbone, dict) else None
        found = MODELS.find(kind) if isinstance(kind, str) else kind
        if found is not None and "img_size" in arguments_of(found)[0]:
            backbone.setdefault("img_size", size)


def _names(cfg: Config, key: str) -> list[Any]:
    """The entries of a recipe key; names of datasets may stand in one text, with commas between them."""
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
