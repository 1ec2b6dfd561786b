"""Several augmented views of one image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmreid_uda.registry import TRANSFORMS

__all__ = ["MultiView"]


@TRANSFORMS.register_module()
class MultiView(BaseTransform):
    """Run the same random transforms several times on one decoded image (MMT: two views, one for each network).

    The views are independent draws. Everything deterministic (loading, resizing) goes before it and is done once.
    Writes ``img``, uint8 (V, H, W, 3), and, if the transforms draw it, ``erase_box``, int64 (V, 4). The other keys of
    the item stay as they were before.

    Args:
        transforms: The transforms of one view, as configs or callables; they must not write into their input image.
        num_views: Number of views V. Defaults to 2.

    Example:
        >>> pipeline = [
        ...     dict(type='LoadReIDImage'),
        ...     dict(type='Resize', scale=(128, 256), interpolation='bicubic'),
        ...     dict(type='MultiView', num_views=2, transforms=[
        ...         dict(type='RandomHorizontalFlip'),
        ...         dict(type='PadRandomCrop', padding=10),
        ...         dict(type='RandomErasingBox')]),
        ...     dict(type='PackReIDInputs')]
    """

    def __init__(self, transforms: Sequence[dict | Callable], num_views: int = 2) -> None:
        self.transforms = [
            TRANSFORMS.build(one) if isinstance(one, dict) else one for one in transforms
        ]
        self.num_views = num_views

    def transform(self, results: dict) -> dict:
        """Replace ``results['img']`` by its stacked views."""
        views = [self._view(results) for _ in range(self.num_views)]
        for key in ("img", "erase_box"):
            if key in views[0]:
                results[key] = np.stack([view[key] for view in views])
        return results

    def _view(self, results: dict) -> dict:
        """Transform a shallow copy; the generator is shared, so the next view draws on from it."""
        view = dict(results)
        for transform in self.transforms:
            view = transform(view)
        return view
