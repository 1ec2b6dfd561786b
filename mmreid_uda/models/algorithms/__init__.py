"""Algorithms: one readable file per paper."""

from .abmt import ABMT
from .base import BaseReID
from .cluster_contrast import ClusterContrast
from .fat import FAT
from .image_classifier import ImageClassifier
from .ise import ISE
from .mean_teacher import MeanTeacher, MeanTeacherOutput, mean_distance
from .mmt import MMT
from .ptl import PTL, PTLBaseline
from .std import STD, DistilledOutput, STDClassifier
from .strong_baseline import StrongBaseline
from .supervised import ClusterBaseline, Supervised

__all__ = [
    "ABMT",
    "FAT",
    "ISE",
    "MMT",
    "PTL",
    "STD",
    "BaseReID",
    "ClusterBaseline",
    "ClusterContrast",
    "DistilledOutput",
    "ImageClassifier",
    "MeanTeacher",
    "MeanTeacherOutput",
    "PTLBaseline",
    "STDClassifier",
    "StrongBaseline",
    "Supervised",
    "mean_distance",
]
