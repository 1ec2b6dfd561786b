"""All ranks train the same thing, the batch is the one the recipe was made for, and cameras are those of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmreid_uda.datasets import CrossDomainDataset
from mmreid_uda.models.layers import CameraEmbedding
from mmreid_uda.registry import HOOKS
from mmreid_uda.utils.dist import assert_same_on_ranks, broadcast_buffers

from ..extraction import unwrap

__all__ = ["ConsistencyHook"]


@HOOKS.register_module()
class ConsistencyHook(Hook):
    """Compare data, labels and weights over ranks, share batch-norm statistics, and report the batch (R1, R8).

    * Before training: file lists (their fingerprints) and weights must be the same on every rank; the global batch, its
      share per rank and the batch-norm group are printed, with a warning if the global batch is not the one the
      configuration's learning rate was chosen for (``auto_scale_lr.base_batch_size``). Where the model has a vector for
      each camera, warnings say which images it has none for.
    * Before every epoch's first iteration: labels must be the same on every rank.
    * After every epoch: batch-norm statistics of rank 0, memories and rows of classifiers go to all ranks, before
      anything is evaluated or saved.

    A dataset of mmengine's, for images of other kinds, has neither fingerprint nor labels to compare: then only the
    number of images and the weights are.
    """

    # After the cluster hook's relabelling (before_train_epoch), before validation and checkpoints (after_train_epoch).
    priority = "ABOVE_NORMAL"

    def before_train(self, runner: Runner) -> None:
        """Check what every rank holds and print the batch arithmetic."""
        dataset = runner.train_dataloader.dataset
        images = dataset.fingerprint if _is_reid(dataset) else len(dataset)
        weights = _fingerprint(unwrap(runner.model))
        assert_same_on_ranks(
            {"the list of training images": images, "the model's weights": weights}
        )
        self._report_batch(runner)
        tests = runner.val_loop.dataloader.dataset if runner.val_loop is not None else None
        for words in strange_cameras(unwrap(runner.model), dataset, tests):
            runner.logger.warning(words)

    def before_train_epoch(self, runner: Runner) -> None:
        """Check the labels of this epoch."""
        dataset = runner.train_dataloader.dataset
        if _is_reid(dataset):
            assert_same_on_ranks({"the training labels": dataset.labels})

    def after_train_epoch(self, runner: Runner) -> None:
        """Share rank 0's batch-norm statistics."""
        broadcast_buffers(unwrap(runner.model))

    def _report_batch(self, runner: Runner) -> None:
        world_size = get_world_size()
        accumulation = runner.cfg.optim_wrapper.get("accumulative_counts", 1)
        batch_sampler = runner.train_dataloader.batch_sampler
        share = batch_sampler.batch_size
        global_batch = share * world_size
        sizes = {getattr(layer, "samples_per_group", None) for layer in runner.model.modules()}
        groups = sorted(size for size in sizes if size)
        steps = (
            f", gradients accumulated over {accumulation} iterations" if accumulation > 1 else ""
        )
        normalized = f"{groups} images" if groups else f"{share} images (those of a rank)"
        runner.logger.info(
            f"Global batch per domain: {global_batch} images = {world_size} rank(s) x {share}{steps}; "
            f"{len(batch_sampler)} iterations per epoch; batch-norm statistics over {normalized}; learning rate "
            f"{runner.optim_wrapper.get_lr()['lr'][0]:.3g}."
        )
        if any(share % group for group in groups):
            runner.logger.warning(
                f"A rank's {share} images are no multiple of the batch-norm group "
                f"{groups}: this number of processes trains something else; choose "
                "encoder.norm.samples_per_group so that it divides every rank's share."
            )
        scaling = runner.auto_scale_lr or {}
        reference = scaling.get("base_batch_size")
        if reference and reference != global_batch * accumulation and not scaling.get("enable"):
            runner.logger.warning(
                f"The global batch is {global_batch * accumulation} images, but this recipe's learning rate is for "
                f"{reference}: expect other numbers, or pass --auto-scale-lr."
            )


def strange_cameras(model: nn.Module, dataset: Any, tests: Any) -> Iterator[str]:
    """What a model with a vector for each camera of its target should be warned of; nothing for one without.

    Args:
        model: The algorithm.
        dataset: What it is trained on.
        tests: A ``ReIDTestDataset``; None for none.

    Yields:
        Sentences.
    """
    counts = [len(part.weight) for part in model.modules() if isinstance(part, CameraEmbedding)]
    if not counts:
        return
    found = f"found encoder.backbone.cameras={counts[0]}"
    target = dataset.target if isinstance(dataset, CrossDomainDataset) else None
    if target is None or not target.evidence.has_cameras:
        reason = "no target" if target is None else "no target image of known camera"
        yield (
            f"{found} and {reason}, expected cameras of a target, to which the vectors belong: they learn nothing; "
            "set it to None."
        )
        return
    cameras, names = target.evidence.cameras, target.evidence.named_cameras
    if (beyond := cameras >= counts[0]).any():
        yield (
            f"{found} and {beyond.sum()} target images of further cameras, {names[beyond.argmax()]} for one, expected "
            f"a vector for each camera: these are trained and tested without; set it to {cameras.max() + 1}."
        )
    if tests is None:
        return
    own = dict(zip(cameras.tolist(), names.tolist()))
    others = dict(zip(tests.cameras.tolist(), tests.metainfo["cameras"].tolist()))
    if renamed := sorted(
        one for one in own.keys() & others if one >= 0 and own[one] != others[one]
    ):
        yield (
            f"{found} and test sets whose cameras are others than the target's, {others[renamed[0]]!r} for "
            f"{own[renamed[0]]!r}, expected the same: each is tested with a vector that belongs to another; read both "
            "from one folder or list (docs/data.md)."
        )


def _is_reid(dataset: Any) -> bool:
    """Whether a dataset is one of this package's, with identities, cameras and a hash of its files."""
    return hasattr(dataset, "fingerprint")


def _fingerprint(model: nn.Module) -> str:
    """Hash of the bytes of all parameters.

    They come from one file, or from rank 0 when the Runner initialises them, so they are equal to the last bit. What a
    GPU makes of them is not: a sum depends on its model.
    """
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(
            parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()
