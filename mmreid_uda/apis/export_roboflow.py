"""A model for Roboflow's ``reid``: a folder with a network of timm, where that network is all there is to the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import nn

from mmreid_uda import compat
from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.backbones import TimmBackbone
from mmreid_uda.models.necks import BNNeck
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.files import atomic_path, read_json, write_json
from mmreid_uda.utils.packages import import_package

from .deploy import describe_input
from .export_check import features_of

__all__ = ["RoboflowReader", "export_roboflow"]

_WEIGHTS, _CONFIG = "weights.safetensors", "reid_config.json"
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
# Largest difference of two unit features that is rounding.
_TOLERANCE = 1e-3


def export_roboflow(model: Any, folder: str | Path) -> Path:
    """Write a model as a saved model of Roboflow's ``reid``, as far as that can express it.

    It builds ``timm:<name>`` as timm has it: nothing stands in front of that network or behind it, and its size is
    timm's own. A BN-neck is folded into the affine of the last layer norm, where the network ends in one.

    Args:
        model: A model of :func:`~mmreid_uda.apis.init_model`.
        folder: Where to; made if it is not there.

    Returns:
        Path of ``reid_config.json``.

    Raises:
        InputError: The format cannot express the model: the sentence says why, and which target can; safetensors or
            timm is missing; or the files cannot be written.
    """
    safetensors = import_package("safetensors.torch", "the export", "safetensors")
    before = describe_input(model.cfg.test_pipeline)
    if before["interpolation"] not in _INTERPOLATIONS:
        raise _refused(
            f"images are resized by {before['interpolation']}, and it knows {', '.join(_INTERPOLATIONS)}"
        )
    if not model.data_preprocessor.bgr_to_rgb:
        raise _refused("the network takes images in BGR order, and it gives RGB")
    name, net = _network(model, (before["height"], before["width"]))
    folder = Path(folder)
    with atomic_path(folder / _WEIGHTS) as temporary:
        state = {key: value.contiguous().clone() for key, value in net.state_dict().items()}
        temporary.write_bytes(safetensors.save(state, {"format": "pt"}))
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    content = {
        "architecture": f"timm:{name}",
        "preprocessing": {
            "input_size": [before["height"], before["width"]],
            "mean": (mean.flatten() / 255).tolist(),
            "std": (std.flatten() / 255).tolist(),
            "interpolation": before["interpolation"],
            "to_rgb": True,
            "resize_mode": "stretch",
            "pad_value": 114,
        },
    }
    write_json(folder / _CONFIG, content)
    return folder / _CONFIG


def _refused(why: str) -> InputError:
    return InputError(
        f"Roboflow's reid cannot express this model: {why}; take --to boxmot or --to onnx, whose graphs have all of it."
    )


def _network(model: BaseReID, size: tuple[int, int]) -> tuple[str, nn.Module]:
    """The network of timm that alone gives the model's features, and its name."""
    encoders = model.tested_encoders()
    backbone = getattr(encoders[0], "backbone", None)
    if len(encoders) > 1 or model.flip:
        found = f"{len(encoders)} networks" if len(encoders) > 1 else "an image and its mirror"
        raise _refused(f"its feature is that of {found}, and it runs one network once")
    if not isinstance(backbone, TimmBackbone):
        found = type(backbone or encoders[0]).__name__
        raise _refused(f"the backbone is {found}, and it builds networks of timm")
    timm = import_package("timm", "the export", "'mmreid_uda[timm]'")
    own = timm.get_pretrained_cfg(backbone.name)
    if own is not None and own.fixed_input_size and tuple(own.input_size[1:]) != size:
        raise _refused(
            f"{backbone.name} is built for {own.input_size[1]}×{own.input_size[2]} there, and the model takes "
            f"{size[0]}×{size[1]}"
        )
    net = timm.create_model(backbone.name, pretrained=False, num_classes=0).eval()
    try:
        net.load_state_dict(backbone.net.state_dict())
    except RuntimeError as error:
        raise _refused(
            f"{backbone.name} has other tensors without the arguments of this backbone "
            f"({str(error).splitlines()[-1].strip().rstrip('.')})"
        ) from error
    neck = getattr(encoders[0], "neck", None) if model.feature == "embedding" else None
    if neck is not None and not _fold(neck, net):
        raise _refused(
            f"behind {backbone.name} stands a {type(neck).__name__}, and it has no place for one (a model that is "
            "tested with test_cfg.feature='pooled' has none)"
        )
    noise = torch.from_numpy(make_rng(0, "export").standard_normal((2, 3, *size), dtype=np.float32))
    with torch.no_grad():
        expected = model(noise.to(model.data_preprocessor.mean.device)).cpu()
        alone = F.normalize(net(noise), dim=1)
    if expected.shape != alone.shape or (expected - alone).abs().max() > _TOLERANCE:
        raise _refused(
            f"{backbone.name} alone gives other features than this encoder, whose pooling or output is its own"
        )
    return backbone.name, net


def _fold(neck: nn.Module, net: nn.Module) -> bool:
    """Fold a BN-neck into the affine of the layer norm that a network ends in; whether there is one."""
    last = getattr(net, "fc_norm", None)
    last = last if isinstance(last, nn.LayerNorm) else getattr(net, "norm", None)
    if not isinstance(neck, BNNeck) or not isinstance(last, nn.LayerNorm) or last.weight is None:
        return False
    bn: Any = neck.bn
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    if len(scale) != len(last.weight):
        return False
    with torch.no_grad():
        last.bias.copy_((last.bias - bn.running_mean) * scale + bn.bias)
        last.weight.mul_(scale)
    return True


class RoboflowReader:
    """A saved model with what Roboflow's ``reid`` does around it, as far as that is documented; it is not needed.

    Crops are put into RGB, resized by Pillow, divided by 255 and normalized; features are brought to unit norm, which
    its cosine distance does.

    Args:
        folder: With ``weights.safetensors`` and ``reid_config.json``.

    Raises:
        InputError: timm or safetensors is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        compat.shim_torchvision()
        timm = import_package("timm", "the comparison", "'mmreid_uda[timm]'")
        safetensors = import_package("safetensors.torch", "the comparison", "safetensors")
        content = read_json(Path(folder, _CONFIG))
        self.preprocessing = content["preprocessing"]
        name = content["architecture"].removeprefix("timm:")
        self.net = timm.create_model(name, pretrained=False, num_classes=0).eval()
        self.net.load_state_dict(safetensors.load_file(Path(folder, _WEIGHTS)))

    @torch.no_grad()
    def __call__(self, images: Sequence[str | np.ndarray], batch_size: int = 64) -> np.ndarray:
        """Compute features.

        Args:
            images: Files, or uint8 (H, W, 3) in BGR order, of any size.
            batch_size: Images a forward pass.

        Returns:
            float32 (N, D), unit rows.
        """
        return features_of(
            images,
            self._prepared,
            lambda batch: self.net(torch.from_numpy(batch)).numpy(),
            batch_size,
        )

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        """float32 (3, H, W)."""
        said = self.preprocessing
        height, width = said["input_size"]
        kernel = PIL.Image.Resampling[said["interpolation"].upper()]
        resized = PIL.Image.fromarray(image[..., ::-1].copy()).resize((width, height), kernel)
        scaled = np.asarray(resized, np.float32) / 255
        mean, std = (np.array(said[key], np.float32) for key in ("mean", "std"))
        normalized = (scaled - mean) / std
        return np.ascontiguousarray(normalized.transpose(2, 0, 1))
