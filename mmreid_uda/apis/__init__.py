"""The programming interface of a trained model: features, comparison, search, export."""

from mmreid_uda.engine import extract_features
from mmreid_uda.gallery import Gallery, Match, Sightings, open_gallery, save_features

from .deploy import export_onnx
from .feature_set import FeatureSet, load_pseudo_labels
from .inferencer import ReIDInferencer
from .inputs import list_inputs
from .model import init_model, model_fingerprint

__all__ = [
    "FeatureSet",
    "Gallery",
    "Match",
    "ReIDInferencer",
    "Sightings",
    "export_onnx",
    "extract_features",
    "init_model",
    "list_inputs",
    "load_pseudo_labels",
    "model_fingerprint",
    "open_gallery",
    "save_features",
]
