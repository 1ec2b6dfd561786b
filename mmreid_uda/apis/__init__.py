"""The programming interface: configurations, runners, features, search."""

from mmreid_uda.engine import extract_features

from .config import apply_recipe, check_keys, load_config
from .deploy import export_onnx
from .feature_set import (
    FeatureSet,
    add_feature_arguments,
    choose_queries,
    features_of_arguments,
    load_pseudo_labels,
    target_images,
)
from .gallery import Gallery, Match, save_features
from .inferencer import ReIDInferencer, list_inputs
from .launch import build_runner, init_processes, run_tool
from .model import find_config, init_model, model_fingerprint, tested_state
from .trial import random_batch, ready_model

__all__ = [
    "FeatureSet",
    "Gallery",
    "Match",
    "ReIDInferencer",
    "add_feature_arguments",
    "apply_recipe",
    "build_runner",
    "check_keys",
    "choose_queries",
    "export_onnx",
    "extract_features",
    "features_of_arguments",
    "find_config",
    "init_model",
    "init_processes",
    "list_inputs",
    "load_config",
    "load_pseudo_labels",
    "model_fingerprint",
    "random_batch",
    "ready_model",
    "run_tool",
    "save_features",
    "target_images",
    "tested_state",
]
