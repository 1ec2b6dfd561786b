"""Batch normalisation whose statistics do not depend on the number of GPUs, or on the other domain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import DomainName
from mmreid_uda.utils.values import Count, checked

from .informed import InformedLayer, informed_layers

__all__ = ["DomainBN", "GhostBN", "convert_norm", "domain_split"]


@MODELS.register_module()
class GhostBN(_BatchNorm):
    """Batch normalisation over contiguous groups of the batch, as several GPUs without synchronisation would do it.

    The papers trained with ``DataParallel`` on 4 GPUs: a batch of 64 was normalised as 4 contiguous chunks of 16, and
    only the running statistics of the first GPU survived. This layer repeats that on any number of GPUs: group ``g``
    holds the samples ``g*G .. (g+1)*G - 1``; a remainder of fewer than ``G`` samples joins the last group, since a tail
    of one sample would have no variance. In eval mode, and with one group, it is plain batch normalisation.
    In a joint batch ``[source | target]`` group 0 is source, and so are its running statistics: take
    :class:`DomainBN` with ``samples_per_group``, or ``stats='mean'``, there.
    State-dict keys are those of ``nn.BatchNorm*d``. One class serves (B, C), (B, C, L), (B, C, H, W), (B, C, D, H, W).

    Source: Hoffer et al., "Train longer, generalize better", NeurIPS 2017 (the name); ``DataParallel`` semantics.

    Args:
        num_features: Number of channels C.
        eps: Added to the variance. Defaults to 1e-5.
        momentum: Weight of the new statistics; None = cumulative mean. Defaults to 0.1.
        affine: Learned scale and shift. Defaults to True.
        track_running_stats: Keep running statistics for eval mode. Defaults to True.
        samples_per_group: Group size G, at least 1; None = the whole batch is one group. Defaults to None.
        stats: What enters the running statistics: ``'first'`` = those of group 0 (as in the papers),
            ``'mean'`` = the mean over the groups. Defaults to ``'first'``.

    Raises:
        InputError: ``samples_per_group`` < 1 or an unknown ``stats``.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        samples_per_group: Count | None = None,
        stats: Literal["first", "mean"] = "first",
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.samples_per_group = samples_per_group
        self.stats = stats

    def _check_input_dim(self, input: Tensor) -> None:
        if not 2 <= input.dim() <= 5:
            raise ValueError(f"expected 2 to 5 dimensions, got {input.dim()}")

    def group_sizes(self, batch_size: int) -> list[int]:
        """Sizes of the contiguous groups of a batch; the remainder belongs to the last one.

        Args:
            batch_size: B.

        Returns:
            Images of each group; they add up to B.
        """
        size = self.samples_per_group or batch_size
        groups = max(1, batch_size // size)
        return [size] * (groups - 1) + [batch_size - size * (groups - 1)]

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input`` (B, C, ...); the shape stays.

        Args:
            input: float (B, C, ...).

        Returns:
            The shape and type of ``input``.
        """
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        groups = input.split(self.group_sizes(len(input)))
        if self.stats == "mean" and self.track_running_stats:
            return torch.cat(self._forward_mean_statistics(groups))
        outputs = [super().forward(groups[0])]
        outputs += [self._normalize(group) for group in groups[1:]]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _normalize(
        self,
        group: Tensor,
        mean: Tensor | None = None,
        var: Tensor | None = None,
        factor: float = 0.0,
    ) -> Tensor:
        """Normalise one group by its own statistics; ``mean`` and ``var``, if given, move by ``factor``."""
        return F.batch_norm(group, mean, var, self.weight, self.bias, True, factor, self.eps)

    def _forward_mean_statistics(self, groups: tuple[Tensor, ...]) -> list[Tensor]:
        """Normalise every group; the update is linear, so the mean of the updated copies is the update by the mean."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        factor = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        # Each group moves its own copy: autograd keeps those, and the buffers may then be written in place.
        means = self.running_mean.repeat(len(groups), 1)
        variances = self.running_var.repeat(len(groups), 1)
        outputs = [
            self._normalize(group, mean, var, factor)
            for group, mean, var in zip(groups, means.unbind(), variances.unbind())
        ]
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        return outputs

    def extra_repr(self) -> str:
        """Add the grouping to the arguments of batch normalisation."""
        return f"{super().extra_repr()}, samples_per_group={self.samples_per_group}, stats={self.stats}"


@MODELS.register_module()
class DomainBN(InformedLayer):
    """Domain-specific batch normalisation: separate affine weights and statistics for source and target.

    In train mode the batch must be ``[source | target]``; :func:`domain_split` tells where the target begins, without
    it the two halves have equal size. In eval mode one domain serves all samples (``eval_domain``).
    A checkpoint of plain batch normalisation (ImageNet, or a source model) is copied into both domains.

    Source: Chang et al., "Domain-specific batch normalization for unsupervised domain adaptation", CVPR 2019; by batch
    position as in SpCL, UDA strong baseline and OpenUnReID.

    Args:
        num_features: Number of channels C.
        eps: Added to the variance. Defaults to 1e-5.
        momentum: Weight of the new statistics; None = cumulative mean. Defaults to 0.1.
        affine: Learned scale and shift. Defaults to True.
        track_running_stats: Keep running statistics for eval mode. Defaults to True.
        samples_per_group: Ghost groups inside each domain, see :class:`GhostBN`. Defaults to None: no groups.
        stats: See :class:`GhostBN`. Defaults to ``'first'``.
        eval_domain: ``'target'`` or ``'source'``. Defaults to ``'target'``.

    Raises:
        InputError: Unknown ``eval_domain``; in train mode a batch that cannot be split.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        samples_per_group: Count | None = None,
        stats: Literal["first", "mean"] = "first",
        eval_domain: DomainName = "target",
    ) -> None:
        super().__init__()
        settings: dict[str, Any] = {
            "eps": eps,
            "momentum": momentum,
            "affine": affine,
            "track_running_stats": track_running_stats,
            "samples_per_group": samples_per_group,
            "stats": stats,
        }
        self.source = GhostBN(num_features, **settings)
        self.target = GhostBN(num_features, **settings)
        self.eval_domain = eval_domain
        self.num_source: int | None = None

    @property
    def eval_domain(self) -> str:
        """Domain whose statistics serve in eval mode."""
        return self._eval_domain

    @eval_domain.setter
    @checked
    def eval_domain(self, eval_domain: DomainName) -> None:
        self._eval_domain = eval_domain

    @property
    def eval_norm(self) -> GhostBN:
        """The normalisation that serves in eval mode."""
        return self.source if self.eval_domain == "source" else self.target

    def _split(self, batch_size: int) -> int:
        """Number of source samples at the head of the batch."""
        if self.num_source is None:
            if batch_size % 2:
                raise InputError(
                    f"DomainBN got a training batch of {batch_size} samples, expected [source | target] of equal size: "
                    "use an even batch or name the boundary with domain_split(model, num_source)."
                )
            return batch_size // 2
        if self.num_source > batch_size:
            raise InputError(
                f"DomainBN got a batch of {batch_size} samples but domain_split announced {self.num_source} source "
                "samples: pass a num_source within the batch."
            )
        return self.num_source

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, C, ...), in train mode ``[source | target]``; the shape stays.

        Args:
            x: float (B, C, ...).

        Returns:
            The shape and type of ``x``.
        """
        if not self.training:
            return self.eval_norm(x)
        boundary = self._split(len(x))
        if boundary == 0:
            return self.target(x)
        if boundary == len(x):
            return self.source(x)
        return torch.cat([self.source(x[:boundary]), self.target(x[boundary:])])

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Spread the tensors of a plain batch normalisation, if the checkpoint holds one, over both domains."""
        for name in self.target.state_dict():
            if prefix + name in state_dict:
                tensor = state_dict.pop(prefix + name)
                state_dict.setdefault(f"{prefix}source.{name}", tensor)
                state_dict.setdefault(f"{prefix}target.{name}", tensor)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """Show the domain of eval mode."""
        return f"eval_domain={self.eval_domain}"


@contextmanager
def domain_split(module: nn.Module, num_source: int) -> Iterator[None]:
    """Tell every :class:`DomainBN` of ``module`` how many samples at the head of the batch are source.

    Args:
        module: Any tree of modules; one without :class:`DomainBN` is left as it is.
        num_source: Number of source samples, ``0 <= num_source <= B``: 0 = all target, B = all source.

    Example:
        >>> with domain_split(encoder, num_source=len(source_images)):
        ...     out = encoder(torch.cat([source_images, target_images]))
    """
    layers = informed_layers(module, DomainBN)
    previous = [layer.num_source for layer in layers]
    try:
        for layer in layers:
            layer.num_source = num_source
        yield
    finally:
        for layer, value in zip(layers, previous):
            layer.num_source = value


def convert_norm(module: nn.Module, cfg: dict[str, Any]) -> nn.Module:
    """Replace every batch normalisation in a tree of modules; weights, buffers and the training flag stay.

    Args:
        module: Changed in place, unless it is itself a batch normalisation.
        cfg: ``dict(type='GhostBN', samples_per_group=16)``, ``dict(type='DomainBN')`` or any registered layer that
            takes the arguments of ``nn.BatchNorm2d``. It overrides eps, momentum, ... of the replaced layers. A frozen
            scale or shift stays frozen, unless ``keep_frozen=False`` is there, too: then it learns, which is what the
            conversion in SpCL did to the bias of the BN-neck.

    Returns:
        ``module``, or its replacement.

    Raises:
        InputError: ``cfg.type`` is not registered.
    """
    if isinstance(module, _BatchNorm):
        return _convert_layer(module, **cfg)
    for name, child in module.named_children():
        setattr(module, name, convert_norm(child, cfg))
    return module


def _convert_layer(layer: _BatchNorm, keep_frozen: bool = True, **cfg: Any) -> nn.Module:
    """Build the replacement of one layer."""
    options: dict[str, Any] = {
        "num_features": layer.num_features,
        "eps": layer.eps,
        "momentum": layer.momentum,
        "affine": layer.affine,
        "track_running_stats": layer.track_running_stats,
    }
    new: nn.Module = MODELS.build({**options, **cfg})
    new.load_state_dict(layer.state_dict())
    state = [*layer.parameters(), *layer.buffers()]
    if state:
        new.to(state[0].device)
    if hasattr(layer, "act"):
        # timm's BatchNormAct2d ends in an activation: it goes on behind the replacement.
        new.drop, new.act = layer.drop, layer.act
        new.register_forward_hook(_activate)
    if layer.affine and keep_frozen:
        for key, parameter in new.named_parameters():
            kind = key.rsplit(".", 1)[-1]
            parameter.requires_grad_(getattr(layer, kind).requires_grad)
    return new.train(layer.training)


def _activate(layer: Any, args: Any, output: Tensor) -> Tensor:
    return layer.act(layer.drop(output))
