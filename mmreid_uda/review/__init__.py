"""Clusters looked at by a person, and corrected: arrays in, arrays and rows of ``links.csv`` out."""

from .acts import ACT_KINDS, Act, ActKind
from .clusters import ClusterTable
from .questions import Question, Rule
from .reclustering import Reclustering
from .review import Review
from .trainings import Comparison, compare_runs, free_folder, next_training

__all__ = [
    "ACT_KINDS",
    "Act",
    "ActKind",
    "ClusterTable",
    "Comparison",
    "Question",
    "Reclustering",
    "Review",
    "Rule",
    "compare_runs",
    "free_folder",
    "next_training",
]
