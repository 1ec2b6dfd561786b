"""DenseNet as image features: torchvision's tensor names, one feature map out."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.registry import MODELS

from .staged import StagedBackbone

__all__ = ["DenseNet"]

# Width of a bottleneck's 1×1 convolution, in growth rates.
_BOTTLENECK = 4


class DenseLayer(nn.Module):
    """BN, ReLU, 1×1, BN, ReLU, 3×3: ``growth`` new channels behind those that come in (Huang et al., CVPR 2017).

    Args:
        inputs: Channels of the input.
        growth: Channels that are added.
    """

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, _BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(_BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add new channels.

        Args:
            x: (B, inputs, H, W).

        Returns:
            (B, inputs + growth, H, W).
        """
        hidden = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(hidden)))], dim=1)


@MODELS.register_module()
class DenseNet(StagedBackbone):
    """DenseNet without classifier: images (B, 3, H, W) to the map of the last block, after BN and ReLU.

    DenseNet-161, which PTL extends, has a stem of 96 channels and blocks that end, after their transitions, in 192,
    384, 1056 and 2208; for an image of 256×128 the maps are 64×32, 32×16, 16×8, 8×4 and 8×4. Tensor names are
    torchvision's (``features.conv0.weight``, ...), also those of its older files.

    Source: Huang et al., "Densely connected convolutional networks", CVPR 2017.

    Args:
        depth: 121, 161, 169 or 201. Defaults to 161.
        frozen_stages: See :class:`StagedBackbone`; stage n is dense block n with its transition. Defaults to -1.
        norm_eval: See :class:`StagedBackbone`. Defaults to False.
        init_cfg: mmengine's initialisation config; without it convolutions start Kaiming-normal.

    Raises:
        InputError: Unknown ``depth``.

    Example:
        >>> backbone = dict(type='DenseNet', depth=161,
        ...                 init_cfg=dict(type='Pretrained', checkpoint='torchvision://densenet161'))
    """

    # Channels of the stem, growth rate, layers of each block.
    arch_settings: dict[int, tuple[int, int, tuple[int, ...]]] = {
        121: (64, 32, (6, 12, 24, 16)),
        161: (96, 48, (6, 12, 36, 24)),
        169: (64, 32, (6, 12, 32, 32)),
        201: (64, 32, (6, 12, 48, 32)),
    }

    def __init__(
        self,
        depth: Literal[121, 161, 169, 201] = 161,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, init_cfg)
        channels, growth, blocks = self.arch_settings[depth]
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for number, layers in enumerate(blocks, 1):
            parts[f"denseblock{number}"] = nn.Sequential(
                OrderedDict(
                    (f"denselayer{layer + 1}", DenseLayer(channels + layer * growth, growth))
                    for layer in range(layers)
                )
            )
            channels += layers * growth
            if number < len(blocks):
                parts[f"transition{number}"] = _transition(channels)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        # torchvision has this one outside, as a call: no tensor of it is in a checkpoint.
        parts["relu5"] = nn.ReLU(inplace=True)
        self.feat_dim = channels
        self.features = nn.Sequential(parts)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        self.freeze()

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """Stem, then the dense blocks with what follows each."""
        parts = dict(self.features.named_children())
        stages: list[list[nn.Module | nn.Parameter]] = [[parts["conv0"], parts["norm0"]]]
        for number in (1, 2, 3):
            stages.append([parts[f"denseblock{number}"], parts[f"transition{number}"]])
        return [*stages, [parts["denseblock4"], parts["norm5"]]]

    def forward(self, x: Tensor) -> Tensor:
        """Map images to the map of the last block.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, feat_dim, H/32, W/32), >= 0.
        """
        return self.features(x)


def _transition(channels: int) -> nn.Module:
    """BN, ReLU, 1×1 to half of the channels, average pooling by two."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
            pool=nn.AvgPool2d(2, stride=2),
        )
    )
