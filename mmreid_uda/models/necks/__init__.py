"""Necks: from the pooled feature ``f`` to the embedding ``b`` that is classified and compared."""

from .bn_neck import BNNeck
from .embedding_neck import EmbeddingNeck

__all__ = ["BNNeck", "EmbeddingNeck"]
