"""Models: encoders with their parts, heads, losses, memories and the algorithms that compose them."""

from . import algorithms, backbones, data_preprocessor, heads, layers, losses, memories, necks
from .data_preprocessor import ReIDDataPreprocessor
from .encoder import EncoderOutput, ReIDEncoder

__all__ = [
    "EncoderOutput",
    "ReIDDataPreprocessor",
    "ReIDEncoder",
    "algorithms",
    "backbones",
    "data_preprocessor",
    "heads",
    "layers",
    "losses",
    "memories",
    "necks",
]
