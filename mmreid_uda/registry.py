"""Registries: children of mmengine's, filled lazily from the rooms named in ``locations``."""

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

__all__ = [
    "CLUSTERERS",
    "DATASETS",
    "DATA_SAMPLERS",
    "FUNCTIONS",
    "HOOKS",
    "METRICS",
    "MODELS",
    "OPTIM_WRAPPERS",
    "REFINERS",
    "TRANSFORMS",
]

# Data sets of images, and the wrappers that join domains or test sets.
DATASETS = Registry("dataset", parent=MMENGINE_DATASETS, locations=["mmreid_uda.datasets"])
# Samplers and batch samplers: identity-balanced, several domains.
DATA_SAMPLERS = Registry(
    "data sampler", parent=MMENGINE_DATA_SAMPLERS, locations=["mmreid_uda.datasets.samplers"]
)
# Image transforms of the loading pipeline.
TRANSFORMS = Registry(
    "transform", parent=MMENGINE_TRANSFORMS, locations=["mmreid_uda.datasets.transforms"]
)
# Collate functions.
FUNCTIONS = Registry(
    "function", parent=MMENGINE_FUNCTIONS, locations=["mmreid_uda.datasets.transforms"]
)
# Algorithms, encoders, backbones, necks, heads, memories, losses and the data preprocessor.
MODELS = Registry("model", parent=MMENGINE_MODELS, locations=["mmreid_uda.models"])
# Features in, labels out.
CLUSTERERS = Registry("clusterer", locations=["mmreid_uda.clustering"])
# Labels in, better labels out.
REFINERS = Registry("refiner", locations=["mmreid_uda.clustering"])
# Hooks: clustering, teachers, schedules, consistency.
HOOKS = Registry("hook", parent=MMENGINE_HOOKS, locations=["mmreid_uda.engine"])
# Optimiser wrappers: mixed precision that also runs on the CPU.
OPTIM_WRAPPERS = Registry(
    "optim_wrapper", parent=MMENGINE_OPTIM_WRAPPERS, locations=["mmreid_uda.engine"]
)
# Evaluation metrics.
METRICS = Registry("metric", parent=MMENGINE_METRICS, locations=["mmreid_uda.evaluation"])
