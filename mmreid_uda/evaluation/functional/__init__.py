"""Evaluation as functions: arrays in, numbers out."""

from .distance import distance_blocks, prepare_features
from .query_expansion import expand_queries
from .rank import RankResult, evaluate_rank
from .rerank import rerank
from .roc import FALSE_POSITIVE_RATES, VerificationResult
from .time_prior import TimePrior, joint_score

__all__ = [
    "FALSE_POSITIVE_RATES",
    "RankResult",
    "TimePrior",
    "VerificationResult",
    "distance_blocks",
    "evaluate_rank",
    "expand_queries",
    "joint_score",
    "prepare_features",
    "rerank",
]
