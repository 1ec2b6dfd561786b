"""Metrics that mmengine's loops call."""

from .accuracy import Accuracy
from .reid_metric import ReIDMetric

__all__ = ["Accuracy", "ReIDMetric"]
