"""The config of a folder of weights: plain values in JSON, of which nothing is run but registered classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmreid_uda import compat
from mmreid_uda.registry import MODELS, TRANSFORMS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import PRETRAINED_FILES, is_pretrained, read_json
from mmreid_uda.utils.values import shortened

__all__ = ["plain_config", "read_pretrained_config"]

_SCOPE = "mmreid_uda."
# Where in config.json the two parts of a config lie that features depend on.
_KEY, _PARTS = "mmreid_uda", ("model", "test_pipeline")


def plain_config(cfg: Config) -> dict[str, Any]:
    """What features depend on, in plain values: network and test pipeline, without where the training started from.

    Args:
        cfg: A config of :func:`load_config`.

    Returns:
        ``model`` and ``test_pipeline``, and ``imports``, the modules that registered their classes beside this package.

    Raises:
        InputError: There are values that JSON does not know, or classes that are named by their module.
    """
    plain = {part: _plain(part, cfg[part]) for part in _PARTS}
    for where, kind in _types("", plain):
        if "." in kind:
            raise InputError(
                f"found type={kind!r} in {where}, expected a registered name without a package, which a folder of "
                "weights can be read by: take --to onnx."
            )
    plugins = (cfg.get("custom_imports") or {}).get("imports") or []
    plugins = [plugins] if isinstance(plugins, str) else list(plugins)
    return {**plain, "imports": [one for one in plugins if not one.startswith(_SCOPE)]}


def _plain(where: str, node: Any) -> Any:
    """A copy in values of JSON: of names only those of this package lose their scope, of dicts ``init_cfg`` goes."""
    if isinstance(node, dict):
        values = {
            key: _plain(f"{where}.{key}", value) for key, value in node.items() if key != "init_cfg"
        }
        if isinstance(values.get("type"), str):
            values["type"] = values["type"].removeprefix(_SCOPE)
        return values
    if isinstance(node, (list, tuple)):
        return [_plain(f"{where}.{place}", value) for place, value in enumerate(node)]
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise InputError(
        f"found {shortened(node)} as {where}, expected a number, a text or a list, which JSON can hold: name classes "
        "by text."
    )


def _types(where: str, node: Any) -> Iterator[tuple[str, str]]:
    """Where classes are named, and their names."""
    items: Any = node.items() if isinstance(node, dict) else ()
    if isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        if key == "type":
            yield where, str(value)
        else:
            yield from _types(f"{where}.{key}" if where else str(key), value)


def read_pretrained_config(folder: str | Path) -> Config:
    """Read the config of a folder that ``mmreid export --to pretrained`` has written. Nothing is imported for it.

    Args:
        folder: With ``config.json`` and ``model.safetensors``.

    Returns:
        A config with ``model`` and ``test_pipeline``; ``fingerprint`` is that of the weights.

    Raises:
        InputError: It is no such folder, is of another library, is damaged, or names a class that is not registered.
    """
    if not is_pretrained(folder):
        raise InputError(_refusal(folder))
    path = Path(folder, PRETRAINED_FILES[0])
    content = read_json(path)
    plain = content.get(_KEY)
    parts = plain if isinstance(plain, dict) else {}
    kinds = [isinstance(parts.get(part), kind) for part, kind in zip(_PARTS, (dict, list))]
    if not all(kinds) or not isinstance(content.get("fingerprint"), str):
        raise InputError(
            f"'{path}' describes no model of this package (model_type {content.get('model_type')!r}), expected what "
            "`mmreid export --to pretrained` writes: name a folder of it."
        )
    compat.install()
    init_default_scope("mmreid_uda")
    read = {part: _read(parts[part]) for part in _PARTS}
    for where, kind in _types("", read):
        if "." in kind or all(one.find(kind) is None for one in (MODELS, TRANSFORMS)):
            needed = ", ".join(map(str, parts.get("imports") or [])) or "the package that has it"
            raise InputError(
                f"found type={kind!r} in {where} of '{path}', expected a registered class: import {needed} before, if "
                "you trust it, since nothing is imported because a file says so; or give the config that was exported, "
                "and this folder as its checkpoint."
            )
    cfg = Config(
        dict(
            read,
            fingerprint=content["fingerprint"],
            data_root="data",
        )
    )
    cfg.__dict__["_filename"] = f"{content.get('config_name') or Path(folder).name}.py"
    return cfg


def _read(node: Any) -> Any:
    """Lists of numbers as tuples, which JSON does not have, and without any ``init_cfg``, which would read files."""
    if isinstance(node, dict):
        return {key: _read(value) for key, value in node.items() if key != "init_cfg"}
    if isinstance(node, list):
        numbers = node and all(isinstance(one, (int, float)) for one in node)
        return tuple(node) if numbers else [_read(one) for one in node]
    return node


def _refusal(folder: str | Path) -> str:
    """Why a place is no folder of weights, and what to do."""
    path, files = Path(folder), " and ".join(PRETRAINED_FILES)
    written = "as `mmreid export --to pretrained` writes it"
    if path.is_dir():
        missing = [name for name in PRETRAINED_FILES if not (path / name).is_file()]
        return (
            f"the folder '{folder}' lacks {' and '.join(missing)}, expected one with {files}, {written}: name such a "
            "folder."
        )
    if not path.is_absolute() and len(path.parts) == 2 and not path.exists():
        return (
            f"found no folder '{folder}'; if that is a model of a hub, nothing is downloaded here: fetch it before, "
            f"such as by `hf download {folder} --local-dir {path.name}`, and name its folder."
        )
    return f"found no folder '{folder}', expected one with {files}, {written}: correct the path."
