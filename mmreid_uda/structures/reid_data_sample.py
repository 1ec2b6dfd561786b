"""The annotations of a batch, one tensor per field."""

from __future__ import annotations

from typing import Any

from mmengine.structures import InstanceData

__all__ = ["ReIDDataSample"]


class ReIDDataSample(InstanceData):
    """The annotations of a batch of ``B`` images; every field is a tensor whose first dimension is ``B``.

    A batch is one object instead of ``B`` small ones: losses read ``samples.gt_label`` as it is, and indexing with a
    slice, a mask or an index tensor gives the sub-batch.

    Fields:
        gt_label (int64, B): The label to train on: identity of a labelled source, pseudo label of a target
            (-1 = outlier, never sampled for training).
        sample_idx (int64, B): Position in the *full* list of the dataset, outliers included.
        camid (int64, B): What is compared as a camera, 0-based; an image of unknown camera has a number of its own.
        domain (int64, B): 0 = source, 1 = target.
        camera (int64, B): The camera of an image of the target or of a test set, for what a model knows of each of
            them: -1 = unknown, and for images of a source, whose cameras are others.
        pid (int64, B): Identity; only in test sets, never in training batches.
        is_query (bool, B), is_gallery (bool, B), set_id (int64, B): Only in test sets: roles, of which an image may
            have both, and which of the test sets.
        features (float32, B × D): What the model answers in ``mode='predict'``.

    Whoever joins a batch may say how many of its images belong to the source, which are the first ones, with
    ``ReIDDataSample(metainfo=dict(num_source=...), **fields)``.
    """

    def count_source(self) -> int:
        """Number of source images: as it was said, on the host; else counted, for which a GPU must be waited for.

        Returns:
            0..B.
        """
        said = self.metainfo.get("num_source")
        return int((self.domain == 0).sum()) if said is None else said

    def __getitem__(self, item: Any) -> ReIDDataSample:
        """The sub-batch of a slice, a mask or an index tensor."""
        part = super().__getitem__(item)
        if "num_source" in part.metainfo_keys():
            del part.num_source
        return part
