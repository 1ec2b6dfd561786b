"""Backbones: images in, the last feature map out."""

from .mobilenet_v2 import MobileNetV2
from .pretrained import LoadReport, PretrainedModule, load_pretrained
from .released_names import rename_released
from .resnet import Bottleneck, ResNet
from .staged import StagedBackbone
from .torchvision import TorchvisionBackbone

__all__ = [
    "Bottleneck",
    "LoadReport",
    "MobileNetV2",
    "PretrainedModule",
    "ResNet",
    "StagedBackbone",
    "TorchvisionBackbone",
    "load_pretrained",
    "rename_released",
]
