"""Evaluation as functions: arrays in, numbers out."""

from .distance import distance_blocks, prepare_features
from .rank import RankResult, evaluate_rank
from .rerank import rerank

__all__ = ["RankResult", "distance_blocks", "evaluate_rank", "prepare_features", "rerank"]
