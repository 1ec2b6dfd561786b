"""Packages that only some features need."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import InputError

__all__ = ["import_package"]


def import_package(name: str, needed_by: str, install: str, otherwise: str = "") -> Any:
    """Import a package that is not among the ones every installation has.

    Args:
        name: Of the module.
        needed_by: What needs it, such as ``'--verify'``.
        install: What pip is told to install, such as ``'mmreid_uda[deploy]'``.
        otherwise: What can be done without it, such as ``'leave --verify out'``.

    Returns:
        The module.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        # A package that is there, but lacks one of its own, names that one.
        package = (error.name or name).partition(".")[0]
        hint = f", or {otherwise}" if otherwise else ""
        raise InputError(
            f"found no package `{package}`, which {needed_by} needs: run `pip install {install}`{hint}."
        ) from error
