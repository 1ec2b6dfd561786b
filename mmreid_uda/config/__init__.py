"""Configurations: reading, recipe keys, checks, and which there are."""

from .check import check_components, check_settings, check_types
from .index import Model, config_roots, find_model, model_index
from .load import finish_config, load_config, read_config
from .pretrained import plain_config, read_pretrained_config
from .recipe import apply_recipe, require_tests, test_sets

__all__ = [
    "Model",
    "apply_recipe",
    "check_components",
    "check_settings",
    "check_types",
    "config_roots",
    "find_model",
    "finish_config",
    "load_config",
    "model_index",
    "plain_config",
    "read_config",
    "read_pretrained_config",
    "require_tests",
    "test_sets",
]
