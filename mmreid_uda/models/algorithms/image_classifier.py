"""Classification of images of any kind with the same encoders and heads."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils.values import FractionBelowOne

from .supervised import Supervised

__all__ = ["ImageClassifier"]


@MODELS.register_module()
class ImageClassifier(Supervised):
    """An encoder and a classifying head on ordinary, closed sets of classes: ``L = CE(z, y)``.

    PTL extends to it: the head is ``PTLHead``, the backbone has a ladder or not. Labels come
    as the dataset packs them: a tensor (B,), a list of samples with ``gt_label`` each (as OpenMMLab's datasets give
    them), or a :class:`ReIDDataSample`. In ``mode='predict'`` the answer has ``scores``, (B, K), for the metric
    ``Accuracy``.

    Args:
        *args: As for :class:`BaseReID`.
        triplet_weight: As for :class:`Supervised`, but 0 by default.
        label_smoothing: epsilon of the cross-entropy. Defaults to 0.
        **kwargs: As for :class:`Supervised`.

    Example:
        >>> model = dict(type='ImageClassifier', head=dict(type='PTLHead', num_classes=10))
    """

    # The head knows its classes.
    required_hooks: ClassVar = dict(source_classes=None)

    def __init__(
        self,
        *args: Any,
        triplet_weight: float = 0.0,
        label_smoothing: FractionBelowOne = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args, triplet_weight=triplet_weight, label_smoothing=label_smoothing, **kwargs
        )

    def forward(
        self,
        inputs: Tensor,
        data_samples: Any = None,
        mode: Literal["tensor", "predict", "loss"] = "tensor",
    ) -> Any:
        """Run the model as mmengine's loops ask for it.

        Args:
            inputs: float (B, 3, H, W), normalised.
            data_samples: Labels, see above; needed for ``'predict'`` and ``'loss'``.
            mode: ``'tensor'`` gives test features, ``'predict'`` scores beside the labels, ``'loss'`` losses.

        Returns:
            float32 (B, D) unit rows; or a list with one :class:`ReIDDataSample`; or a dict of scalars.
        """
        if mode != "predict":
            return super().forward(inputs, data_samples, mode)
        return [ReIDDataSample(scores=self.scores(inputs), gt_label=labels_of(data_samples))]

    def tested_encoders(self) -> list[nn.Module]:
        """The encoder, and the head that scores."""
        return [self.encoder, self.head]

    def scores(self, inputs: Tensor) -> Tensor:
        """Probabilities, the mean over the parts of the head.

        Args:
            inputs: float (B, 3, H, W), normalised.

        Returns:
            float32 (B, K), rows sum to 1.
        """
        out = self.encode(self.encoder, inputs)
        return self.head.classify(out.embedding).softmax(-1).mean(0)

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Losses of a labelled batch.

        Args:
            inputs: float (B, 3, H, W), normalised.
            data_samples: Labels, as :func:`labels_of` takes them.

        Returns:
            Scalars by name.
        """
        samples = ReIDDataSample(gt_label=labels_of(data_samples).to(inputs.device))
        return self.loss_source(self.outputs(self.encode(self.encoder, inputs), inputs), samples)


def labels_of(data_samples: Any) -> Tensor:
    """Labels of a batch, however its dataset packs them.

    Args:
        data_samples: A tensor (B,), samples of a batch with ``gt_label``, or a list of B samples with ``gt_label``
            each.

    Returns:
        int64 (B,).
    """
    if isinstance(data_samples, Tensor):
        return data_samples
    if isinstance(data_samples, BaseDataElement):
        return data_samples.gt_label
    return torch.cat([torch.as_tensor(sample.gt_label).reshape(1) for sample in data_samples])
