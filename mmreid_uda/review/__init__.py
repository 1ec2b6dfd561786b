"""Clusters looked at by a person, and corrected: arrays in, arrays and rows of ``links.csv`` out."""

from .acts import ACT_KINDS, Act, ActKind
from .clusters import ClusterTable
from .questions import Question, Rule
from .reclustering import Reclustering
from .review import Review

__all__ = [
    "ACT_KINDS",
    "Act",
    "ActKind",
    "ClusterTable",
    "Question",
    "Reclustering",
    "Review",
    "Rule",
]
