"""Algorithms: one readable file per paper."""

from .base import BaseReID
from .cluster_contrast import ClusterContrast
from .ise import ISE

__all__ = ["ISE", "BaseReID", "ClusterContrast"]
