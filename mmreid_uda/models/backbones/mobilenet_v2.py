"""MobileNetV2: the small backbone, with torchvision's tensor names."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils.values import Positive

from .staged import StagedBackbone

__all__ = ["MobileNetV2"]

# Expansion, channels, blocks, stride of each stage: table 2 of the paper.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

# First entry of ``features`` of the 160-channel stage, whose stride is ``last_stride``.
_LAST_STAGE = 14


def _divisible(channels: float) -> int:
    """Nearest multiple of 8, at least 8, and not less than 90 % of ``channels``."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand (1×1), filter each channel (3×3), project (1×1, linear); identity skip where the shape stays.

    Source: Sandler et al., CVPR 2018.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        stride: Stride of the 3×3 filter.
        expansion: Factor of the inner width; 1 leaves out the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [_conv_bn(inputs, hidden, 1)] if expansion > 1 else []
        layers += [
            _conv_bn(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Expand, filter and project.

        Args:
            x: (B, inputs, H, W).

        Returns:
            (B, outputs, H/stride, W/stride).
        """
        return x + self.conv(x) if self.skip else self.conv(x)


@MODELS.register_module()
class MobileNetV2(StagedBackbone):
    """MobileNetV2 without classifier: images (B, 3, H, W) to a map of 1280 channels.

    Source: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018. Tensor names are those
    of torchvision's ``mobilenet_v2`` (``features.0.0.weight``, ...): 312 tensors, 2,223,872 parameters.

    Args:
        width_mult: Factor of all widths; the last layer keeps at least 1280 channels. Defaults to 1.0.
        last_stride: Stride of the 160-channel stage: 1 gives H/16, 2 the original H/32. Defaults to 1.
        frozen_stages: See :class:`StagedBackbone`; a stage is one entry of ``features``. Defaults to -1.
        norm_eval: See :class:`StagedBackbone`. Defaults to False.
        init_cfg: mmengine's initialisation config.

    Raises:
        InputError: ``last_stride`` is neither 1 nor 2.

    Example:
        >>> backbone = dict(type='MobileNetV2',
        ...                 init_cfg=dict(type='Pretrained', checkpoint='bundled://mobilenet_v2'))
    """

    def __init__(
        self,
        width_mult: Positive = 1.0,
        last_stride: Literal[1, 2] = 1,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, init_cfg)
        channels = _divisible(32 * width_mult)
        layers: list[nn.Module] = [_conv_bn(3, channels, 3, stride=2)]
        for stage, (expansion, width, blocks, stride) in enumerate(_STAGES):
            outputs = _divisible(width * width_mult)
            first = last_stride if stage == 5 else stride
            for block in range(blocks):
                layers.append(InvertedResidual(channels, outputs, 1 if block else first, expansion))
                channels = outputs
        self.feat_dim = _divisible(1280 * max(1.0, width_mult))
        layers.append(_conv_bn(channels, self.feat_dim, 1))
        self.features = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self.freeze()

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """The 19 entries of ``features``."""
        return [[layer] for layer in self.features]

    def trunk(self, x: Tensor) -> Tensor:
        """Map images to the output of the 96-channel stage, from which several branches may start.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, 96, H/16, W/16) for ``width_mult=1``.
        """
        return self.features[:_LAST_STAGE](x)

    def last_stage(self) -> nn.Module:
        """The stages of 160 and 320 channels and the last convolution.

        Returns:
            What follows :meth:`trunk`; shared, not copied.
        """
        return self.features[_LAST_STAGE:]

    def forward(self, x: Tensor) -> Tensor:
        """Map images to the map of the last convolution.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, feat_dim, H/16, W/16), or /32 with ``last_stride=2``; in 0..6.
        """
        return self.features(x)
