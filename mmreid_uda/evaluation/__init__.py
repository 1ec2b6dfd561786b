"""Evaluation: how well a gallery is ranked, as functions and as metrics of mmengine."""

from .functional import (
    FALSE_POSITIVE_RATES,
    RankResult,
    TimePrior,
    VerificationResult,
    distance_blocks,
    evaluate_rank,
    expand_queries,
    joint_score,
    prepare_features,
    rerank,
)
from .metrics import ReIDMetric

__all__ = [
    "FALSE_POSITIVE_RATES",
    "RankResult",
    "ReIDMetric",
    "TimePrior",
    "VerificationResult",
    "distance_blocks",
    "evaluate_rank",
    "expand_queries",
    "joint_score",
    "prepare_features",
    "rerank",
]
