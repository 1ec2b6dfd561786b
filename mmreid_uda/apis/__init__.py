"""The programming interface: configurations, runners, features, search."""

from mmreid_uda.engine import extract_features

from .arguments import (
    PICTURES,
    ToolParser,
    add_config_options,
    add_feature_arguments,
    add_image_options,
    add_inferencer_arguments,
    add_launcher,
    add_picture_argument,
    at_least,
    features_of_arguments,
    images_of_arguments,
    inferencer_of_arguments,
    number,
    writable,
    writable_folder,
)
from .config import apply_recipe, finish_config, load_config, parse_options, require_tests
from .config_check import check_components, check_settings, check_types
from .deploy import export_onnx
from .feature_set import (
    FeatureSet,
    choose_queries,
    load_pseudo_labels,
    target_images,
)
from .gallery import Gallery, Match, save_features
from .inferencer import ReIDInferencer
from .inputs import find_dataset, list_inputs, name_images
from .launch import (
    build_runner,
    init_processes,
    nothing_to_train,
    num_processes,
    run_command,
    run_tool,
    training_command,
)
from .model import find_config, init_model, load_tested, model_fingerprint, tested_state
from .trial import random_batch, ready_model

__all__ = [
    "PICTURES",
    "FeatureSet",
    "Gallery",
    "Match",
    "ReIDInferencer",
    "ToolParser",
    "add_config_options",
    "add_feature_arguments",
    "add_image_options",
    "add_inferencer_arguments",
    "add_launcher",
    "add_picture_argument",
    "apply_recipe",
    "at_least",
    "build_runner",
    "check_components",
    "check_settings",
    "check_types",
    "choose_queries",
    "export_onnx",
    "extract_features",
    "features_of_arguments",
    "find_config",
    "find_dataset",
    "finish_config",
    "images_of_arguments",
    "inferencer_of_arguments",
    "init_model",
    "init_processes",
    "list_inputs",
    "load_config",
    "load_pseudo_labels",
    "load_tested",
    "model_fingerprint",
    "name_images",
    "nothing_to_train",
    "num_processes",
    "number",
    "parse_options",
    "random_batch",
    "ready_model",
    "require_tests",
    "run_command",
    "run_tool",
    "save_features",
    "target_images",
    "tested_state",
    "training_command",
    "writable",
    "writable_folder",
]
