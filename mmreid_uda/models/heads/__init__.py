"""Heads: from features to what losses compare, on the global batch, with the state that takes."""

from .base_head import BaseHead, BranchOutput
from .classifier_head import ClassifierHead
from .cluster_memory_head import ClusterMemoryHead, MemoryOutput
from .fat_head import FATHead
from .ptl_head import PTLHead

__all__ = [
    "BaseHead",
    "BranchOutput",
    "ClassifierHead",
    "ClusterMemoryHead",
    "FATHead",
    "MemoryOutput",
    "PTLHead",
]
