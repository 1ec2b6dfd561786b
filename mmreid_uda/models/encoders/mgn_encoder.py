"""MGN, the multi-granularity network, with or without PTL's ladder."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn.resnet import make_res_layer
from torch import Tensor, nn

from mmreid_uda.models.backbones import Bottleneck, SideNetwork, fuse_block, record_outputs
from mmreid_uda.models.layers import convert_norm
from mmreid_uda.models.weights import PretrainedModule
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

from .reid_encoder import EncoderOutput

__all__ = ["MGNEncoder"]


@MODELS.register_module()
class MGNEncoder(PretrainedModule):
    """One trunk, three branches of one, two and three stripes, eight vectors in all; PTL adds cells.

    The trunk is the stem, layers 1 and 2 and the first block of layer 3 of a ResNet. Each branch is a copy of the rest:
    the first as it is (stride 2 in layer 4), the second and third with stride 1. Max pooling gives the global feature
    of each branch, then two and three stripes of the second and third. A shared 1×1 convolution with BN and ReLU makes
    each of the eight 2048-d vectors one of ``embed_dim``.

    With ``blocks`` a side path of cells climbs beside the trunk, and one more cell beside each branch (128 channels;
    stride 2 for the first). Their maps are pooled like those of the branches and concatenated before the shared
    convolution: 14,176,768 parameters more in the ladder.

    The shared convolution starts Kaiming-normal by its inputs, the weights of its BN from N(1, 0.02²).

    ``pooled`` holds the three global features, for the triplet loss, ``embedding`` all eight: the global ones of the
    branches, the two stripes, the three stripes.

    Source: Wang et al., "Learning discriminative features with multiple granularities", ACM MM 2018; Yu et al.,
    "Progressive transfer learning for person re-identification", IJCAI 2019, released code.

    Attributes:
        num_branches (int): 8, vectors that are classified each by its own.

    Args:
        backbone: Config of a ``ResNet`` of depth 50, 101 or 152 with ``last_stride=2``, and ``frozen_stages`` up to 2.
        embed_dim: Dimension of each vector. Defaults to 256.
        blocks: PTL's ladder on the trunk, see :class:`~mmreid_uda.models.backbones.SideNetwork`. Defaults to None:
            plain MGN.
        cell: Config of the cells.
        cell_channels: Channels of the branches' cells. Defaults to 128.
        reduce_bias: Give the shared convolution a bias. Defaults to None: with cells, as released; plain MGN has none.
        norm: As for :class:`ReIDEncoder`.
        init_cfg: As for :class:`ReIDEncoder`.

    Raises:
        InputError: The backbone has no bottleneck blocks, its last stride is not 2, or a part of a branch is frozen.

    Example:
        >>> encoder = dict(type='MGNEncoder', backbone=dict(type='ResNet', depth=50, last_stride=2))
    """

    num_branches = 8

    def __init__(
        self,
        backbone: dict[str, Any],
        embed_dim: int = 256,
        blocks: Sequence[Mapping[str, Any]] | None = None,
        cell: Mapping[str, Any] | None = None,
        cell_channels: int = 128,
        reduce_bias: bool | None = None,
        norm: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone: Any = MODELS.build(backbone)
        _check(self.backbone)
        self.branches = nn.ModuleList(self._stride_one() for _ in range(2))
        channels = self.backbone.feat_dim
        self.ladder = None if blocks is None else SideNetwork(self.backbone, blocks, cell)
        self.cells = nn.ModuleList()
        if self.ladder is not None:
            for stride in (2, 1, 1):
                sizes = dict(in_channels=self.ladder.out_channels, out_channels=cell_channels)
                self.cells.append(
                    MODELS.build({"type": "BConvCell", **(cell or {}), **sizes, "stride": stride})
                )
            channels += cell_channels
        has_cells = self.ladder is not None
        self.reduce = fuse_block(
            channels, embed_dim, bias=has_cells if reduce_bias is None else reduce_bias
        )
        nn.init.normal_(self.reduce.get_parameter("1.weight"), mean=1, std=0.02)
        self.feat_dim, self.embed_dim = 3 * embed_dim, 8 * embed_dim
        if norm is not None:
            convert_norm(self, norm)

    def _stride_one(self) -> nn.Module:
        """A copy of the rest of layer 3 and of layer 4 with stride 1."""
        last = make_res_layer(Bottleneck, 1024, 512, len(self.backbone.layer4), stride=1)
        last.load_state_dict(self.backbone.layer4.state_dict())
        return nn.Sequential(copy.deepcopy(self.backbone.layer3[1:]), last)

    def init_weights(self) -> None:
        """Load the backbone, copy it to the other branches, then what is left (an ``init_cfg`` of the whole)."""
        if self.is_init:
            return
        self.backbone.init_weights()
        blocks, last = self.backbone.layer3[1:], self.backbone.layer4
        for branch in self.branches:
            branch.load_state_dict(nn.Sequential(blocks, last).state_dict())
        super().init_weights()

    def forward(self, x: Tensor) -> EncoderOutput:
        """Map images to the vectors of all parts.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            Global features (B, 3·D) and all vectors (B, 8·D), with D the argument ``embed_dim``.
        """
        net = self.backbone
        with record_outputs(net, self.ladder.out_layers if self.ladder is not None else ()) as maps:
            shared = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
            shared = net.layer3[0](shared)
        branches = [
            net.layer4(net.layer3[1:](shared)),
            *(branch(shared) for branch in self.branches),
        ]
        vectors = _pool(branches)
        if self.ladder is not None:
            side = self.ladder(x, maps)
            sides = _pool([cell(side) for cell in self.cells])
            vectors = [torch.cat(pair, dim=1) for pair in zip(vectors, sides)]
        # Vector by vector: batch normalisation is that of each alone.
        vectors = [self.reduce(vector).flatten(1) for vector in vectors]
        return EncoderOutput(
            pooled=torch.cat(vectors[:3], dim=1), embedding=torch.cat(vectors, dim=1)
        )


def _pool(maps: list[Tensor]) -> list[Tensor]:
    """Max pooling of three maps (B, C, H, W): three global vectors, two and three stripes; each (B, C, 1, 1)."""
    vectors = [one.amax((2, 3), keepdim=True) for one in maps]
    for one, number in zip(maps[1:], (2, 3)):
        vectors += [stripe.amax((2, 3), keepdim=True) for stripe in _stripes(one, number)]
    return vectors


def _stripes(x: Tensor, number: int) -> list[Tensor]:
    """Horizontal stripes of a map (B, C, H, W); where H is no multiple of their number, neighbours share a row.

    They are those of adaptive pooling, which itself has no deterministic gradient on a GPU.
    """
    height = x.shape[2]
    return [
        x[:, :, height * place // number : -(-height * (place + 1) // number)]
        for place in range(number)
    ]


def _check(backbone: Any) -> None:
    blocks = getattr(backbone, "layer4", None)
    if blocks is None or not isinstance(blocks[0], Bottleneck):
        raise InputError(
            f"found the backbone {type(backbone).__name__} in an MGNEncoder, expected a ResNet of depth 50, 101 or "
            "152: change encoder.backbone."
        )
    if blocks[0].stride != 2:
        raise InputError(
            f"found a last stride of {blocks[0].stride} in an MGNEncoder, expected 2 in its first branch: set "
            "encoder.backbone.last_stride=2."
        )
    if backbone.frozen_stages > 2:
        raise InputError(
            f"found frozen_stages={backbone.frozen_stages} in an MGNEncoder, expected at most 2, as layers "
            "3 and 4 are branches of which the copies would learn: set encoder.backbone.frozen_stages=2."
        )
