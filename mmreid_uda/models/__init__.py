"""Models: encoders with their parts, heads, losses, memories and the algorithms that compose them."""

from . import (
    algorithms,
    backbones,
    data_preprocessor,
    encoders,
    heads,
    layers,
    losses,
    memories,
    necks,
)
from .data_preprocessor import ReIDDataPreprocessor
from .teacher import EMATeacher, ReIDNetwork

__all__ = [
    "EMATeacher",
    "ReIDDataPreprocessor",
    "ReIDNetwork",
    "algorithms",
    "backbones",
    "data_preprocessor",
    "encoders",
    "heads",
    "layers",
    "losses",
    "memories",
    "necks",
]
