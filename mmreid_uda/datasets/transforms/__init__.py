"""Image transforms: from a file to a uint8 batch; normalisation and erasing follow on the device."""

from .erasing import RandomErasingBox
from .filming import RandomCamera
from .formatting import PackReIDInputs, reid_collate
from .geometry import PadRandomCrop, RandomCrop, RandomHorizontalFlip
from .loading import LoadReIDImage, decode_image
from .resizing import Resize
from .views import MultiView

__all__ = [
    "LoadReIDImage",
    "MultiView",
    "PackReIDInputs",
    "PadRandomCrop",
    "RandomCamera",
    "RandomCrop",
    "RandomErasingBox",
    "RandomHorizontalFlip",
    "Resize",
    "decode_image",
    "reid_collate",
]
