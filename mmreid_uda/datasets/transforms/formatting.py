"""From an item's dictionary to tensors, and from items to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import Tensor
from torch.utils.data import default_collate

from mmreid_uda.registry import FUNCTIONS, TRANSFORMS
from mmreid_uda.utils import InputError

__all__ = ["PackReIDInputs", "reid_collate"]

SAMPLE_KEYS = (
    "gt_label",
    "camid",
    "camera",
    "sample_idx",
    "domain",
    "erase_box",
    "pid",
    "is_query",
    "is_gallery",
    "set_id",
)
"""What a dataset or a transform may say about an image; described in ``ReIDDataSample``."""


@TRANSFORMS.register_module()
class PackReIDInputs(BaseTransform):
    """Keep what travels to the model: the pixels, and the numbers that describe them.

    The item becomes ``dict(inputs=uint8 tensor (H, W, 3) or (V, H, W, 3) in BGR order, samples=dict)``, where
    ``samples`` holds those of ``gt_label``, ``camid``, ``camera``, ``sample_idx``, ``domain``, ``erase_box``, ``pid``,
    ``is_query``, ``is_gallery`` and ``set_id`` that the item has. Pixels stay uint8: a quarter of the bytes to the
    device.

    Args:
        extra_keys: Further keys whose values (numbers, or arrays of one shape) go into ``samples``, for a dataset
            or transform of your own. Defaults to none.
    """

    def __init__(self, extra_keys: Sequence[str] = ()) -> None:
        self.keys = (*SAMPLE_KEYS, *extra_keys)

    def transform(self, results: dict) -> dict:
        """Build the item."""
        return {
            "inputs": torch.from_numpy(np.ascontiguousarray(results["img"])),
            "samples": {key: results[key] for key in self.keys if key in results},
        }


@FUNCTIONS.register_module()
def reid_collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join items to a batch.

    Where only one domain of a batch draws erase boxes, the images of the other get the empty box.

    Args:
        items: ``B`` items of :class:`PackReIDInputs`.

    Returns:
        ``dict(inputs=uint8 tensor (B, H, W, 3) or (B, V, H, W, 3), samples=dict of tensors with first dimension B)``;
        whole numbers are int64, truth values bool. Where items have a ``domain`` there is ``num_source`` as well, the
        number of source images: an int, since a tensor on a GPU would have to be waited for.

    Raises:
        InputError: The images differ in size or number of views, or the items are of another pipeline.
    """
    if "samples" not in items[0]:
        raise InputError(
            f"found items with the keys {sorted(items[0])}, expected those of PackReIDInputs; end the pipeline with "
            "it, or set collate_fn=dict(type='pseudo_collate') in both loaders and model.data_preprocessor.type="
            "'ImgDataPreprocessor'."
        )
    samples = [item["samples"] for item in items]
    keys = dict.fromkeys(key for sample in samples for key in sample)
    inputs = _stack([item["inputs"] for item in items])
    if "erase_box" in keys:
        no_box = np.zeros((*inputs.shape[1:-3], 4), dtype=np.int64)
        samples = [one if "erase_box" in one else {**one, "erase_box": no_box} for one in samples]
    batch: dict[str, Any] = {
        "inputs": inputs,
        "samples": {
            key: torch.from_numpy(np.array([sample[key] for sample in samples])) for key in keys
        },
    }
    if "domain" in keys:
        batch["num_source"] = sum(sample["domain"] == 0 for sample in samples)
    return batch


def _stack(images: list[Tensor]) -> Tensor:
    """Stack tensors of one shape; in a loader's worker right into the shared memory that carries the batch."""
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise InputError(
            f"a batch holds images of {len(shapes)} shapes, for instance {min(shapes)} and {max(shapes)}, expected one "
            "size and one number of views; give the pipelines of all its datasets the same Resize and MultiView"
        )
    return default_collate(images)
