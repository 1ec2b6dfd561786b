"""What the backbones of this package share: stages that can be frozen, and normalisation kept in eval mode."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..weights import PretrainedModule

__all__ = ["StagedBackbone"]

Self = TypeVar("Self", bound="StagedBackbone")


class StagedBackbone(PretrainedModule):
    """A backbone made of stages; it gives the last feature map (B, ``feat_dim``, H', W').

    Args:
        frozen_stages: -1 = nothing is frozen, 0 = the stem, n = the stem and the first n stages. A frozen stage has no
            gradient and stays in eval mode. Defaults to -1.
        norm_eval: Whether all batch normalisations keep their running statistics in train mode. Defaults to False.
        init_cfg: mmengine's initialisation config; ``dict(type='Pretrained', checkpoint=...)`` strips prefixes.
    """

    feat_dim: int

    def __init__(
        self,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """Modules, and parameters of none, of the stem, of stage 1, of stage 2, ...

        Returns:
            A list for each stage, the stem's first.
        """
        raise NotImplementedError

    def frozen_modules(self) -> list[nn.Module | nn.Parameter]:
        """What ``frozen_stages`` freezes.

        Returns:
            Modules, and parameters of none; nothing with ``frozen_stages=-1``.
        """
        return [module for stage in self.stages()[: self.frozen_stages + 1] for module in stage]

    def freeze(self) -> None:
        """Switch off the gradients of the frozen stages; constructors call it last."""
        for module in self.frozen_modules():
            module.requires_grad_(False)

    def train(self: Self, mode: bool = True) -> Self:
        """Switch to train mode, except for what is frozen.

        Args:
            mode: False switches to eval mode, all of it.

        Returns:
            Itself.
        """
        super().train(mode)
        for module in self.frozen_modules():
            if isinstance(module, nn.Module):
                module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
