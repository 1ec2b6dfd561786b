"""Layers: pooling, and batch normalisation by group or by domain, support samples."""

from .batch_norm import DomainBN, GhostBN, convert_norm, domain_split, set_eval_domain
from .ibn import IBN
from .pooling import GeM, GlobalAvgPool, GlobalMaxPool
from .support_samples import support_samples

__all__ = [
    "IBN",
    "DomainBN",
    "GeM",
    "GhostBN",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "convert_norm",
    "domain_split",
    "set_eval_domain",
    "support_samples",
]
