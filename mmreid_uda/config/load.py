"""From a config file, or a name, to what a Runner takes."""

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
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import checked, closest

from .check import check_components, check_settings, check_types, known_keys
from .file import import_plugins, read_config_file
from .index import find_model
from .recipe import FILLED, apply_recipe, gather_clustering, names_datasets
from .required_hooks import add_required_hooks

__all__ = ["finish_config", "load_config", "read_config"]

# An attribute, which copies of a config keep and its text does not have.
_FINISHED = "_is_finished"


@checked
def load_config(
    path: str | Path, options: dict[str, Any] | None = None, world_size: int = 1
) -> Config:
    """Read a config file, merge options into it, put the recipe in place and check every key.

    Args:
        path: Config file; or the name of one, or of an entry of the model index, see :func:`find_model`.
        options: Dotted keys -> values, as ``--cfg-options`` gives them.
        world_size: Number of processes the global batch is divided over.

    Returns:
        A config that ``Runner.from_cfg`` takes.

    Raises:
        InputError: For a file that is missing or cannot be read, a misspelt key, an option that nothing reads, an
            unknown name, a value of the wrong kind or out of range, a batch that cannot be divided.
    """
    cfg = read_config(path)
    if options:
        _merge_options(cfg, options)
    finish_config(cfg, world_size)
    return cfg


def read_config(path: str | Path) -> Config:
    """Read a config, which :func:`finish_config` then makes ready; its ``dump`` can be the base of others.

    Args:
        path: As for :func:`load_config`.

    Returns:
        What the file says, or an entry of the model index in place of its file.

    Raises:
        InputError: For a file that is missing or cannot be read.
    """
    if not isinstance(path, (str, Path)):
        raise InputError(
            f"found a {type(path).__name__} in the place of a config, expected the path or name of a file: a changed "
            "Config is written to one by its method dump."
        )
    model = find_model(path)
    cfg = read_config_file(model.file)
    if model.overrides:
        _merge_options(cfg, model.overrides)
        # A folder of a run, a published file and messages are named like the entry.
        cfg.__dict__["_filename"] = str(model.file.with_name(f"{model.name}.py"))
    return cfg


def finish_config(cfg: Config, world_size: int = 1) -> None:
    """Import the plug-ins of a config, put the recipe in place and check every key; all that follows its reading.

    Of a config that is finished nothing is changed any more: what was set in it since then stays.

    Args:
        cfg: What the file says, changed in place.
        world_size: Number of processes the global batch is divided over.

    Raises:
        InputError: As by :func:`load_config`.
    """
    compat.install()
    if cfg.__dict__.get(_FINISHED):
        return
    check_settings(cfg)
    import_plugins(cfg)
    _enter_scope(cfg.get("default_scope") or "mmreid_uda")
    gather_clustering(cfg)
    add_required_hooks(cfg)
    check_types(cfg)
    _read_teacher(cfg)
    apply_recipe(cfg, world_size)
    check_components(cfg)
    cfg.__dict__[_FINISHED] = True


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
        InputError: For a key that nothing reads, that a recipe key overwrites, or that cannot be in the config.
    """
    gather_clustering(cfg)  # an option of its recipe keys has the last word
    for key in options:
        top, *below = key.split(".")
        if top not in cfg and top not in known_keys():
            raise InputError(
                f"found the option `{key}`, which nothing reads: expected {_whole_key(key, cfg)}."
            )
        for place, recipe_key in FILLED.items():
            if f"{key}.".startswith(f"{place}.") and names_datasets(cfg):
                raise InputError(
                    f"found the option `{key}`, which `{recipe_key}` would overwrite: set {recipe_key} instead."
                )
        name = cfg.get(top)
        if below and isinstance(name, str) and f"{top}._delete_" not in options:
            raise InputError(
                f"found the option `{key}`, but `{top}` is the name {name!r} and has no keys; give {top}._delete_=True "
                f"{top}.name={name} as well."
            )
    try:
        cfg.merge_from_dict(copy.deepcopy(options))  # merging takes _delete_ out
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


def _read_teacher(cfg: Config) -> None:
    """A teacher that is given by its config (STD) becomes the model of that config."""
    teacher: Any = cfg.model.get("teacher")
    if isinstance(teacher, dict) and "config" in teacher:
        teacher["model"] = load_config(teacher.pop("config")).model
