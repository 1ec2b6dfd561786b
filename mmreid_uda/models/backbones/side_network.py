"""PTL's ladder: batch-related cells beside a backbone, which is left as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

from ..layers import probe
from ..weights import PretrainedModule

__all__ = ["SideNetwork", "SideNetworkBackbone", "fuse_block", "record_outputs"]


@contextmanager
def record_outputs(module: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Note, inside the block, what named sub-modules give at their first call.

    Args:
        module: A network.
        names: Names of sub-modules, such as ``'layer3'`` or ``'features.13'``.

    Yields:
        Name -> output, filled as the network runs.

    Raises:
        InputError: The network has no sub-module of a name.
    """
    outputs: dict[str, Any] = {}
    handles = []
    try:
        for name in names:
            part = _find(module, name)
            handles.append(part.register_forward_hook(partial(_note, outputs, name)))
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _note(outputs: dict[str, Any], name: str, module: nn.Module, args: Any, output: Any) -> None:
    outputs.setdefault(name, output)


def _find(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError:
        known = [child for child, _ in module.named_children()]
        raise InputError(
            f"{type(module).__name__} has no part {name!r}, expected one such as {', '.join(known[:8])}, or a part of "
            "these: change the out_layer of a block in encoder.backbone.blocks."
        ) from None


def fuse_block(inputs: int, outputs: int, bias: bool = True) -> nn.Module:
    """A 1×1 convolution (Kaiming-normal, fan-in), BN and ReLU.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        bias: Of the convolution. Defaults to True.

    Returns:
        A chain that maps (B, inputs, H, W) to (B, outputs, H, W).
    """
    convolution = nn.Conv2d(inputs, outputs, 1, bias=bias)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_in")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class SideBlock(nn.Module):
    """Cells on the map of the block below, joined with a map of the trunk.

    Args:
        inputs: Channels from below (3 = the image).
        layer_channels: Channels of the trunk's map.
        cells: (channels, stride) of each cell; none = the trunk's map alone.
        fuse: Channels that the 1×1 convolution gives.
        cell: Config of a cell without channels and stride.
    """

    def __init__(
        self,
        inputs: int,
        layer_channels: int,
        cells: Sequence[tuple[int, int]],
        fuse: int,
        cell: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.cells = nn.Sequential()
        for channels, stride in cells:
            self.cells.append(
                MODELS.build(
                    {**cell, "in_channels": inputs, "out_channels": channels, "stride": stride}
                )
            )
            inputs = channels
        self.fuse = fuse_block(layer_channels + inputs if cells else layer_channels, fuse)

    def forward(self, below: Tensor, layer_channels: Tensor) -> Tensor:
        """Run the cells, and mix what they give with the trunk's map.

        Args:
            below: (B, inputs, H, W), the map from below.
            layer_channels: The trunk's map, (B, layer_channels, H', W').

        Returns:
            (B, fuse, H', W').

        Raises:
            InputError: If the maps of cells and trunk differ in size.
        """
        if not len(self.cells):
            return self.fuse(layer_channels)
        side = self.cells(below)
        if side.shape[2:] != layer_channels.shape[2:]:
            raise InputError(
                f"the cells of a block give a map of {tuple(side.shape[2:])}, the trunk's is "
                f"{tuple(layer_channels.shape[2:])}: "
                "change the strides in encoder.backbone.blocks so that they agree."
            )
        return self.fuse(torch.cat([layer_channels, side], dim=1))


class SideNetwork(BaseModule):
    """Cells beside a trunk, from the image upwards (PTL, Yu et al., IJCAI 2019).

    At every block the map from below goes through one or more cells, is concatenated with a map of the trunk and mixed
    by a 1×1 convolution. The trunk sees nothing of it.

    Args:
        trunk: The network beside; its maps are measured with a blank image.
        blocks: From bottom to top ``dict(out_layer=<name of a part of the trunk>, cells=[(channels, stride), ...],
            fuse=<channels>)``. The first block may be without cells and takes the trunk's map alone: so a ladder may
            start anywhere, or have no cell at all.
        cell: Config of the cells. Defaults to ``dict(type='BConvCell')``.

    Attributes:
        out_layers: Names of the trunk's parts.
        out_channels: Channels of the topmost map.

    Raises:
        InputError: There is no block, a further one has no cells, or the trunk has no such part; at a call, if maps
            differ in size.
    """

    def __init__(
        self,
        trunk: nn.Module,
        blocks: Annotated[Sequence[Mapping[str, Any]], MinLen(1)],
        cell: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not all(block.get("cells") for block in blocks[1:]):
            raise InputError(
                "found a block without cells above another, which cuts off what is below; leave out those below it, "
                "or give it cells=[(channels, stride)] in encoder.backbone.blocks."
            )
        self.out_layers = [block["out_layer"] for block in blocks]
        layer_channels = _measure(trunk, self.out_layers)
        self.rungs = ModuleList()
        self.out_channels = 3
        for block in blocks:
            self.rungs.append(
                SideBlock(
                    self.out_channels,
                    layer_channels[block["out_layer"]],
                    block.get("cells", ()),
                    block["fuse"],
                    {"type": "BConvCell", **(cell or {})},
                )
            )
            self.out_channels = block["fuse"]

    def forward(self, x: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """Climb beside the trunk.

        Args:
            x: float (B, 3, H, W), normalised.
            maps: The trunk's, of the same images: name in :attr:`out_layers` -> (B, C, H', W').

        Returns:
            The topmost map, (B, out_channels, H', W').
        """
        for name, block in zip(self.out_layers, self.rungs):
            x = block(x, maps[name])
        return x


def _measure(trunk: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Channels of the trunk's maps, found by a blank image."""
    size: Any = getattr(trunk, "img_size", None) or ()
    with record_outputs(trunk, names) as maps:
        probe(trunk, trunk, *size)
    for name in names:
        if maps[name].dim() != 4:
            raise InputError(
                f"found a tensor {tuple(maps[name].shape)} as the output of {name} in {type(trunk).__name__}, which "
                "gives no map (B, C, H, W) to put cells beside: choose a convolutional trunk, or another out_layer."
            )
    return {name: maps[name].shape[1] for name in names}


@MODELS.register_module()
class SideNetworkBackbone(PretrainedModule):
    """A backbone with PTL's ladder (Yu et al., IJCAI 2019) beside it: images to the topmost map of the ladder.

    The last block normally takes the trunk's last map: its 1×1 convolution then makes the feature. It stands wherever a
    backbone does, in a ``ReIDEncoder`` or in another package's classifier.

    Args:
        trunk: Config of any backbone.
        blocks: See :class:`SideNetwork`.
        cell: See :class:`SideNetwork`.
        init_cfg: As for :class:`PretrainedModule`; the trunk has its own.

    Example:
        >>> backbone = dict(
        ...     type='SideNetworkBackbone', trunk=dict(type='MobileNetV2'), cell=dict(type='BConvCell'),
        ...     blocks=[dict(out_layer='features.3', cells=[(8, 2), (16, 2)], fuse=24),
        ...            dict(out_layer='features.18', cells=[(64, 2), (128, 2)], fuse=512)])
    """

    def __init__(
        self,
        trunk: dict[str, Any],
        blocks: Annotated[Sequence[Mapping[str, Any]], MinLen(1)],
        cell: Mapping[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.trunk: nn.Module = MODELS.build(trunk)
        self.ladder = SideNetwork(self.trunk, blocks, cell)
        self.feat_dim = self.ladder.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Run trunk and ladder.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            The ladder's topmost map, (B, feat_dim, H', W').
        """
        with record_outputs(self.trunk, self.ladder.out_layers) as maps:
            self.trunk(x)
        return self.ladder(x, maps)
