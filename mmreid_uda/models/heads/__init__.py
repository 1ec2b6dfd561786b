"""Heads: from features to what losses compare, on the global batch, with the state that takes."""

from .classifier_head import BranchOutput, ClassifierHead
from .cluster_memory_head import ClusterMemoryHead, MemoryOutput
from .fat_head import FATHead
from .ptl_head import PTLHead

__all__ = [
    "BranchOutput",
    "ClassifierHead",
    "ClusterMemoryHead",
    "FATHead",
    "MemoryOutput",
    "PTLHead",
]
