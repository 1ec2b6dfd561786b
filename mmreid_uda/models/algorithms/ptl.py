"""PTL (Yu et al., "Progressive transfer learning for person re-identification", IJCAI 2019) and its distillation.

A network that starts from ImageNet and is fine-tuned on small batches follows the noise of each batch. PTL puts a
ladder of batch-related cells (:class:`BConvCell`) beside the backbone: their latent state carries what earlier batches
said, so that a batch is seen against the whole data set. The state goes from batch to batch within an epoch and is
reset before each (``LatentStateHook``). Training is supervised: cross-entropy and hard triplets.

The cells cost time at test. STD, student-teacher distillation, hands what a trained PTL network knows to the bare
backbone. What the authors published on STD has no formula; the one here is the usual one, and its weights are keys.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid_uda.models.backbones import record_outputs
from mmreid_uda.models.layers import latent_cells
from mmreid_uda.models.losses import DistillationLoss
from mmreid_uda.models.weights import load_complete
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

from .base import TestedFeature
from .image_classifier import ImageClassifier
from .supervised import Supervised

__all__ = ["PTL", "STD", "STDClassifier"]


@MODELS.register_module()
class PTL(Supervised):
    """Supervised training of an encoder with cells: ``L = CE(z, y) + [d_ap - d_an + 1.2]_+``, tested on both flips.

    Everything new is in the encoder, a ``ReIDEncoder`` with a ``LadderBackbone`` or an ``MGNEncoder`` with ``rungs``;
    the losses are those of ``PTLHead``. The same network without cells is trained as ``Supervised``.

    Args:
        encoder: As for :class:`BaseReID`.
        head: As for :class:`BaseReID`.
        test_cfg: As for :class:`BaseReID`; ``flip`` defaults to True here.
        **kwargs: As for :class:`BaseReID`.

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
                "its rungs; for the network without cells set model.type='Supervised'."
            )


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
        **kwargs: The student's, as for :class:`BaseReID`.

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
        temperature: float = 4.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.kd_weight, self.feature_weight = kd_weight, feature_weight
        self.distillation = DistillationLoss(temperature)
        network = MODELS.build(teacher["model"]).requires_grad_(False).eval()
        # In a tuple, so that it is no part of this module: not trained, not saved, not wrapped, always in eval mode.
        self._teacher = (network,)
        self._checkpoint = teacher["checkpoint"]
        sizes = self.encoder.embed_dim, network.encoder.embed_dim
        if feature_weight and sizes[0] != sizes[1]:
            raise InputError(
                f"found features of {sizes[0]} dimensions in the student and {sizes[1]} in the teacher, expected the "
                "same; set model.feature_weight=0, or choose encoders of one dimension."
            )

    @property
    def teacher(self) -> Any:
        """The network that teaches."""
        return self._teacher[0]

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        # Device and precision follow the student's.
        self.teacher._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)

    def init_weights(self) -> None:
        """Initialise the student and load the teacher, also at the start of a resumed run."""
        if self.is_init:
            return
        super().init_weights()
        self.load_teacher()

    def load_teacher(self) -> None:
        """Give the teacher its weights, all of them: one that is partly random would teach that.

        Raises:
            InputError: The checkpoint is missing, or of another network.
        """
        load_complete(
            self.teacher,
            self._checkpoint,
            "set model.teacher.config to the config that this checkpoint was trained with, or train one of that config "
            "with `python tools/train.py` and set model.teacher.checkpoint to its folder.",
        )

    def on_source(self, num_classes: int, seed: int = 0) -> None:
        """Open the student's classifier; a teacher without weights follows, a loaded one knows its classes.

        Raises:
            InputError: The teacher knows another number of classes.
        """
        super().on_source(num_classes, seed)
        if not self.is_init:
            self.teacher.on_source(num_classes, seed)
        self._compare_classes(self.head.num_classes, self.teacher.head.num_classes)

    @staticmethod
    def _compare_classes(student: int, teacher: int) -> None:
        if student != teacher:
            raise InputError(
                f"found {student} classes in the student's data and {teacher} in the teacher's, expected the same "
                "data; change source, or model.teacher.checkpoint."
            )

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """The student's losses, ``loss_kd`` and ``loss_feature``."""
        with record_outputs(self, ("encoder", "head")) as student:
            losses = super().loss(inputs, data_samples)
        features, logits = student["encoder"].embedding, student["head"].logits
        with torch.no_grad():
            taught = self.encode(self.teacher.encoder, inputs[: len(features)])
            teacher_logits = self.teacher.head(taught).logits
        self._compare_classes(logits.shape[-1], teacher_logits.shape[-1])
        if self.kd_weight:
            if len(logits) != len(teacher_logits):
                teacher_logits = teacher_logits.mean(0, keepdim=True).expand_as(logits)
            losses["loss_kd"] = self.kd_weight * self.distillation(logits, teacher_logits)
        if self.feature_weight:
            gap = F.normalize(features.float()) - F.normalize(taught.embedding)
            losses["loss_feature"] = self.feature_weight * gap.square().sum(1).mean()
        return losses


@MODELS.register_module()
class STD(_Distilled):
    """Student-teacher distillation of a PTL network into a network without cells, for re-identification.

    Student and teacher may be any two encoders; see the base class for the loss and its keys.

    Example:
        >>> model = dict(type='STD', head=dict(type='PTLHead'),
        ...              teacher=dict(config='configs/ptl/ptl_r50_market.py', checkpoint='work_dirs/ptl_r50_market'))
    """


@MODELS.register_module()
class STDClassifier(_Distilled, ImageClassifier):
    """The same for closed sets of classes: the student is an :class:`ImageClassifier`."""
