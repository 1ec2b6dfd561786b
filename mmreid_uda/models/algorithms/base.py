"""What every re-ID algorithm shares: one encoder, a loss per domain, features for clustering and testing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.layers import cameras_of, domain_split, row_parameters
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import Extract, PseudoLabelState, ReIDDataSample, TrainingImages
from mmreid_uda.utils import InputError

__all__ = ["BaseReID", "TestedFeature"]


class TestedFeature(TypedDict, total=False):
    """``test_cfg``: the feature that a model is tested with."""

    flip: bool
    feature: Literal["embedding", "pooled"]


class BaseReID(BaseModel):
    """An encoder and, by sub-class, a loss on source images, on target images, or on both.

    Beside ``__init__`` and :meth:`build_networks`, a sub-class overrides :meth:`loss_source`, :meth:`loss_target`,
    :meth:`cluster_features`, :meth:`on_relabel` and :attr:`required_hooks`, and nothing else. What a memory learns from
    a step it hands to :meth:`remember`. One that calls an encoder itself does so through :meth:`encode`; all else is
    computed in full precision, also with ``--amp``.

    Args:
        encoder: Config of the encoder, normally a ``ReIDEncoder``.
        head: Config of the head; ``None`` for algorithms without one.
        test_cfg: ``flip=True`` adds the features of the mirrored image; ``feature`` is ``'embedding'`` (after the
            BN neck, default) or ``'pooled'`` (before it). Clustering uses the same features as testing.
        data_preprocessor: Config of the preprocessor. Defaults to ``dict(type='ReIDDataPreprocessor')``.
        init_cfg: As in mmengine.
    """

    required_hooks: ClassVar[dict[str, dict[str, Any] | None]] = {}
    """Hooks of the method: name in ``default_hooks`` -> config. The Runner adds them, and a config overrides single
    keys. Those of the parents are there already: a class names what it adds, or changes, or (``None``) does not need.
    With ``optional=True`` a config may switch the hook off."""

    # Within which an encoder computes: autocast, if the model was called in it.
    _encoder_context: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __init__(
        self,
        encoder: dict[str, Any],
        head: dict[str, Any] | None = None,
        test_cfg: TestedFeature | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            MODELS.build(data_preprocessor or dict(type="ReIDDataPreprocessor")), init_cfg
        )
        self.build_networks(encoder, head)
        tested = test_cfg or {}
        self.flip, self.feature = tested.get("flip", False), tested.get("feature", "embedding")
        self._lessons: list[Callable[[], None]] = []

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Make ``self.encoder`` and ``self.head``; algorithms whose head depends on the encoder override it.

        Args:
            encoder: As for the class.
            head: As for the class.
        """
        self.encoder: Any = MODELS.build(encoder)
        self.head: Any = MODELS.build(head) if head is not None else None

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """Parameters that ``DistributedDataParallel``, which asks for them by this name, leaves alone."""
        return [name for name, _, _ in row_parameters(self)]

    def tested_encoders(self) -> list[nn.Module]:
        """The encoders whose features :meth:`extract_feat` gives: all that a deployment needs.

        Returns:
            Modules of this model, at least one.
        """
        return [self.encoder]

    def forward(
        self,
        inputs: Tensor,
        data_samples: ReIDDataSample | None = None,
        mode: Literal["tensor", "predict", "loss"] = "tensor",
    ) -> Any:
        """Run the model as mmengine's loops ask for it.

        Args:
            inputs: float (B, 3, H, W), normalised; in ``mode='loss'`` possibly a tuple of such views.
            data_samples: Annotations; needed for ``'predict'`` and ``'loss'``. Encoders that know cameras take them
                from here.
            mode: ``'tensor'`` gives test features, ``'predict'`` the samples with their features, ``'loss'`` losses.

        Returns:
            float32 (B, D) unit rows; or a list with one :class:`ReIDDataSample`; or a dict of scalars.
        """
        if mode not in ("tensor", "predict", "loss"):
            raise ValueError(f"found mode={mode!r}, expected 'tensor', 'predict' or 'loss'")
        if data_samples is None and mode != "tensor":
            raise ValueError(f"mode={mode!r} needs data_samples")
        with self.autocast_for_encoders(), cameras_of(self, data_samples):
            if mode == "tensor":
                return self.extract_feat(inputs)
            assert data_samples is not None
            if mode == "loss":
                self._lessons = []
                losses = self.loss(inputs, data_samples)
                while self._lessons:
                    self._lessons.pop(0)()
                return losses
            data_samples.features = self.tested_feat(inputs)
            return [data_samples]

    # ---- mixed precision

    @contextmanager
    def autocast_for_encoders(self) -> Iterator[None]:
        """Leave autocast, and keep it for :meth:`encode`.

        What comes behind the encoders compares: features with features, memories and classifiers. In half precision
        other clusters are the nearest and other pairs the hardest, at no gain, since convolutions are nearly all of the
        time.
        """
        kind = next(self.parameters()).device.type
        if not torch.is_autocast_enabled(kind):
            yield
            return
        before = self._encoder_context
        self._encoder_context = partial(torch.autocast, kind, dtype=torch.get_autocast_dtype(kind))
        try:
            with torch.autocast(kind, enabled=False):
                yield
        finally:
            self._encoder_context = before

    def encode(self, network: Any, inputs: Tensor, num_source: int = 0) -> EncoderOutput:
        """Features of a batch by an encoder, or by a network with one: the only thing that autocast is for.

        Args:
            network: Maps images to an ``EncoderOutput``.
            inputs: float (B, 3, H, W).
            num_source: Number of source images, the first ones.

        Returns:
            Both features in float32.
        """
        with self._encoder_context(), domain_split(network, num_source):
            pooled, embedding = network(inputs)
        return EncoderOutput(pooled.float(), embedding.float())

    # ---- features

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Features for clustering and testing, of unit norm.

        Args:
            inputs: float (B, 3, H, W), normalised.

        Returns:
            float32 (B, D), unit rows; the direction of the sum over both flips with ``flip``.
        """
        return F.normalize(self.features_of(self.encoder, inputs), dim=1)

    def tested_feat(self, inputs: Tensor) -> Tensor:
        """What ``mode='predict'`` gives.

        Args:
            inputs: float (B, 3, H, W).

        Returns:
            float32 (B, D), unit rows, also where those that are clustered are not.
        """
        return self.extract_feat(inputs)

    def features_of(self, network: Any, inputs: Tensor) -> Tensor:
        """The feature that is tested, by one network.

        Args:
            network: Maps images to an ``EncoderOutput``.
            inputs: float (B, 3, H, W), normalised.

        Returns:
            float32 (B, D), as the network gives them; the sum over both flips with ``flip``.
        """
        with self._encoder_context():
            features = getattr(network(inputs), self.feature).float()
            if self.flip:
                features = features + getattr(network(inputs.flip(-1)), self.feature).float()
        return features

    # ---- losses

    def loss(self, inputs: Tensor, data_samples: ReIDDataSample) -> dict[str, Tensor]:
        """Encode the ``[source | target]`` batch once and add the losses of the domains that are in it.

        Args:
            inputs: float (B, 3, H, W), normalised; source images first.
            data_samples: Annotations of the B images.

        Returns:
            Scalars by name. Those whose names hold ``loss`` are added up, the others logged.
        """
        num_source = data_samples.count_source()
        out = self.encode(self.encoder, inputs, num_source)
        losses: dict[str, Tensor] = {}
        for part, loss in (
            (slice(num_source), self.loss_source),
            (slice(num_source, None), self.loss_target),
        ):
            if len(data_samples[part]):
                features = EncoderOutput(*(value[part] for value in out))
                losses.update(loss(self.outputs(features, inputs[part]), data_samples[part]))
        return losses

    def outputs(self, features: EncoderOutput, inputs: Tensor) -> Any:
        """What the losses of a domain are given: the features, or, in families of methods, what heads make of them.

        Args:
            features: Of the images of a domain.
            inputs: The images, float (B, 3, H, W).

        Returns:
            The ``out`` of :meth:`loss_source` and :meth:`loss_target`; here the features.
        """
        return features

    def remember(self, update: Callable[..., None], *args: Any) -> None:
        """Have a memory learn from this step: ``update(*args)`` is called when all losses are computed, in order.

        So every loss sees the memory as it was before the step.

        Args:
            update: A memory's update.
            *args: What it learns from; without gradient or detached by it.
        """
        self._lessons.append(partial(update, *args))

    def loss_source(self, out: Any, samples: ReIDDataSample) -> dict[str, Tensor]:
        """Losses of the labelled source images, the terms of the method's equation; keys start with ``loss``.

        Args:
            out: What :meth:`outputs` gave: features of this rank's images, or a head's output for the global batch.
            samples: Annotations of this rank's images; ``gather_batch(samples.gt_label)`` are the labels of all.

        Returns:
            Scalars, which are added up.

        Raises:
            InputError: If the method does not train on a source.
        """
        raise InputError(
            f"{type(self).__name__} does not train on a labelled source; remove `source` from the config."
        )

    def loss_target(self, out: Any, samples: ReIDDataSample) -> dict[str, Tensor]:
        """Losses of the target images with their pseudo-labels, the terms of the method's equation.

        Args:
            out: As for :meth:`loss_source`.
            samples: Annotations of this rank's images; ``gt_label`` are their pseudo-labels, 0..K-1, never of an
                outlier.

        Returns:
            Scalars, which are added up.

        Raises:
            InputError: If the method does not train on a target.
        """
        raise InputError(
            f"{type(self).__name__} does not train on a target; remove `target` from the config."
        )

    # ---- pseudo-labels: without gradient

    def cluster_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """The features that are clustered before an epoch; all ranks call this together, and agree.

        Args:
            extract: ``extract(network, dataset)`` gives the features of all images of a dataset: by ``self`` those
                that are tested, by a function (B, 3, H, W) -> (B, D) what that gives.
            images: The target, the sources, and the epoch.

        Returns:
            float32 (N, D), a row for each image of the target.
        """
        return extract(self, images.target)

    def source_features(self, extract: Extract, images: TrainingImages) -> Tensor | None:
        """Features of all sources, for clusterers that require them.

        Args:
            extract: As for :meth:`cluster_features`.
            images: The target, the sources, and the epoch.

        Returns:
            float32 (M, D), one source after the other; None without a source.
        """
        sources = [extract(self, source) for source in images.sources]
        # Of a single source no copy: it may be a file.
        return None if not sources else sources[0] if len(sources) == 1 else torch.cat(sources)

    def mirrored_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """Tested features of the mirrored images of the target: how firmly labels stand, without any label.

        Args:
            extract: As for :meth:`cluster_features`.
            images: The target, the sources, and the epoch.

        Returns:
            float32 (N, D), of the mirrored images alone, also with ``flip``, whose sum over both would tell nothing.
        """
        flip, self.flip = self.flip, False
        try:
            return extract(lambda inputs: self.extract_feat(inputs.flip(-1)), images.target)
        finally:
            self.flip = flip

    @torch.no_grad()
    def on_relabel(self, state: PseudoLabelState) -> None:
        """Take over new pseudo-labels: rebuild memories, classifier rows, soft-label tables.

        Args:
            state: Labels and features of the target's N images, the epoch, the seed.
        """
        if self.head is not None:
            self.head.on_relabel(state)
