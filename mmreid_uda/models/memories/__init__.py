"""Memory banks: what the model remembers of all images between iterations."""

from .cluster_memory import ClusterMemory
from .instance_memory import InstanceMemory

__all__ = ["ClusterMemory", "InstanceMemory"]
