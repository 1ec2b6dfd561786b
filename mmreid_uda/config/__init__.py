"""Configurations: reading, recipe keys, checks."""

from .check import (
    check_components,
    check_settings,
    check_types,
)
from .recipe import (
    apply_recipe,
    finish_config,
    load_config,
    require_tests,
)

__all__ = [
    "apply_recipe",
    "check_components",
    "check_settings",
    "check_types",
    "finish_config",
    "load_config",
    "require_tests",
]
