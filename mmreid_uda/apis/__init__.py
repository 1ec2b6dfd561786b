"""The programming interface: configurations, runners, features, search."""

from mmreid_uda.engine import extract_features

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
from .model import find_config, init_model, load_tested, model_fingerprint, tested_state

__all__ = [
    "FeatureSet",
    "Gallery",
    "Match",
    "ReIDInferencer",
    "choose_queries",
    "export_onnx",
    "extract_features",
    "find_config",
    "find_dataset",
    "init_model",
    "list_inputs",
    "load_pseudo_labels",
    "load_tested",
    "model_fingerprint",
    "name_images",
    "save_features",
    "target_images",
    "tested_state",
]
