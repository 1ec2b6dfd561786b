"""A network with its classifier, and networks that teach: a moving average of it, or a trained one."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.weights import load_complete
from mmreid_uda.registry import MODELS
from mmreid_uda.utils.values import Fraction

__all__ = ["EMATeacher", "FrozenTeacher", "ReIDNetwork"]


class ReIDNetwork(BaseModule):
    """An encoder and the head on top of it: what is trained, averaged and given a classifier together.

    Args:
        encoder: Config of the encoder.
        head: Config of a ``ClassifierHead``; its ``in_channels`` and ``num_branches`` are the encoder's.
    """

    def __init__(self, encoder: dict[str, Any], head: dict[str, Any]) -> None:
        super().__init__()
        self.encoder: Any = MODELS.build(encoder)
        branches = getattr(self.encoder, "num_branches", 1)
        self.head: Any = MODELS.build(
            {"in_channels": self.encoder.embed_dim // branches, "num_branches": branches, **head}
        )

    def forward(self, x: Tensor) -> EncoderOutput:
        """Encode images.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            Pooled features and embeddings.
        """
        return self.encoder(x)


@MODELS.register_module()
class EMATeacher(nn.Module):
    """The exponential moving average of a student, as a sub-module that takes part in the loss.

    After the optimiser's step number t (0-based, counted over the whole training)::

        alpha_t = min(1 - 1 / (t + 1), alpha)        teacher <- alpha_t · teacher + (1 - alpha_t) · student

    over all *parameters*, classifiers and batch-norm scales included. The first update copies the student. Source:
    Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017; the warm-up is that of MMT's and ABMT's
    released code.

    The teacher has no gradients. It follows ``train()`` and ``eval()``: during training it normalises by the statistics
    of its own batch, as released.

    Args:
        student: The module to average; copied.
        alpha: Share of the old teacher once warm, 0..1. Defaults to 0.999; 0 makes the teacher a copy of the student
            after every step (MMT's ablation "without mean").
        warmup: Whether alpha grows as above; False is alpha from the first step on. Defaults to True.
        buffers: What becomes of the running statistics of batch normalisation: ``'own'`` = the teacher collects its own
            in its forward passes (default; as released), ``'copy'`` = the student's after every step, ``'ema'`` =
            averaged like the parameters.

    Raises:
        InputError: For an alpha outside 0..1 or an unknown policy.

    Example:
        >>> model = dict(type='ABMT', teacher=dict(type='EMATeacher', alpha=0.999, buffers='own'))
    """

    def __init__(
        self,
        student: nn.Module,
        alpha: Fraction = 0.999,
        warmup: bool = True,
        buffers: Literal["own", "copy", "ema"] = "own",
    ) -> None:
        super().__init__()
        self.alpha, self.warmup, self.buffer_policy = alpha, warmup, buffers
        self.module = copy.deepcopy(student).requires_grad_(False)
        if buffers != "own":
            # Its own forward passes leave the running statistics alone.
            for layer in self.module.modules():
                if isinstance(layer, _BatchNorm):
                    layer.momentum = 0.0

    def decay(self, step: int) -> float:
        """alpha_t, the share of the old teacher in an update.

        Args:
            step: Number of the optimiser's step, 0-based.

        Returns:
            0..alpha with the warm-up, else alpha.
        """
        return min(1 - 1 / (step + 1), self.alpha) if self.warmup else self.alpha

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move towards the student after a step of its optimiser.

        Args:
            student: The module that was copied, as it is now.
            step: Number of the optimiser's step that was just done, 0-based.
        """
        average = get_ema_multi_avg_fn(self.decay(step))
        average(list(self.module.parameters()), list(student.parameters()), step)
        if self.buffer_policy == "own":
            return
        for own, other in zip(self.module.buffers(), student.buffers()):
            if self.buffer_policy == "ema" and own.is_floating_point():
                own.lerp_(other, 1 - self.decay(step))
            else:
                own.copy_(other)

    def copy_from(self, student: nn.Module) -> None:
        """Take over all parameters and buffers, at the start of a training.

        Args:
            student: A module with the same parameters and buffers.
        """
        self.module.load_state_dict(student.state_dict())


class FrozenTeacher:
    """A trained network that only teaches: no module, and so no part of the one that holds it.

    It is not trained, saved, wrapped by ``DistributedDataParallel`` or switched to training mode with its student. Only
    device and precision follow the student's, whose ``_apply`` hands on what it is given to :attr:`network`.

    Args:
        model: Config of a model with encoder and head.
        checkpoint: File, or folder of a run.
    """

    def __init__(self, model: dict[str, Any], checkpoint: str) -> None:
        self.network: Any = MODELS.build(model).requires_grad_(False).eval()
        self.checkpoint = checkpoint

    def load(self) -> None:
        """Give the network its weights, all of them: one that is partly random would teach that.

        Raises:
            InputError: The checkpoint is missing, or of another network.
        """
        load_complete(
            self.network,
            self.checkpoint,
            "set model.teacher.config to the config that this checkpoint was trained with, or train one of that config "
            "with `python tools/train.py` and set model.teacher.checkpoint to its folder.",
        )
