"""Algorithms: one readable file per paper."""

from .abmt import ABMT
from .base import BaseReID
from .cluster_contrast import ClusterContrast
from .fat import FAT
from .ise import ISE
from .mean_teacher import MeanTeacher
from .mmt import MMT
from .strong_baseline import StrongBaseline
from .supervised import ClusterBaseline, Supervised

__all__ = [
    "ABMT",
    "FAT",
    "ISE",
    "MMT",
    "BaseReID",
    "ClusterBaseline",
    "ClusterContrast",
    "MeanTeacher",
    "StrongBaseline",
    "Supervised",
]
