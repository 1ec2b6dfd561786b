"""Evaluation: how well a gallery is ranked, as functions and as metrics of mmengine."""

from .functional import RankResult, distance_blocks, evaluate_rank, prepare_features, rerank
from .metrics import ReIDMetric

__all__ = [
    "RankResult",
    "ReIDMetric",
    "distance_blocks",
    "evaluate_rank",
    "prepare_features",
    "rerank",
]
