"""Rendered pedestrians: the dataset that is always at hand."""

from .dataset import RENDERER_VERSION, SyntheticReID, SyntheticSpec, ensure_rendered, is_complete
from .renderer import CROP_SIZE, DomainRenderer, contact_sheet

__all__ = [
    "CROP_SIZE",
    "RENDERER_VERSION",
    "DomainRenderer",
    "SyntheticReID",
    "SyntheticSpec",
    "contact_sheet",
    "ensure_rendered",
    "is_complete",
]
