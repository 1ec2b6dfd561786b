"""Handwritten digits that come with scikit-learn: a real classification set without a download."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from mmengine.dataset import BaseDataset

from mmreid_uda.registry import DATASETS

__all__ = ["DigitsDataset"]

# The file is a row of blocks, each by one person, who all wrote the same sequence of up to 130 digits. Half of the
# images, 898, would cut a block in two; the seventh ends at 906.
_NUM_TRAIN = 906


@DATASETS.register_module()
class DigitsDataset(BaseDataset):
    """1,797 grey images of 8×8 pixels, ten classes: 906 to train on, 891 to test, of other writers.

    An ordinary dataset of mmengine: the items have ``img`` (uint8, (8, 8, 3), three equal channels), ``gt_label`` and
    ``sample_idx`` before the pipeline.

    Source: Alpaydin & Kaynak, "Optical recognition of handwritten digits", UCI machine learning repository, 1998.

    Args:
        split: ``'train'`` or ``'test'``.
        **kwargs: As for mmengine's ``BaseDataset``; ``indices=100`` takes the first 100 images of the split.

    Raises:
        InputError: For an unknown split.

    Example:
        >>> dataset = dict(type='DigitsDataset', split='train', indices=100, pipeline=pipeline)
    """

    METAINFO = {"classes": tuple(str(digit) for digit in range(10))}

    def __init__(self, split: Literal["train", "test"] = "train", **kwargs: Any) -> None:
        self.split = split
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the images of the split.

        Returns:
            A dict for each image, in the order of the file: ``img`` uint8 (8, 8, 3) and ``gt_label``, 0..9.
        """
        from sklearn.datasets import load_digits

        digits = load_digits()
        part = slice(_NUM_TRAIN) if self.split == "train" else slice(_NUM_TRAIN, None)
        images = np.rint(digits.images[part] * (255 / 16)).astype(np.uint8)  # 16 grey levels
        return [
            dict(img=np.repeat(image[..., None], 3, axis=2), gt_label=int(label))
            for image, label in zip(images, digits.target[part])
        ]
