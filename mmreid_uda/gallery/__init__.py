"""Galleries that live: items with features are added, found, told who they are, and deleted."""

from .calibration import calibrate
from .file_gallery import FileGallery, require_npz, save_features
from .filters import Filter
from .gallery import Gallery, Match
from .items import Items, Sightings, content_id, name_ids, require_same_length
from .opening import export_items, import_items, open_gallery
from .settings import GallerySettings, Threshold
from .store import require_same_model
from .upkeep import expire, forget, too_old

__all__ = [
    "FileGallery",
    "Filter",
    "Gallery",
    "GallerySettings",
    "Items",
    "Match",
    "Sightings",
    "Threshold",
    "calibrate",
    "content_id",
    "expire",
    "export_items",
    "forget",
    "import_items",
    "name_ids",
    "open_gallery",
    "require_npz",
    "require_same_length",
    "require_same_model",
    "save_features",
    "too_old",
]
