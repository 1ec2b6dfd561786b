"""Tensor names of the checkpoints that MMT, ABMT, SpCL, Cluster-Contrast and ISE released, in this package's words.

Those of torchvision's DenseNet files, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = ["rename_released"]

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


def rename_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
