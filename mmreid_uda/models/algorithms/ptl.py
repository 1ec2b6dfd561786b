"""PTL (Yu et al., "Progressive transfer learning for person re-identification", IJCAI 2019).

A network that starts from ImageNet and is fine-tuned on small batches follows the noise of each batch. PTL puts a
ladder of batch-related cells (:class:`BConvCell`) beside the backbone: their latent state carries what earlier batches
said, so that a batch is seen against the whole dataset. The state goes from batch to batch within an epoch and is
reset before each (``LatentStateHook``). Training is supervised: cross-entropy and hard triplets.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.models.layers import latent_cells
from mmreid_uda.models.losses import hard_triplet
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import gather_batch
from mmreid_uda.utils.values import FractionBelowOne, Positive

from .base import TestedFeature
from .supervised import Supervised

__all__ = ["PTL", "PTLBaseline"]


@MODELS.register_module()
class PTLBaseline(Supervised):
    """Fine-tuning without cells, what PTL (Yu et al., IJCAI 2019) is compared with.

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

    Source: Yu et al., "Progressive transfer learning for person re-identification", IJCAI 2019.

    The encoder is a ``ReIDEncoder`` with a ``SideNetworkBackbone`` or an ``MGNEncoder`` with ``blocks``.

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
                "found no BConvCell in the encoder of PTL, expected a SideNetworkBackbone or an MGNEncoder with cells "
                "in its blocks; for the network without cells set model.type='PTLBaseline'."
            )
