"""The last step from pixels to network input, on the device: normalisation, erasing, views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError
from mmreid_uda.utils.parallel import kernels_available, over_rows
from mmreid_uda.utils.values import RGB, PositiveRGB

__all__ = ["ReIDDataPreprocessor"]


@MODELS.register_module()
class ReIDDataPreprocessor(BaseDataPreprocessor):
    """Move a uint8 batch to the device, normalise it, fill the erase boxes and split the views.

    Erasing follows normalisation and fills the *normalised* image with constants; the
    default fill is the ImageNet mean in 0..1, as in the papers' code, which is neither black nor the pixel mean.

    Args:
        mean: Mean of R, G, B in 0..255. Defaults to ImageNet's.
        std: Standard deviation of R, G, B in 0..255. Defaults to ImageNet's.
        bgr_to_rgb: Whether the pixels come in BGR order, as ``LoadReIDImage`` gives them. Defaults to True.
        erase_value: Fill of R, G, B, in normalised units.
        non_blocking: Copy from pinned memory without waiting. Defaults to True.

    Example:
        >>> model = dict(data_preprocessor=dict(type='ReIDDataPreprocessor', erase_value=(0., 0., 0.)))  # PTL
    """

    mean: Tensor
    std: Tensor
    erase_value: Tensor

    def __init__(
        self,
        mean: RGB = (123.675, 116.28, 103.53),
        std: PositiveRGB = (58.395, 57.12, 57.375),
        bgr_to_rgb: bool = True,
        erase_value: RGB = (0.485, 0.456, 0.406),
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking)
        self.bgr_to_rgb = bgr_to_rgb
        for name, values in (("mean", mean), ("std", std), ("erase_value", erase_value)):
            # Not persistent: a checkpoint holds weights, the config holds the normalisation.
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch of ``reid_collate``.

        Args:
            data: ``inputs`` uint8 (B, H, W, 3) or (B, V, H, W, 3); ``samples``, a dict of tensors (B, ...), and
                ``num_source``, an int, may be missing.
            training: Makes no difference: what is random was drawn by the transforms.

        Returns:
            ``inputs``: float32 (B, 3, H, W) in RGB order, or a tuple of V of them; ``data_samples``: a
            ``ReIDDataSample`` without the erase boxes, or None.

        Raises:
            InputError: The images are not uint8 (normalised by the pipeline as well), or the batch has
                ``data_samples``, as those of other packages.
        """
        if "data_samples" in data:
            raise InputError(
                "found a batch with data_samples, expected inputs and samples as reid_collate gives them; set "
                "model.data_preprocessor.type='ImgDataPreprocessor', with its mean, std and bgr_to_rgb."
            )
        batch: Any = self.cast_data(dict(data))
        images, samples = batch["inputs"], dict(batch.get("samples") or {})
        if images.dtype != torch.uint8:
            raise InputError(
                f"the images of a batch are {images.dtype}, expected uint8, which the data preprocessor normalises; "
                "remove Normalize and conversions to float from the pipeline"
            )
        boxes = samples.pop("erase_box", None)
        known = {} if batch.get("num_source") is None else {"num_source": batch["num_source"]}
        data_samples = ReIDDataSample(metainfo=known, **samples) if samples else None
        if images.dim() == 4:
            single = None if boxes is None else boxes.unsqueeze(1)
            return {
                "inputs": self.prepare(images.unsqueeze(1), single),
                "data_samples": data_samples,
            }
        inputs = tuple(self.prepare(images, boxes, view) for view in range(images.shape[1]))
        return {"inputs": inputs, "data_samples": data_samples}

    def prepare(self, images: Tensor, boxes: Tensor | None = None, view: int = 0) -> Tensor:
        """Normalise one view and fill its erase boxes: on CPUs in one pass by a compiled kernel, with equal results.

        Args:
            images: uint8 (B, V, H, W, 3).
            boxes: int64 (B, V, 4): top, left, height, width; height 0 = none.
            view: Which of the V views.

        Returns:
            float32 (B, 3, H, W).
        """
        batch, _, height, width, _ = images.shape
        normalized = torch.empty((batch, 3, height, width), device=images.device)
        compiled = images.device.type == "cpu" and normalized.dtype == torch.float32
        if compiled and kernels_available():
            self._prepare_compiled(images, boxes, view, normalized)
            return normalized
        images, boxes = images[:, view], None if boxes is None else boxes[:, view]
        for channel in range(3):
            normalized[:, channel] = images[..., 2 - channel if self.bgr_to_rgb else channel]
        normalized.sub_(self.mean).div_(self.std)
        if boxes is not None:
            # lerp gives its end exactly where the weight is 1, and its start where it is 0.
            normalized.lerp_(self.erase_value, box_masks(boxes, height, width))
        return normalized

    def _prepare_compiled(
        self, images: Tensor, boxes: Tensor | None, view: int, normalized: Tensor
    ) -> None:
        """Write what :meth:`prepare` gives, by a kernel in threads."""
        from .normalizing_numba import normalize_images

        if boxes is None:
            boxes = torch.zeros((*images.shape[:2], 4), dtype=torch.int64)
        mean, std, erase_value = (
            one.float().flatten().numpy() for one in (self.mean, self.std, self.erase_value)
        )
        order = np.array([2, 1, 0] if self.bgr_to_rgb else [0, 1, 2])
        pixels, places = images.contiguous().numpy(), boxes.contiguous().numpy()
        options = pixels, view, mean, std, order, places, erase_value, normalized.numpy()
        over_rows(normalize_images, len(images), *options)


def box_masks(boxes: Tensor, height: int, width: int) -> Tensor:
    """Mark the pixels inside each image's box.

    Args:
        boxes: int64 (B, 4): top, left, height, width.
        height: Rows H of an image.
        width: Columns W of an image.

    Returns:
        float32 (B, 1, H, W), 1 inside and 0 outside.
    """
    top, left, rows, columns = boxes.unsqueeze(-1).unbind(1)
    y = torch.arange(height, device=boxes.device)
    x = torch.arange(width, device=boxes.device)
    inside_y = ((y >= top) & (y < top + rows)).float()
    inside_x = ((x >= left) & (x < left + columns)).float()
    return inside_y[:, None, :, None] * inside_x[:, None, None, :]
