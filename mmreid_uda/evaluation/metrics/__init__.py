"""Metrics that mmengine's loops call."""

from .reid_metric import ReIDMetric

__all__ = ["ReIDMetric"]
