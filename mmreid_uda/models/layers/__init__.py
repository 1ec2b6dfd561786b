"""Layers: pooling, batch normalisation by group or domain, support samples, cells with a latent state, cameras."""

from .batch_norm import DomainBN, GhostBN, convert_norm, domain_split
from .bconv_cell import BConvCell, BConvCellV2, latent_cells
from .camera_embedding import CameraEmbedding, cameras_of
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
    "CameraEmbedding",
    "DomainBN",
    "GeM",
    "GhostBN",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "ResizingBuffers",
    "ResizingRows",
    "cameras_of",
    "convert_norm",
    "domain_split",
    "keep_active_rows",
    "latent_cells",
    "probe",
    "resizing_names",
    "row_parameters",
    "support_samples",
]
