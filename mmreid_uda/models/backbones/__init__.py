"""Backbones: images in, the last feature map or vectors out."""

from .densenet import DenseNet
from .mobilenet_v2 import MobileNetV2
from .resnet import Bottleneck, ResNet
from .side_network import SideNetwork, SideNetworkBackbone, fuse_block, record_outputs
from .staged import StagedBackbone
from .timm import TimmBackbone
from .torchvision import TorchvisionBackbone
from .vit import ReIDViT

__all__ = [
    "Bottleneck",
    "DenseNet",
    "MobileNetV2",
    "ReIDViT",
    "ResNet",
    "SideNetwork",
    "SideNetworkBackbone",
    "StagedBackbone",
    "TimmBackbone",
    "TorchvisionBackbone",
    "fuse_block",
    "record_outputs",
]
