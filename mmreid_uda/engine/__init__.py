"""What drives training: hooks, the extraction path, optimiser wrappers."""

from .extraction import extract_features, unwrap, with_pipeline
from .hooks import (
    ClusterHook,
    ConsistencyHook,
    DiversityHook,
    EMAHook,
    EpochSeedHook,
    EveryTeacherHook,
    OptimizerResetHook,
    ProgressiveLambdaHook,
    ReportHook,
    SourceClassesHook,
)
from .optim import AmpOptimWrapper

__all__ = [
    "AmpOptimWrapper",
    "ClusterHook",
    "ConsistencyHook",
    "DiversityHook",
    "EMAHook",
    "EpochSeedHook",
    "EveryTeacherHook",
    "OptimizerResetHook",
    "ProgressiveLambdaHook",
    "ReportHook",
    "SourceClassesHook",
    "extract_features",
    "unwrap",
    "with_pipeline",
]
