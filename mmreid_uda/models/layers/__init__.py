"""Layers: pooling, and batch normalisation by group or by domain, support samples, cells with a latent state."""

from .batch_norm import DomainBN, GhostBN, convert_norm, domain_split
from .bconv_cell import BConvCell, BConvCellV2, latent_cells
from .ibn import IBN
from .pooling import GeM, GlobalAvgPool, GlobalMaxPool
from .probe import probe
from .resizing import (
    ResizingBuffers,
    ResizingRows,
    keep_active_rows,
    resizing_names,
    row_parameters,
)
from .support_samples import support_samples

__all__ = [
    "IBN",
    "BConvCell",
    "BConvCellV2",
    "DomainBN",
    "GeM",
    "GhostBN",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "ResizingBuffers",
    "ResizingRows",
    "convert_norm",
    "domain_split",
    "keep_active_rows",
    "latent_cells",
    "probe",
    "resizing_names",
    "row_parameters",
    "support_samples",
]
