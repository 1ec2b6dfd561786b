"""Rendered pedestrians: the dataset that is always at hand."""

from .cache import RENDERER_VERSION, ensure_rendered, is_complete
from .dataset import SyntheticReID, SyntheticSpec
from .renderer import CROP_SIZE, DomainRenderer, contact_sheet
from .video import Video, VideoSpec, write_sequence
from .video_dataset import SyntheticVideo, SyntheticVideoSpec

__all__ = [
    "CROP_SIZE",
    "RENDERER_VERSION",
    "DomainRenderer",
    "SyntheticReID",
    "SyntheticSpec",
    "SyntheticVideo",
    "SyntheticVideoSpec",
    "Video",
    "VideoSpec",
    "contact_sheet",
    "ensure_rendered",
    "is_complete",
    "write_sequence",
]
