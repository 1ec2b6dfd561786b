"""Encoders: images in, features before and after the neck out."""

from .branch_encoder import AsymmetricBranchEncoder
from .mgn_encoder import MGNEncoder
from .reid_encoder import EncoderOutput, ReIDEncoder

__all__ = ["AsymmetricBranchEncoder", "EncoderOutput", "MGNEncoder", "ReIDEncoder"]
