"""ResNet and IBN-ResNet as re-ID uses them: last stride 1, torchvision's tensor names, one feature map out."""

from __future__ import annotations

from typing import Literal

from mmcv.cnn.resnet import BasicBlock, Bottleneck, make_res_layer
from torch import Tensor, nn

from mmreid_uda.models.layers import IBN
from mmreid_uda.registry import MODELS

from .staged import StagedBackbone

__all__ = ["Bottleneck", "ResNet"]


@MODELS.register_module()
class ResNet(StagedBackbone):
    """ResNet without classifier: images (B, 3, H, W) to the map of the last stage.

    With ``last_stride=1`` an image of 256×128 gives a map of 16×8. Tensor names are torchvision's (``conv1.weight``,
    ``layer1.0.bn1.weight``, ...), which mmpretrain uses too; with ``ibn='a'`` they are those of the public IBN-Net
    checkpoints (``layer1.0.bn1.IN.weight``, ``layer1.0.bn1.BN.weight``).

    Source: He et al., CVPR 2016 (stride in the 3×3 convolution, as torchvision); Luo et al., CVPRW 2019 (last stride);
    Pan et al., ECCV 2018 (IBN-a).

    Args:
        depth: 18, 34, 50, 101 or 152. Defaults to 50.
        last_stride: Stride of ``layer4``, 1 or 2. Defaults to 1.
        stem_relu: Whether a ReLU follows the stem's batch normalisation. The official code of MMT, ABMT, MEB-Net and
            UDA strong baseline leaves it out (ImageNet weights are loaded all the same): set False to repeat it.
            Defaults to True.
        ibn: ``'a'`` replaces the first batch normalisation of every block of ``layer1..3`` by :class:`IBN`; None does
            not. Defaults to None.
        frozen_stages: See :class:`StagedBackbone`. Defaults to -1.
        norm_eval: See :class:`StagedBackbone`. Defaults to False.
        init_cfg: mmengine's initialisation config; without it convolutions start Kaiming-normal (fan-out).

    Raises:
        InputError: Unknown ``depth``, ``last_stride`` or ``ibn``.

    Example:
        >>> backbone = dict(type='ResNet', depth=50,
        ...                 init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
    """

    arch_settings: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        last_stride: Literal[1, 2] = 1,
        stem_relu: bool = True,
        ibn: Literal["a"] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, init_cfg)
        block, blocks = self.arch_settings[depth]
        self.feat_dim = 512 * block.expansion
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True) if stem_relu else nn.Identity()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = 64
        for stage, (count, stride) in enumerate(zip(blocks, (1, 2, 2, last_stride))):
            planes = 64 * 2**stage
            layer = make_res_layer(block, channels, planes, count, stride=stride)
            if ibn == "a" and stage < 3:
                for residual in layer:
                    residual.bn1 = IBN(planes)
            self.add_module(f"layer{stage + 1}", layer)
            channels = planes * block.expansion
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.freeze()

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """Stem, ``layer1`` .. ``layer4``."""
        return [
            [self.conv1, self.bn1],
            *([getattr(self, f"layer{stage}")] for stage in (1, 2, 3, 4)),
        ]

    def trunk(self, x: Tensor) -> Tensor:
        """Map images to the output of ``layer3``, from which several branches may start (ABMT).

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, feat_dim/2, H/16, W/16), >= 0.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer3(self.layer2(self.layer1(x)))

    def last_stage(self) -> nn.Module:
        """The last of the four stages.

        Returns:
            ``layer4``, what follows :meth:`trunk`; shared, not copied.
        """
        return self.layer4

    def forward(self, x: Tensor) -> Tensor:
        """Map images to the map of the last stage.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, feat_dim, H/16, W/16), or /32 with ``last_stride=2``; >= 0.
        """
        return self.last_stage()(self.trunk(x))
