"""CUHK03 with the new protocol (CUHK03-NP)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split

from .base_reid import plain_name
from .files import folder_name
from .market1501 import MarketStyleDataset

__all__ = ["CUHK03NP"]


@DATASETS.register_module()
class CUHK03NP(MarketStyleDataset):
    """CUHK03-NP (Li et al., CVPR 2014; protocol of Zhong et al., CVPR 2017): 2 cameras, 767 training identities.

    Detected boxes: train 7,365 images, query 1,400, gallery 5,332; labeled boxes: 7,368, 1,400, 5,328; 700 test ids.
    Reads the re-packed release with Market-1501's folders below ``detected/`` and ``labeled/``. Evaluate it with the
    ordinary protocol; ``protocol='cuhk03'`` of the evaluation belongs to the classic 20 splits.

    By agreement with its authors, for research.

    Args:
        data_root: ``cuhk03-np/``, the folder above it, or the variant's folder.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        variant: ``'detected'`` or ``'labeled'`` boxes.
        **kwargs: See :class:`ReIDDataset`.
    """

    name = "cuhk03np"
    cameras = (1, 2)

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        variant: Literal["detected", "labeled"] = "detected",
        **kwargs: Any,
    ) -> None:
        self.variant = variant
        # The variant's folder lies below the set's; both spellings of "labelled" are in use.
        self.folder_names = ("cuhk03-np", "cuhk03", variant, variant.replace("eled", "elled"))
        kwargs.setdefault("name", f"cuhk03np-{variant}")
        super().__init__(data_root, split, pipeline, **kwargs)

    def find_root(self, *markers: str) -> str:
        """See :meth:`ReIDDataset.find_root`; refuses the folder of the other variant.

        Raises:
            InputError: There is none, or it is that of the other variant.
        """
        root = super().find_root(*markers)
        other = "labeled" if self.variant == "detected" else "detected"
        if plain_name(folder_name(root)).replace("elled", "eled") == other:
            raise InputError(
                f"data_root '{self.data_root}' leads to the {other} boxes, expected the {self.variant} ones; "
                f"set data_root to the folder above, or use cuhk03np-{other}"
            )
        return root
