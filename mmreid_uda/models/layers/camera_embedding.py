"""Side information of a transformer: a learned vector for each camera, and the cameras of the batch that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError

from .informed import InformedLayer, informed_layers

__all__ = ["CameraEmbedding", "cameras_of"]


class CameraEmbedding(InformedLayer):
    """``x + λ · E[camera]``: a learned vector for each camera, on all tokens or on the class token alone.

    Which cameras took the images says :func:`cameras_of`; algorithms do so for every batch that has annotations.
    Outside of it, and for cameras other than ``0..C-1`` (unknown ones), nothing is added: a model with it is for its
    own cameras, at test time too.

    Source: He et al., "TransReID", ICCV 2021 (all tokens, λ = 3); Li et al., "CLIP-ReID", AAAI 2023 (class token, λ =
    1); a truncated normal of deviation 0.02 at the start, as in both.

    Args:
        cameras: Number of cameras C.
        dim: Dimension D of a token.
        coefficient: λ. Defaults to 3.
        tokens: ``'all'`` or ``'class'``, the first one. Defaults to ``'all'``.
    """

    def __init__(
        self,
        cameras: int,
        dim: int,
        coefficient: float = 3.0,
        tokens: Literal["all", "class"] = "all",
    ) -> None:
        super().__init__()
        self.coefficient, self.tokens = coefficient, tokens
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(cameras, dim), std=0.02))
        self.cameras: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Add to each image's tokens the vector of its camera.

        Args:
            x: (B, N, D), the class token first.

        Returns:
            (B, N, D).

        Raises:
            InputError: If the cameras are those of another number of images.
        """
        if self.cameras is None:
            return x
        if len(self.cameras) != len(x):
            raise InputError(
                f"found {len(x)} images and the cameras of {len(self.cameras)}, expected one for each: this method "
                "encodes parts of a batch, for which camera embeddings are not made; set backbone.cameras=None."
            )
        count = len(self.weight)
        known = (self.cameras >= 0) & (self.cameras < count)
        vectors = self.weight[self.cameras.clamp(0, count - 1)] * known[:, None]
        added = self.coefficient * vectors[:, None]
        if self.tokens == "all":
            return x + added
        return torch.cat([x[:, :1] + added, x[:, 1:]], dim=1)

    def extra_repr(self) -> str:
        """Show sizes and settings."""
        cameras, dim = self.weight.shape
        return f"{cameras}, {dim}, coefficient={self.coefficient:g}, tokens={self.tokens}"


@contextmanager
def cameras_of(module: nn.Module, samples: Any) -> Iterator[None]:
    """Tell every :class:`CameraEmbedding` of ``module`` which cameras took the images of the batch.

    Args:
        module: Any tree of modules; one without :class:`CameraEmbedding` is left as it is.
        samples: Annotations of the B images, whose ``camera`` is taken; None, or annotations of another kind, tell
            nothing.

    Example:
        >>> with cameras_of(encoder, data_samples):
        ...     out = encoder(images)
    """
    layers = informed_layers(module, CameraEmbedding)
    cameras = samples.get("camera") if layers and isinstance(samples, ReIDDataSample) else None
    previous = [layer.cameras for layer in layers]
    try:
        for layer in layers:
            layer.cameras = cameras
        yield
    finally:
        for layer, value in zip(layers, previous):
            layer.cameras = value
