"""The programming interface: configurations, runners, features, search."""

from mmreid_uda.engine import extract_features

from .config import apply_recipe, check_keys, load_config
from .gallery import Gallery, Match, save_features
from .inferencer import ReIDInferencer, list_inputs
from .launch import build_runner, init_processes, run_tool
from .trial import random_batch, ready_model
from .model import find_config, init_model, model_fingerprint, tested_state

__all__ = [
    "Gallery",
    "Match",
    "ReIDInferencer",
    "apply_recipe",
    "build_runner",
    "check_keys",
    "extract_features",
    "find_config",
    "init_model",
    "init_processes",
    "list_inputs",
    "load_config",
    "random_batch",
    "ready_model",
    "model_fingerprint",
    "run_tool",
    "save_features",
    "tested_state",
]
