"""Backbones: images in, the last feature map out."""

from .densenet import DenseNet
from .ladder import Ladder, LadderBackbone, fuse_block, record_outputs
from .mobilenet_v2 import MobileNetV2
from .resnet import Bottleneck, ResNet
from .staged import StagedBackbone
from .torchvision import TorchvisionBackbone

__all__ = [
    "Bottleneck",
    "DenseNet",
    "Ladder",
    "LadderBackbone",
    "MobileNetV2",
    "ResNet",
    "StagedBackbone",
    "TorchvisionBackbone",
    "fuse_block",
    "record_outputs",
]
