"""Batches of source and target images: planned for all ranks at once, a constant number per epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import Sampler

from mmreid_uda.registry import DATA_SAMPLERS
from mmreid_uda.utils import InputError, SeededIndex, make_rng
from mmreid_uda.utils.choices import DOMAIN_NAMES, DomainName
from mmreid_uda.utils.values import Count, Natural

from .identity import distinct_plan, identity_plan

__all__ = ["DomainBatchSampler"]


@DATA_SAMPLERS.register_module()
class DomainBatchSampler(Sampler[list[int]]):
    """P×K batches of every domain of a dataset, ``[source | target]`` (METHODS section 1.2).

    An epoch is ``iters_per_epoch`` batches, whatever clustering gives, because mmengine fixes the length of the
    training when the loop is built. The plan of an epoch follows from (seed, epoch) and the labels at its start. It
    is made for the global batch (``batch_size`` × number of ranks); a rank takes its contiguous share of every
    domain, so two ranks train on what one rank with twice the batch size would. Each index carries the seed of its
    augmentation, drawn from its place in the global plan.

    Args:
        sampler: A ``DefaultSampler``, from which dataset, seed, epoch, rank and number of ranks are read. The data
            set has ``labels`` and ``camids`` (N,), and ``domains`` (N,) or one ``domain``.
        batch_size: Images per rank *of each domain that is present*, P×K; a multiple of ``num_instances``.
        num_instances: Images per identity, K of P×K; ``dict(source=..., target=...)`` for different ones. 0 shuffles
            plainly over the images with a label or, while a domain has no label at all, over all of its images
            (source pre-training, METHODS section 1.6).
        iters_per_epoch: Batches per epoch. None: as many global batches as the images of the target (without a
            target: of the source) fill, outliers counted, fixed at construction.
        drop_last: True drops the incomplete last global batch of a pass over the identities, as the papers do; False
            fills it from the next pass, so that an identity may occur twice in a batch.
        use_cameras: False ignores cameras when drawing the images of an identity. Defaults to True.
        distinct: True draws different images of every identity that has ``num_instances``, and copies of those that
            have fewer, as PTL does: see :func:`distinct_plan`. It wants ``use_cameras=False``. Defaults to False.
        domains: Domains to draw from, of those that the dataset has. ``('target',)`` leaves a source to the
            clustering alone, as ABMT's second stage does. Defaults to both.

    Raises:
        InputError: At construction, sizes that do not fit; when an epoch starts, too few identities for a batch.

    Example:
        >>> train_dataloader = dict(
        ...     batch_size=64,
        ...     sampler=dict(type='DefaultSampler', shuffle=False),
        ...     batch_sampler=dict(type='DomainBatchSampler', num_instances=4, iters_per_epoch=400))
    """

    def __init__(
        self,
        sampler: DefaultSampler,
        batch_size: Count,
        num_instances: Natural | Mapping[DomainName, Natural] = 4,
        iters_per_epoch: Count | None = None,
        drop_last: bool = True,
        use_cameras: bool = True,
        distinct: bool = False,
        domains: Sequence[DomainName] = DOMAIN_NAMES,
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        if distinct and use_cameras:
            raise InputError(
                "found distinct=True with use_cameras=True, expected one of them, as images are drawn by one rule; "
                "set train_dataloader.batch_sampler.use_cameras=False"
            )
        self.use_cameras, self.distinct = use_cameras, distinct
        self.domains = _domains(sampler.dataset)
        self.present = [
            domain for domain in np.unique(self.domains).tolist() if DOMAIN_NAMES[domain] in domains
        ]
        if not self.present:
            raise InputError(
                f"domains={list(domains)} was given, of which the dataset has no images, expected 'source', 'target' "
                "or both; set train_dataloader.batch_sampler.domains"
            )
        self.num_instances = {
            domain: self._instances(num_instances, DOMAIN_NAMES[domain]) for domain in self.present
        }
        self.iters_per_epoch = self._full_batches() if iters_per_epoch is None else iters_per_epoch

    @property
    def global_batch_size(self) -> int:
        """Images of one domain in the batches of all ranks together."""
        return self.batch_size * self.sampler.world_size

    def _instances(self, option: int | Mapping[DomainName, int], name: DomainName) -> int:
        """K of one domain."""
        instances = option.get(name) if isinstance(option, Mapping) else option
        if instances is None:
            raise InputError(
                f"num_instances has no value for the {name}, of which the dataset has images, expected an int or "
                "dict(source=..., target=...); set num_instances"
            )
        if instances and self.batch_size % instances:
            raise InputError(
                f"a rank's batch_size={self.batch_size} of the {name} is no multiple of num_instances={instances}, "
                "expected whole identities in every rank's batch; set global_batch_size or num_instances"
            )
        return int(instances)

    def _full_batches(self) -> int:
        """Global batches that the images of the target, else of the source, fill."""
        domain = self.present[-1]
        images = int((self.domains == domain).sum())
        batches = images / self.global_batch_size
        if self.drop_last and batches < 1:
            raise InputError(
                f"the {DOMAIN_NAMES[domain]} has {images} images, expected at least one global batch of "
                f"{self.global_batch_size}; lower global_batch_size or set iters_per_epoch"
            )
        return int(batches) if self.drop_last else math.ceil(batches)

    def __len__(self) -> int:
        return self.iters_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        # Planned here, not at the first batch: labels and epoch are those of this moment.
        share = slice(
            self.sampler.rank * self.batch_size, (self.sampler.rank + 1) * self.batch_size
        )
        indices = np.concatenate([self.plan(one)[:, share] for one in self.present], axis=1)
        seeds = np.concatenate([self._seeds(one)[:, share] for one in self.present], axis=1)
        return (
            [SeededIndex(index, seed) for index, seed in zip(row.tolist(), row_seeds.tolist())]
            for row, row_seeds in zip(indices, seeds)
        )

    def plan(self, domain: int) -> np.ndarray:
        """Plan one domain's part of the sampler's current epoch, for all ranks together.

        Args:
            domain: 0 = source, 1 = target; one that the dataset has.

        Returns:
            int64 (iters_per_epoch, global_batch_size), indices into the dataset.

        Raises:
            InputError: A pass over the identities does not fill one global batch.
        """
        dataset: Any = self.sampler.dataset
        images = np.flatnonzero(self.domains == domain)
        labels = torch.as_tensor(dataset.labels).numpy()[images]
        camids = np.asarray(dataset.camids)[images]
        rng = make_rng(self.sampler.seed, self.sampler.epoch, "sampler", domain)
        shape = len(self), self.global_batch_size
        passes, drawn = [], 0
        while drawn < math.prod(shape):
            one = self.draw_pass(domain, labels, camids, rng)
            if self.drop_last:
                one = one[: len(one) // self.global_batch_size * self.global_batch_size]
            if not one.size:
                raise self._too_few(domain, labels)
            passes.append(one)
            drawn += one.size
        return images[np.concatenate(passes)[: math.prod(shape)].reshape(shape)]

    def draw_pass(
        self, domain: int, labels: np.ndarray, camids: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Go once over the identities (or, plainly, the images) of a domain in a new random order.

        A sampler of another rule overrides this; the rest, ranks and seeds among it, stays.

        Args:
            domain: 0 = source, 1 = target.
            labels: int64 (N,), of the domain's images; negative ones, outliers, are not drawn.
            camids: int64 (N,) >= 0; as in :class:`ReIDDataset`, an image of unknown camera has a number of its own.
                Which are known says ``evidence.cameras`` of the dataset.
            rng: Generator of the draws, from (seed, epoch, domain).

        Returns:
            int64 (M,), indices into ``labels``; global batches are cut from one pass after another.
        """
        instances = self.num_instances[domain]
        if instances and self.distinct:
            return distinct_plan(labels, instances, rng)
        if instances:
            return identity_plan(labels, camids, instances, rng, self.use_cameras)
        labeled = np.flatnonzero(labels >= 0)
        return rng.permutation(labeled if labeled.size else len(labels))

    def _seeds(self, domain: int) -> np.ndarray:
        """Seed of the augmentation at each place of :meth:`plan`."""
        rng = make_rng(self.sampler.seed, self.sampler.epoch, "augment", domain)
        return rng.integers(0, 2**63, size=(len(self), self.global_batch_size))

    def _too_few(self, domain: int, labels: np.ndarray) -> InputError:
        """Say why no batch can be made of a domain."""
        batch, instances = self.global_batch_size, self.num_instances[domain]
        labeled = labels[labels >= 0]
        found = f"{len(np.unique(labeled))} clusters or identities with {labeled.size} of its"
        needed, hint = "images", ""
        if instances:
            needed = f"{batch // instances} identities × {instances}"
            hint = " or raise num_instances"
        if instances and domain:
            hint += ", or change the clusterer's eps or min_samples"
        return InputError(
            f"the {DOMAIN_NAMES[domain]} has {found} {labels.size} images, expected enough for a global batch of "
            f"{batch} ({needed}); lower global_batch_size{hint}"
        )


def _domains(dataset: Any) -> np.ndarray:
    """Domain of every image, int64 (N,)."""
    if hasattr(dataset, "domains"):
        return np.asarray(dataset.domains)
    return np.full(len(dataset), dataset.domain, dtype=np.int64)
