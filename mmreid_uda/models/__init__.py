"""Models: encoders with their parts, heads, losses, memories and the algorithms that compose them."""

from . import algorithms, backbones, data_preprocessor, heads, layers, losses, memories, necks
from .branch_encoder import AsymmetricBranchEncoder
from .data_preprocessor import ReIDDataPreprocessor
from .encoder import EncoderOutput, ReIDEncoder
from .mgn_encoder import MGNEncoder
from .teacher import EMATeacher, ReIDNetwork

__all__ = [
    "AsymmetricBranchEncoder",
    "EMATeacher",
    "EncoderOutput",
    "MGNEncoder",
    "ReIDDataPreprocessor",
    "ReIDEncoder",
    "ReIDNetwork",
    "algorithms",
    "backbones",
    "data_preprocessor",
    "heads",
    "layers",
    "losses",
    "memories",
    "necks",
]
