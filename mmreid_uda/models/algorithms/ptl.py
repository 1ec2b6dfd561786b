"""PTL (Yu et al., "Progressive transfer learning for person re-identification", IJCAI 2019) and its distillation.

A network that starts from ImageNet and is fine-tuned on small batches follows the noise of each batch. PTL puts a
ladder of batch-related cells (:class:`BConvCell`) beside the backbone: their latent state carries what earlier batches
said, so that a batch is seen against the whole data set. The state goes from batch to batch within an epoch and is
reset before each (``LatentStateHook``). Training is supervised: cross-entropy and hard triplets.

The cells cost time at test. STD, student-teacher distillation, hands what a trained PTL network knows to the bare
backbone. What the authors published on STD has no formula; the one here is the usual one, and its weights are keys.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.models.layers import latent_cells
from mmreid_uda.models.losses import distillation, hard_triplet
from mmreid_uda.models.teacher import FrozenTeacher
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import FractionBelowOne, Positive

from .base import TestedFeature
from .image_classifier import ImageClassifier
from .supervised import Supervised

__all__ = ["PTL", "STD", "PTLBaseline", "STDClassifier"]


@MODELS.register_module()
class PTLBaseline(Supervised):
    """Fine-tuning without cells, what PTL is compared with.

    ::

        L = CE(z, y) + [d(f, p) - d(f, n) + margin]_+

    with logits z and pooled features f; the mean over the parts of the head, and over the global features with their
    hardest positives p and negatives n. Everything that PTL adds is in the encoder.

    Args:
        *args: As for :class:`BaseReID`; the head is a ``PTLHead``.
        ce_weight: Of CE. Defaults to 1.
        triplet_weight: Of the hinge. Defaults to 1. A term of weight 0 is not computed.
        margin: Defaults to 1.2.
        label_smoothing: epsilon of CE. Defaults to 0.
        **kwargs: As for :class:`BaseReID`.
    """

    def __init__(
        self,
        *args: Any,
        margin: Positive = 1.2,
        label_smoothing: FractionBelowOne = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, label_smoothing=label_smoothing, **kwargs)
        self.hard_triplet = partial(hard_triplet, margin=margin)

    def loss_source(self, out: BranchOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce`` and ``loss_triplet``."""
        (f, z), y, losses = out, gather_batch(samples.gt_label), {}
        if self.ce_weight:
            losses["loss_ce"] = self.ce_weight * self.cross_entropy(z, y)
        if self.triplet_weight:
            losses["loss_triplet"] = self.triplet_weight * self.hard_triplet(f, y)
        return losses


@MODELS.register_module()
class PTL(PTLBaseline):
    """The same of an encoder with cells, tested on both flips: ``L = CE(z, y) + [d(f, p) - d(f, n) + 1.2]_+``.

    The encoder is a ``ReIDEncoder`` with a ``LadderBackbone`` or an ``MGNEncoder`` with ``rungs``.

    Args:
        encoder: As for :class:`BaseReID`.
        head: As for :class:`BaseReID`.
        test_cfg: As for :class:`BaseReID`; ``flip`` defaults to True here.
        **kwargs: As for :class:`PTLBaseline`.

    Raises:
        InputError: If the encoder has no cell.

    Example:
        >>> model = dict(type='PTL', head=dict(type='PTLHead'))
    """

    required_hooks: ClassVar = dict(latent_state=dict(type="LatentStateHook", reset="epoch"))

    def __init__(
        self,
        encoder: dict[str, Any],
        head: dict[str, Any] | None = None,
        test_cfg: TestedFeature | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, {"flip": True, **(test_cfg or {})}, **kwargs)
        if next(latent_cells(self), None) is None:
            raise InputError(
                "found no BConvCell in the encoder of PTL, expected a LadderBackbone or an MGNEncoder with cells in "
                "its rungs; for the network without cells set model.type='PTLBaseline'."
            )


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

    Student and teacher may be any two encoders; see the base class for the loss and its keys.

    Example:
        >>> model = dict(type='STD', head=dict(type='PTLHead'),
        ...              teacher=dict(config='configs/ptl/ptl_r50_market.py', checkpoint='work_dirs/ptl_r50_market'))
    """


@MODELS.register_module()
class STDClassifier(_Distilled, ImageClassifier):
    """The same for closed sets of classes: the student is an :class:`ImageClassifier`."""
