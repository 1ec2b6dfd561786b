"""Tensor names of the checkpoints that MMT, ABMT, SpCL, Cluster-Contrast and ISE released, in this package's words.

Those of torchvision's DenseNet files and of the bundled MobileNetV2, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["convert_bundled", "convert_official"]

_STEM = {"0": "conv1", "1": "bn1"}
# torchvision's files of DenseNet are older than its code: norm.1 is norm1 today.
_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
# Parts of the whole network -> parts of ReIDEncoder and AsymmetricBranchEncoder.
_PARTS = {
    "global_branch": "backbone.layer4",
    "max_branch.0": "second_stage",
    "max_branch.1": "extra.0",
    "feat_bn": "neck.bn",
    "feat_bn_max": "second_neck.bn",
    "gem": "pool",
}


def convert_official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a released ResNet, if these are such.

    All keep the backbone in a sequence ``base``: the stem's convolution, its batch normalisation, in some a ReLU,
    the max pooling, then the stages. ABMT's two-branch network ends ``base`` with the third stage and goes on with
    ``global_branch`` and ``max_branch``. Classifiers are left out: their classes were clusters of one epoch.

    Args:
        tensors: Names -> tensors, possibly under a prefix such as ``module.``.

    Returns:
        Names of ``ReIDEncoder`` or ``AsymmetricBranchEncoder`` -> tensors; anything else comes back as it is.
    """
    tensors = {_DENSE_LAYER.sub(r"\1\2.", name): tensor for name, tensor in tensors.items()}
    stem = next((name for name in tensors if name.endswith("base.0.weight")), None)
    if stem is None:
        return tensors
    prefix = stem.removesuffix("base.0.weight")
    # Where the first stage stands: after a pooling alone, or after a ReLU and a pooling.
    first = 3 if f"{prefix}base.3.0.conv1.weight" in tensors else 4
    renamed = {}
    for name, tensor in tensors.items():
        short = name.removeprefix(prefix)
        if found := re.match(r"base\.(\d+)\.(.*)", short):
            index, rest = found.groups()
            part = _STEM.get(index) or f"layer{int(index) - first + 1}"
            renamed[f"backbone.{part}.{rest}"] = tensor
            continue
        for released, own in _PARTS.items():
            if short.startswith(f"{released}."):
                renamed[f"{own}.{short.removeprefix(f'{released}.')}"] = tensor
    return renamed


# Layers inside a block of the bundled network -> their names in torchvision, without and with the first expansion.
_FIRST_BLOCK = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}
_OTHER_BLOCKS = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}


def convert_bundled(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Give the tensors of the bundled MobileNetV2 torchvision's names.

    Args:
        tensors: Names such as ``features.2.conv.3.weight`` -> tensors.

    Returns:
        Names such as ``features.2.conv.1.0.weight`` -> tensors, in the same order.
    """
    return {_torchvision_name(name): tensor for name, tensor in tensors.items()}


def _torchvision_name(name: str) -> str:
    """Translate ``features.2.conv.3.weight`` to ``features.2.conv.1.0.weight``; other names stay as they are."""
    found = re.fullmatch(r"(features\.(\d+)\.conv)\.(\d)\.(\w+)", name)
    if found is None:
        return name
    table = _FIRST_BLOCK if found[2] == "1" else _OTHER_BLOCKS
    return f"{found[1]}.{table[found[3]]}.{found[4]}"
