"""What drives training: hooks, the extraction path, optimiser wrappers."""

from .extraction import extract_features, unwrap, with_pipeline
from .hooks import ClusterHook, ConsistencyHook, EpochSeedHook, ProgressiveLambdaHook, ReportHook
from .optim import AmpOptimWrapper

__all__ = [
    "AmpOptimWrapper",
    "ClusterHook",
    "ConsistencyHook",
    "EpochSeedHook",
    "ProgressiveLambdaHook",
    "ReportHook",
    "extract_features",
    "unwrap",
    "with_pipeline",
]
