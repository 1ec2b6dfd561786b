"""Backbones: images in, the last feature map or vectors out."""

from .mobilenet_v2 import MobileNetV2
from .resnet import Bottleneck, ResNet
from .side_network import SideNetwork, SideNetworkBackbone, fuse_block, record_outputs
from .staged import StagedBackbone
from .timm import TimmBackbone
from .vit import ReIDViT

__all__ = [
    "Bottleneck",
    "MobileNetV2",
    "ReIDViT",
    "ResNet",
    "SideNetwork",
    "SideNetworkBackbone",
    "StagedBackbone",
    "TimmBackbone",
    "fuse_block",
    "record_outputs",
]
