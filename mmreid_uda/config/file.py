"""Config files and the plug-ins they import: what is wrong with one becomes a sentence that names file and line."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmreid_uda.utils import InputError, place_of
from mmreid_uda.utils.files import repository

__all__ = ["import_plugins", "read_config_file"]

_ENDINGS = (".py", ".json", ".yaml", ".yml")


def read_config_file(path: str | Path) -> Config:
    """Read a config file and its bases; nothing that it names is imported yet.

    Args:
        path: Of the file, which ends in ``.py``, ``.json``, ``.yaml`` or ``.yml``.

    Returns:
        The config, its bases merged; neither recipe nor checks are applied.

    Raises:
        InputError: There is no such file, or it is no config: naming the file, the line where it is known, and the
            cause.
    """
    if not isinstance(path, (str, Path)):
        raise InputError(f"found {path!r} in the place of a config file, expected its path.")
    path = Path(path)
    if path.is_dir():
        raise InputError(
            f"found a folder {str(path)!r}, expected a config file, such as those in it."
        )
    if not path.is_file():
        raise InputError(
            f"found no config file {str(path)!r}; see the folder configs/ for those there are."
        )
    if path.suffix not in _ENDINGS:
        raise InputError(
            f"found the config {str(path)!r}, expected a file that ends in {', '.join(_ENDINGS)}; rename it."
        )
    try:
        cfg = Config.fromfile(str(path), import_custom_modules=False)
    except (Exception, SystemExit) as error:  # a config is a program, which can fail in any way
        raise InputError(f"the config {str(path)!r} {_reason(error, path)}") from error
    if not len(cfg):
        raise InputError(
            f"the config {str(path)!r} is empty, expected what differs from a base: name that in `_base_`."
        )
    return cfg


def _reason(error: BaseException, path: Path) -> str:
    """The end of the sentence about a config that cannot be read."""
    text = str(error.args[0] if error.args else error).strip().rstrip(".")
    if isinstance(error, RecursionError):
        return "is its own base, by one of the files it names in _base_; correct _base_."
    if isinstance(error, SyntaxError):
        # mmengine reads a copy of the file when it finds the error in a base.
        return (
            f"or one of its bases is not Python: {error.msg} in line {error.lineno} ({(error.text or '').strip()!r}); "
            "correct that line."
        )
    if isinstance(error, FileNotFoundError):
        return (
            f"has a _base_ that does not exist ({error.filename or error}); correct the path, which is relative to "
            "the file that names it."
        )
    if isinstance(error, UnicodeDecodeError):
        return f"or one of its bases is no text in UTF-8 ({error.reason}); save it again in that encoding."
    if isinstance(error, json.JSONDecodeError):
        return f"or one of its bases is no JSON: {error}; correct that place."
    if type(error).__module__.startswith("yaml"):
        return (
            f"or one of its bases is no YAML: {' '.join(str(error).split())}; correct that place."
        )
    if "Duplicate key" in text:
        keys = text.rpartition("{")[2].rstrip("}").replace("'", "`")
        return f"has two bases that both set {keys}; set it in one of them, or make one the _base_ of the other."
    if "_delete_=True" in text:
        return (
            "puts a dict where its base has a value of another type, such as a name in `target`; add _delete_=True to "
            "that dict."
        )
    # A line of a config is run under the config's name; what else fails is about _base_ and {{ }}.
    place = place_of(error)
    if place.partition(":")[0].endswith(_ENDINGS) and os.path.dirname(__file__) not in place:
        return f"fails: {type(error).__name__}: {text} ({place}); correct that line."
    cause = f"{type(error).__name__}: {text}"
    return (
        f"cannot be read ({cause}); correct its _base_, and what it takes from that by {{{{ }}}}."
    )


def import_plugins(cfg: Config) -> None:
    """Import the modules of ``custom_imports``, whose classes the config names.

    Args:
        cfg: A config, with ``custom_imports`` or without.

    Raises:
        InputError: One cannot be imported: naming the cause, and the line of the plug-in that fails.
    """
    # Modules such as projects.mypaper are found from the working folder, as by `python -m`; ours from anywhere.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if str(repository()) not in sys.path:
        sys.path.append(str(repository()))
    plugins: Any = cfg.get("custom_imports") or {}
    names = plugins.get("imports") or []
    for name in [names] if isinstance(names, str) else names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a plug-in can fail in any way
            if plugins.get("allow_failed_imports") and isinstance(error, ImportError):
                continue
            raise InputError(_plugin_reason(name, error)) from error


def _plugin_reason(name: str, error: BaseException) -> str:
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing and f"{name}.".startswith(f"{missing}."):
        return (
            f"custom_imports names the module {name!r}, and there is no {missing!r}, neither in the working folder "
            f"{os.getcwd()!r} nor installed; correct custom_imports, or add the folder that holds it to PYTHONPATH."
        )
    cause = f"{type(error).__name__}: {error}"
    if place_of(error).startswith(os.path.dirname(__file__)):
        return f"found {name!r} in custom_imports, expected the name of a module ({cause}); correct it."
    return f"the module {name!r} of custom_imports fails at {place_of(error)} ({cause}); mend that line."
