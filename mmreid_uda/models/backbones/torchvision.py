"""Any backbone of torchvision by name."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.packages import import_package

from ..layers import probe
from ..weights import PretrainedModule

__all__ = ["TorchvisionBackbone"]

# Families whose model is a chain of children ending in pooling and classifier; the chain before it gives the map.
_FAMILIES = (
    "resnet",
    "resnext",
    "wide_resnet",
    "mobilenet",
    "efficientnet",
    "convnext",
    "densenet",
    "vgg",
    "regnet",
    "shufflenet",
    "mnasnet",
    "squeezenet",
    "alexnet",
    "swin",
)
_HEAD = ("avgpool", "flatten", "fc", "classifier", "head")


@MODELS.register_module()
class TorchvisionBackbone(PretrainedModule):
    """A classification model of torchvision without pooling and classifier: images to the last feature map.

    Tensor names stay torchvision's, so ``torchvision://<name>`` loads. The stride is the model's own (32 for most); for
    a last stride of 1 use :class:`ResNet` or :class:`MobileNetV2`.

    Args:
        name: Name in ``torchvision.models.list_models()`` of the families resnet, resnext, wide_resnet, mobilenet,
            efficientnet, convnext, densenet, vgg, regnet, shufflenet, mnasnet, squeezenet, alexnet, swin.
        init_cfg: mmengine's initialisation config, see :class:`PretrainedModule`.
        **kwargs: Passed to ``torchvision.models.get_model``.

    Raises:
        InputError: torchvision is missing, or the name is unknown or of another family.

    Example:
        >>> backbone = dict(type='TorchvisionBackbone', name='efficientnet_b0',
        ...                 init_cfg=dict(type='Pretrained', checkpoint='torchvision://efficientnet_b0'))
    """

    takes_more = True

    def __init__(self, name: str, init_cfg: dict | list[dict] | None = None, **kwargs: Any) -> None:
        super().__init__(init_cfg)
        model = _build(name, **kwargs)
        self._chain = [key for key, _ in model.named_children() if key not in _HEAD]
        for key in self._chain:
            self.add_module(key, model.get_submodule(key))
        # The densenets end in a batch normalisation whose ReLU is a call in their forward.
        self._final_relu = name.startswith("densenet")
        self.feat_dim: int = probe(self, self).shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map images to the last map of the model.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, feat_dim, H', W').
        """
        for key in self._chain:
            x = getattr(self, key)(x)
        return F.relu(x) if self._final_relu else x


def _build(name: str, **kwargs: Any) -> nn.Module:
    zoo = import_package(
        "torchvision.models",
        f"the backbone {name!r}",
        "torchvision",
        "choose the ResNet or MobileNetV2 of this package",
    )
    if not name.startswith(_FAMILIES) or name not in zoo.list_models(zoo):
        raise InputError(
            f"TorchvisionBackbone got name={name!r}, expected a model of torchvision of the families "
            f"{', '.join(_FAMILIES)}: change backbone.name."
        )
    return zoo.get_model(name, **kwargs)
