"""STD, student-teacher distillation: what a trained PTL network knows, handed to the bare backbone.

The cells of PTL (Yu et al., IJCAI 2019) cost time at test. What the authors published on STD has no formula; the one
here is the usual one, and its weights are keys.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.models.losses import distillation
from mmreid_uda.models.teacher import FrozenTeacher
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Positive

from .image_classifier import ImageClassifier
from .ptl import PTLBaseline
from .supervised import Supervised

__all__ = ["STD", "DistilledOutput", "STDClassifier"]


class DistilledOutput(NamedTuple):
    """What student and teacher say about a batch."""

    student: BranchOutput
    """Of the global batch, with gradient."""
    teacher: BranchOutput
    """Of the global batch; as many parts as the student's."""
    features: Tensor
    """f, float32 (B, D): the student's embeddings of this rank's images."""
    teacher_features: Tensor
    """f_t, float32 (B, D)."""


class _Distilled(Supervised):
    """What a student does beside its own training: it listens to a teacher.

    ::

        L = L_student + kd_weight · T² KL(softmax(t / T) || softmax(z / T)) + feature_weight · mean ||L2(f) - L2(f_t)||²

    with the logits z and the embeddings f of the student, t and f_t those of the teacher. Part by part where both have
    as many parts; otherwise the mean of the teacher's logits teaches each part of the student. The teacher is in
    evaluation mode: its cells start every batch anew, and it has no gradient. It is not in the checkpoint, which is
    thus that of the student's own config, to test and to deploy without cells.

    Args:
        teacher: ``dict(model=<config of a model with encoder and head>, checkpoint=<file, or folder of a run>)``; in a
            config file ``config=<path of the teacher's config>`` stands for ``model``.
        kd_weight: Defaults to 1.
        feature_weight: Defaults to 1; 0 if the features differ in dimension.
        temperature: T. Defaults to 4.
        **kwargs: The student's.

    Raises:
        InputError: The features differ in dimension and ``feature_weight`` is not 0; at the start of training, if the
            teacher's checkpoint is missing or of another network, or knows another number of classes.
    """

    def __init__(
        self,
        *args: Any,
        teacher: dict[str, Any],
        kd_weight: float = 1.0,
        feature_weight: float = 1.0,
        temperature: Positive = 4.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.kd_weight, self.feature_weight = kd_weight, feature_weight
        self.distillation = partial(distillation, temperature=temperature)
        self.teacher = FrozenTeacher(**teacher)
        sizes = self.encoder.embed_dim, self.teacher.network.encoder.embed_dim
        if feature_weight and sizes[0] != sizes[1]:
            raise InputError(
                f"found features of {sizes[0]} dimensions in the student and {sizes[1]} in the teacher, expected the "
                "same; set model.feature_weight=0, or choose encoders of one dimension."
            )

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self.teacher.network._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)

    def init_weights(self) -> None:
        """Initialise the student and load the teacher, also at the start of a resumed run."""
        if self.is_init:
            return
        super().init_weights()
        self.teacher.load()

    def on_source(self, num_classes: int, seed: int = 0) -> None:
        """Open the student's classifier; a teacher without weights follows, a loaded one knows its classes.

        Raises:
            InputError: The teacher knows another number of classes.
        """
        super().on_source(num_classes, seed)
        if not self.is_init:
            self.teacher.network.on_source(num_classes, seed)
        self._compare_classes(self.head.num_classes, self.teacher.network.head.num_classes)

    @staticmethod
    def _compare_classes(student: int, teacher: int) -> None:
        if student != teacher:
            raise InputError(
                f"found {student} classes in the student's data and {teacher} in the teacher's, expected the same "
                "data; change source, or model.teacher.checkpoint."
            )

    def outputs(self, features: EncoderOutput, inputs: Tensor) -> DistilledOutput:
        """What the student and its teacher say."""
        student = super().outputs(features, inputs)
        with torch.no_grad():
            taught = self.encode(self.teacher.network.encoder, inputs)
            teacher = self.teacher.network.head(taught)
        self._compare_classes(student.logits.shape[-1], teacher.logits.shape[-1])
        if len(student.logits) != len(teacher.logits):
            mean = teacher.logits.mean(0, keepdim=True).expand_as(student.logits)
            teacher = teacher._replace(logits=mean)
        return DistilledOutput(student, teacher, features.embedding, taught.embedding)

    def loss_source(self, out: DistilledOutput, samples: ReIDDataSample) -> dict[str, Tensor]:  # type: ignore[override]
        """The student's losses, ``loss_kd`` and ``loss_feature``."""
        losses = super().loss_source(out.student, samples)
        z, t, f, f_t = out.student.logits, out.teacher.logits, out.features, out.teacher_features
        if self.kd_weight:
            losses["loss_kd"] = self.kd_weight * self.distillation(z, t)
        if self.feature_weight:
            gap = F.normalize(f) - F.normalize(f_t)
            losses["loss_feature"] = self.feature_weight * gap.square().sum(1).mean()
        return losses


@MODELS.register_module()
class STD(_Distilled, PTLBaseline):  # type: ignore[misc]
    """Student-teacher distillation of a PTL network into a network without cells, for re-identification.

    Student and teacher may be any two encoders. The loss is that of Hinton et al., 2015, see :func:`distillation`, and
    a distance of unit features; what the authors of PTL published on STD has no formula. Its keys are those of the base
    class.

    Example:
        >>> model = dict(type='STD', head=dict(type='PTLHead'),
        ...              teacher=dict(config='configs/ptl/ptl_r50_market.py', checkpoint='work_dirs/ptl_r50_market'))
    """


@MODELS.register_module()
class STDClassifier(_Distilled, ImageClassifier):
    """The same for closed sets of classes: the student is an :class:`ImageClassifier`."""
