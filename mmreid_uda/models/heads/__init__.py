"""Heads: from features and labels to losses, with the state that takes."""

from .cluster_memory_head import ClusterMemoryHead

__all__ = ["ClusterMemoryHead"]
