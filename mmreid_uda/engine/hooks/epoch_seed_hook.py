"""Global generators that start each epoch from (seed, epoch, rank)."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils import make_rng

__all__ = ["EpochSeedHook"]


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Re-seed ``torch``, ``numpy`` and ``random`` before every epoch from (seed, epoch, rank).

    This package draws from generators of its own; dropout and other people's modules draw from the global ones. With a
    fresh start per epoch they, too, repeat after a resume, without generator states in the checkpoint.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the global generators of this process (and its GPUs)."""
        seed = int(
            make_rng(runner.seed, runner.epoch, get_rank(), "global generators").integers(2**32)
        )
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (the legacy generator is what others draw from)
        torch.manual_seed(seed)
