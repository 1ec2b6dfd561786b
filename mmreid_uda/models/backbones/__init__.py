"""Backbones: images in, the last feature map out."""

from .densenet import DenseNet
from .ladder import Ladder, LadderBackbone, fuse_block, record_outputs
from .mobilenet_v2 import MobileNetV2
from .pretrained import (
    LoadReport,
    PretrainedModule,
    fill_complete,
    find_state_dict,
    load_complete,
    load_pretrained,
)
from .released_names import rename_released
from .resnet import Bottleneck, ResNet
from .staged import StagedBackbone
from .torchvision import TorchvisionBackbone

__all__ = [
    "Bottleneck",
    "DenseNet",
    "Ladder",
    "LadderBackbone",
    "LoadReport",
    "MobileNetV2",
    "PretrainedModule",
    "ResNet",
    "StagedBackbone",
    "TorchvisionBackbone",
    "fill_complete",
    "find_state_dict",
    "fuse_block",
    "load_complete",
    "load_pretrained",
    "record_outputs",
    "rename_released",
]
