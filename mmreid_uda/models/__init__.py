"""Models: encoders with their parts, heads, losses, memories and the algorithms that compose them."""

from . import backbones, layers, necks
from .encoder import EncoderOutput, ReIDEncoder

__all__ = ["EncoderOutput", "ReIDEncoder", "backbones", "layers", "necks"]
