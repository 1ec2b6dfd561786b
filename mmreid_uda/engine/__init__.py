"""What drives training: hooks, the extraction path, optimiser wrappers."""

from . import hooks
from .extraction import extract_features, unwrap, with_pipeline
from .optim import AmpOptimWrapper

__all__ = ["AmpOptimWrapper", "extract_features", "hooks", "unwrap", "with_pipeline"]
