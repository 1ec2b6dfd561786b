"""The programming interface: configurations, runners, features."""

from mmreid_uda.engine import extract_features

from .config import apply_recipe, check_keys, load_config
from .launch import build_runner, init_processes, run_tool

__all__ = [
    "apply_recipe",
    "build_runner",
    "check_keys",
    "extract_features",
    "init_processes",
    "load_config",
    "run_tool",
]
