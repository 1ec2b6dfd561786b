"""Backbones: images in, the last feature map out."""

from .densenet import DenseNet
from .mobilenet_v2 import MobileNetV2
from .resnet import Bottleneck, ResNet
from .side_network import SideNetwork, SideNetworkBackbone, fuse_block, record_outputs
from .staged import StagedBackbone
from .torchvision import TorchvisionBackbone

__all__ = [
    "Bottleneck",
    "DenseNet",
    "MobileNetV2",
    "ResNet",
    "SideNetwork",
    "SideNetworkBackbone",
    "StagedBackbone",
    "TorchvisionBackbone",
    "fuse_block",
    "record_outputs",
]
