"""Memory banks: what the model remembers of all images between iterations."""

from .base_memory import BaseMemory
from .class_centroids import CENTROID_KINDS, ClassCentroids, class_centroids
from .cluster_memory import ClusterMemory, momentum_update
from .instance_memory import InstanceMemory
from .proxy_memory import ProxyMemory

__all__ = [
    "CENTROID_KINDS",
    "BaseMemory",
    "ClassCentroids",
    "ClusterMemory",
    "InstanceMemory",
    "ProxyMemory",
    "class_centroids",
    "momentum_update",
]
