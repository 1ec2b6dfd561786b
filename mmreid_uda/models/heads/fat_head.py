"""FAT's head: a classifier, the centroids of the classes, and labels, hard or soft."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, SoftLabels
from mmreid_uda.utils import full_precision

from .base_head import BaseHead, BranchOutput
from .classifier_head import ClassifierHead

__all__ = ["FATHead"]


@MODELS.register_module()
class FATHead(BaseHead):
    """A classifier of the embedding, and the centroids that the pooled feature is compared with.

    Classes are those of the cluster hook, normally the annotated ones, so that rows of the classifier keep their
    meaning from epoch to epoch: they are *not* started anew after a relabelling; only the centroids are.

    With ``soft_labels``, a student of label distillation, the cross-entropy is that against the teacher's distribution
    q (no temperature). With ``soft_classes`` besides, the class of an image in the point-to-set terms is ``argmax q``,
    and centroids are means of the images alone whose label the teacher trusts.

    Source: Yuan et al., "In defense of the triplet loss again", CVPRW 2020.

    Args:
        in_channels: Dimension of the embedding; :class:`FAT` fills it in.
        centroids: Config of the centroids. Defaults to ``dict(type='ClassCentroids')``.
        soft_labels: File of :class:`~mmreid_uda.structures.SoftLabels`, or the folder of the teacher's run. Defaults to
            None: hard labels.
        soft_classes: Whether the point-to-set terms follow the teacher, too. Defaults to True.

    Raises:
        InputError: At the first relabelling, if the soft labels are missing or made for other data.

    Example:
        >>> head = dict(type='FATHead', soft_labels='work_dirs/fat-teacher_r50_market')
    """

    def __init__(
        self,
        in_channels: int,
        centroids: dict[str, Any] | None = None,
        soft_labels: str | None = None,
        soft_classes: bool = True,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.classifier = ClassifierHead(in_channels)
        self.centroids = MODELS.build(centroids or dict(type="ClassCentroids"))
        self.soft_classes = soft_classes
        self._source = soft_labels
        self._soft_labels: SoftLabels | None = None

    @property
    def num_classes(self) -> int:
        """K, the number of rows of the classifier."""
        return self.classifier.num_classes

    @property
    def soft_labels(self) -> SoftLabels | None:
        """The teacher's, read at first use; None without distillation."""
        if self._soft_labels is None and self._source is not None:
            self._soft_labels = SoftLabels.load(self._source)
        return self._soft_labels

    def _table(self, device: torch.device) -> Tensor:
        """The teacher's probabilities where the labels are: a batch looks them up without waiting."""
        assert self.soft_labels is not None
        self.soft_labels.probabilities = self.soft_labels.probabilities.to(device)
        return self.soft_labels.probabilities

    def check_soft_labels(self, labels: Tensor, fingerprint: str | None = None) -> None:
        """Make sure that soft labels, if there are any, belong to a training set.

        Args:
            labels: int64 (N,), the labels that the dataset gives.
            fingerprint: The dataset's; None compares the labels alone.

        Raises:
            InputError: If they are missing, or made for other images or labels.
        """
        if self.soft_labels is not None:
            assert self._source is not None
            self.soft_labels.check(labels, self._source, fingerprint)

    @torch.no_grad()
    def on_relabel(self, state: PseudoLabelState) -> None:
        """Compute the centroids of the classes from features that are not normalised."""
        self.classifier.set_num_classes(state.num_clusters, state.seed)
        soft, labels = self.soft_labels, state.labels
        self.check_soft_labels(labels)
        if soft is not None and self.soft_classes:
            labels = labels.masked_fill(~soft.confident.to(labels.device), -1)
        self.centroids.reset(PseudoLabelState(state.epoch, labels, state.features))

    def forward(self, out: EncoderOutput) -> BranchOutput:
        """Join the batches of all ranks and classify them: pooled features and logits of one branch."""
        return self.classifier(out)

    @full_precision
    def probabilities(self, embedding: Tensor) -> Tensor:
        """Softmax of embeddings of this rank alone.

        Args:
            embedding: (B, in_channels).

        Returns:
            float32 (B, K), rows sum to 1.
        """
        return (embedding @ self.classifier.weight[0].t()).softmax(1)

    def targets(self, labels: Tensor, sample_idx: Tensor) -> tuple[Tensor, Tensor]:
        """What the images of a global batch belong to, by their labels or by the teacher.

        Args:
            labels: int64 (B,), the labels of the dataset.
            sample_idx: int64 (B,), position of each image in the full list.

        Returns:
            Classes y of the point-to-set terms, int64 (B,); targets q of the cross-entropy, int64 (B,) or
            probabilities, float32 (B, K).
        """
        if self.soft_labels is None:
            return labels, labels
        q = self._table(labels.device)[sample_idx]
        return (q.argmax(1) if self.soft_classes else labels), q
